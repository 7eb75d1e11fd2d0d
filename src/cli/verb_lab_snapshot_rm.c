/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"
#include "cli/each.h"
#include "cli/verb_rows.h"

static int rm_one(const Args *args, const char *snapshot, json_t **answer, Error *error) {
    return client_call(API_LAB_SNAPSHOT_REMOVE, snapshot, NULL, NULL, answer, error);
}

static int lab_snapshot_rm_run(const Args *args, Error *error) {
    return each_operand(args, rm_one, false, error);
}

static const VerbOperand operands[] = {
    {"SNAPSHOT", ARG_LAB_SNAPSHOT, "name or id of a lab's snapshot", 1, MANY},
    {.name = NULL},
};

const Verb verb_lab_snapshot_rm = {
    .name = "lab snapshot-rm",
    .aliases = "lab snapshot-remove|lab snapshot-delete",
    .summary = "remove labs' snapshots (or: lab snapshot rm)",
    .operands = operands,
    .description = "Removes each snapshot with the snapshots of its VMs. One that a lab grows from "
                   "is refused, and so is one with a pool: end that first, with lab down or pool "
                   "set SNAPSHOT 0.",
    .examples = "ramet lab snapshot rm ready",
    .flags = VERB_JSON,
    .run = lab_snapshot_rm_run,
};
