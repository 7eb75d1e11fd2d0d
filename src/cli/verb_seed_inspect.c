/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"
#include "cli/each.h"
#include "cli/flat.h"
#include "cli/verb_rows.h"

static int inspect_one(const Args *args, const char *seed, json_t **answer, Error *error) {
    int r = client_call(API_SEED_INSPECT, seed, NULL, NULL, answer, error);
    return r < 0 ? r : inspect_print(args, *answer, error);
}

static int seed_inspect_run(const Args *args, Error *error) {
    return each_operand(args, inspect_one, true, error);
}

static const VerbOperand operands[] = {
    {"SEED", ARG_SEED, "name or digest of a seed", 1, MANY},
    {.name = NULL},
};

const Verb verb_seed_inspect = {
    .name = "seed inspect",
    .aliases = "seed show",
    .summary = "show all about seeds",
    .operands = operands,
    .description = "Shows everything that is known of each seed, and the VMs and snapshots that "
                   "have it. --json gives one object for one seed, a list for several.",
    .examples = "ramet seed inspect home",
    .flags = VERB_JSON | VERB_FORMAT,
    .run = seed_inspect_run,
};
