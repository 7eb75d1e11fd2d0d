/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"
#include "cli/output.h"
#include "cli/table.h"
#include "cli/verb_rows.h"

static int print_checks(const json_t *report, Error *error) {
    _cleanup_(table_free_p) Table *table =
        table_new(stdout, (const char *[]){"", "WHAT", "FILE", "RESULT", NULL});
    const json_t *check;
    size_t i;
    json_array_foreach(json_object_get(report, "checks"), i, check) {
        bool ok = json_is_true(json_object_get(check, "ok"));
        _cleanup_free_ char *what = output_member(check, "what");
        _cleanup_free_ char *path = output_member(check, "path");
        _cleanup_free_ char *message = output_member(check, "message");
        table_add(table, (const char *[]){ok ? "ok" : "BAD", what, path, message});
    }
    table_print(table);
    return output_flush(error);
}

static int snapshot_verify_run(const Args *args, Error *error) {
    _cleanup_json_ json_t *report = NULL;
    int r = client_call(API_SNAPSHOT_VERIFY, args->operands[0], NULL, NULL, &report, error);
    if (r >= 0)
        r = args->json ? output_json(report, error) : print_checks(report, error);
    if (r < 0)
        return r;
    return json_is_true(json_object_get(report, "ok")) ? 0 : 1;
}

static const VerbOperand operands[] = {
    {"SNAPSHOT", ARG_SNAPSHOT, "name or id of a snapshot", 1, 1},
    {.name = NULL},
};

const Verb verb_snapshot_verify = {
    .name = "snapshot verify",
    .summary = "read all that a snapshot stands on, and say whether it is whole",
    .operands = operands,
    .description = "Compares every file that a restore of the snapshot would use with what was "
                   "frozen: SHA-256, size, inode, and that nobody may write to it; and its memory "
                   "in use, which must be sealed and hold the same. The exit status is 1 when "
                   "anything differs.",
    .examples = "ramet snapshot verify ready",
    .flags = VERB_JSON,
    .run = snapshot_verify_run,
};
