/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/str.h"
#include "cli/output.h"
#include "cli/prove_view.h"
#include "cli/table.h"
#include "cli/verb_rows.h"
#include "prove/prove.h"

/* The first digits of what is long. */
static char *short_member(const json_t *object, const char *key, size_t digits) {
    char *text = output_member(object, key);
    if (text && strlen(text) > digits)
        text[digits] = '\0';
    return text;
}

static char *clock_text(const json_t *clone) {
    const json_t *bounds = json_object_get(clone, "clock_ms");
    return str_format("%+.1f … %+.1f ms", json_number_value(json_array_get(bounds, 0)),
                      json_number_value(json_array_get(bounds, 1)));
}

static void print_clones(const json_t *report) {
    _cleanup_(table_free_p) Table *table =
        table_new(stdout, (const char *[]){"CLONE", "RANDOM", "UUID", "MACHINE-ID", "BOOT-ID",
                                           "MAC", "IP", "CLOCK", "BOOT", NULL});
    const json_t *clone;
    size_t i;
    json_array_foreach(json_object_get(report, "clones"), i, clone) {
        _cleanup_free_ char *hostname = output_member(clone, "hostname");
        _cleanup_free_ char *random = short_member(clone, "random", 8);
        _cleanup_free_ char *uuid = short_member(clone, "uuid", 8);
        _cleanup_free_ char *machine = short_member(clone, "machine_id", 8);
        _cleanup_free_ char *boot_id = short_member(clone, "boot_id", 8);
        _cleanup_free_ char *mac = output_member(clone, "mac");
        _cleanup_free_ char *ip = output_member(clone, "ip");
        _cleanup_free_ char *boot = output_member(clone, "boot");
        _cleanup_free_ char *clock = clock_text(clone);
        table_add(table,
                  (const char *[]){hostname, random, uuid, machine, boot_id, mac, ip, clock, boot});
    }
    table_print(table);
}

static int print_report(const json_t *report, Error *error) {
    print_clones(report);
    return prove_print_checks(report, error);
}

static int snapshot_prove_run(const Args *args, Error *error) {
    _cleanup_json_ json_t *report = NULL;
    int r = prove_run(args, PROVE_CLONES_DEFAULT, prove_snapshot, &report, error);
    if (r >= 0)
        r = args->json ? output_json(report, error) : print_report(report, error);
    if (r < 0)
        return r;
    return json_is_true(json_object_get(report, "ok")) ? 0 : 1;
}

static const VerbOption options[] = {
    {'n', "count", ARG_NUMBER, "COUNT", .help = "how many clones; 8 when not given",
     .min = PROVE_CLONES_MIN, .max = PROVE_CLONES_MAX},
    {.name = NULL},
};
static const VerbOperand operands[] = {
    {"SNAPSHOT", ARG_SNAPSHOT, "name or id of a snapshot", 1, 1},
    {.name = NULL},
};

const Verb verb_snapshot_prove = {
    .name = "snapshot prove",
    .summary = "show on clones that they are distinct and leave the snapshot as it is",
    .options = options,
    .operands = operands,
    .description =
        "Forks clones of the snapshot and shows what they are: the random bytes that their kernels "
        "gave first after the fork, a UUID, machine-id, hostname, boot-id, generation, MAC, "
        "address "
        "and SSH host key, all of which must differ; how far their clocks are off the host's (50 "
        "ms at the "
        "most); and that each was restored and did not boot, by what the snapshot left in its "
        "memory. Then the clones write different things to memory and disk, and one of them is "
        "frozen and forked in turn. All that they grow from is read again after each step: it must "
        "be the same files (inode) with the same content (SHA-256). At last the clones are "
        "removed, also when this is interrupted.\n"
        "\n"
        "Programs that ran in the snapshot keep random state of their own in their memory, which "
        "cannot be looked at from outside: the report names them, and docs/clones.md says what "
        "to do.\n"
        "\n"
        "The exit status is 1 when anything is not as it should be.",
    .examples = "ramet snapshot prove ready -n 8\n"
                "ramet snapshot prove --json ready | jq .checks",
    .flags = VERB_JSON,
    .run = snapshot_prove_run,
};
