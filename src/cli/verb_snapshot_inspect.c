/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"
#include "cli/flat.h"
#include "cli/output.h"
#include "cli/verbs.h"

static int snapshot_inspect_run(const Args *args, Error *error) {
    _cleanup_json_ json_t *snapshot = NULL;
    int r = client_call(API_SNAPSHOT_INSPECT, args->operands[0], NULL, NULL, &snapshot, error);

    if (r < 0)
        return r;
    return args->json ? output_json(snapshot, error) : flat_print(snapshot, error);
}

static const VerbOperand operands[] = {
    {"SNAPSHOT", ARG_SNAPSHOT, "name or id of a snapshot", 1, 1},
    {.name = NULL},
};

const Verb verb_snapshot_inspect = {
    .name = "snapshot inspect",
    .summary = "show a snapshot",
    .operands = operands,
    .description = "Shows all that is known of a snapshot: its files with their digests, what it "
                   "was made by, what grows from it, and how its memory is kept from being written "
                   "(memory.protection). The first time it may take a second for each 512 MiB of "
                   "memory, since the SHA-256 of a whole memory is computed when it is asked for.",
    .examples = "ramet snapshot inspect ready",
    .flags = VERB_JSON,
    .run = snapshot_inspect_run,
};
