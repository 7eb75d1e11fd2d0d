/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"
#include "cli/each.h"
#include "cli/flat.h"
#include "cli/verb_rows.h"

static int inspect_one(const Args *args, const char *snapshot, json_t **answer, Error *error) {
    int r = client_call(API_SNAPSHOT_INSPECT, snapshot, NULL, NULL, answer, error);
    return r < 0 ? r : inspect_print(args, *answer, error);
}

static int snapshot_inspect_run(const Args *args, Error *error) {
    return each_operand(args, inspect_one, true, error);
}

static const VerbOperand operands[] = {
    {"SNAPSHOT", ARG_SNAPSHOT, "name or id of a snapshot", 1, MANY},
    {.name = NULL},
};

const Verb verb_snapshot_inspect = {
    .name = "snapshot inspect",
    .aliases = "snapshot show",
    .summary = "show all about snapshots",
    .operands = operands,
    .description =
        "Shows all that is known of each snapshot: its files with their digests, what it was made "
        "by, what grows from it, and how its memory is kept from being written "
        "(memory.protection). The first time it may take a second for each 512 MiB of memory, "
        "since the SHA-256 of a whole memory is computed when it is asked for. --json gives one "
        "object for one snapshot, a list for several.",
    .examples = "ramet snapshot inspect ready",
    .flags = VERB_JSON | VERB_FORMAT,
    .run = snapshot_inspect_run,
};
