/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"
#include "cli/each.h"
#include "cli/output.h"
#include "cli/verb_rows.h"

static void tell(const json_t *answer, const char *key, const char *what) {
    const json_t *list = json_object_get(answer, key), *name;
    size_t i;
    json_array_foreach(list, i, name) output_note("removed %s %s", what, json_string_value(name));
}

static int rm_one(const Args *args, const char *snapshot, json_t **answer, Error *error) {
    bool cascade = args_flag(args, "cascade");
    int r = client_call(API_SNAPSHOT_REMOVE, snapshot, cascade ? "cascade=1" : NULL, NULL, answer,
                        error);
    if (r >= 0 && cascade && !args->json) {
        tell(*answer, "vms", "VM");
        tell(*answer, "snapshots", "snapshot");
    }
    return r;
}

static int snapshot_rm_run(const Args *args, Error *error) {
    return each_operand(args, rm_one, false, error);
}

static const VerbOption options[] = {
    {0, "cascade", ARG_FLAG,
     .help = "also remove all VMs and snapshots that grow from it, running ones too"},
    {.name = NULL},
};
static const VerbOperand operands[] = {
    {"SNAPSHOT", ARG_SNAPSHOT, "name or id of a snapshot", 1, MANY},
    {.name = NULL},
};

const Verb verb_snapshot_rm = {
    .name = "snapshot rm",
    .aliases = "snapshot remove|snapshot delete",
    .summary = "remove snapshots",
    .options = options,
    .operands = operands,
    .description = "Removes each snapshot. One from which VMs or snapshots grow is refused, and "
                   "the message names them; --cascade removes them too and says so. The VM that it "
                   "was taken of is no reason: it keeps what it needs.",
    .examples = "ramet snapshot rm ready\n"
                "ramet snapshot rm --cascade old",
    .flags = VERB_JSON,
    .run = snapshot_rm_run,
};
