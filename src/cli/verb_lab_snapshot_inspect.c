/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"
#include "cli/each.h"
#include "cli/flat.h"
#include "cli/verb_rows.h"

static int inspect_one(const Args *args, const char *snapshot, json_t **answer, Error *error) {
    int r = client_call(API_LAB_SNAPSHOT_INSPECT, snapshot, NULL, NULL, answer, error);
    return r < 0 ? r : inspect_print(args, *answer, error);
}

static int lab_snapshot_inspect_run(const Args *args, Error *error) {
    return each_operand(args, inspect_one, true, error);
}

static const VerbOperand operands[] = {
    {"SNAPSHOT", ARG_LAB_SNAPSHOT, "name or id of a lab's snapshot", 1, MANY},
    {.name = NULL},
};

const Verb verb_lab_snapshot_inspect = {
    .name = "lab snapshot-inspect",
    .aliases = "lab snapshot-show",
    .summary = "show all about labs' snapshots (or: lab snapshot inspect)",
    .operands = operands,
    .description = "Shows each snapshot: the lab's networks and VMs, the addresses that they had, "
                   "the snapshot of each VM, and the labs that grow from it. spread_us is the time "
                   "from the first VM that stood still to the last. --json gives one object for "
                   "one snapshot, a list for several.",
    .examples = "ramet lab snapshot inspect ready",
    .flags = VERB_JSON | VERB_FORMAT,
    .run = lab_snapshot_inspect_run,
};
