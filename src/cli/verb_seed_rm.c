/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"
#include "cli/each.h"
#include "cli/verb_rows.h"

static int rm_one(const Args *args, const char *seed, json_t **answer, Error *error) {
    return client_call(API_SEED_REMOVE, seed, NULL, NULL, answer, error);
}

static int seed_rm_run(const Args *args, Error *error) {
    return each_operand(args, rm_one, false, error);
}

static const VerbOperand operands[] = {
    {"SEED", ARG_SEED, "name or digest of a seed", 1, MANY},
    {.name = NULL},
};

const Verb verb_seed_rm = {
    .name = "seed rm",
    .aliases = "seed remove|seed delete",
    .summary = "remove seeds",
    .operands = operands,
    .description =
        "Takes each seed's name away. The last name of what a VM or a snapshot stands on "
        "is refused. Images keep what they have: its file goes with the last of them.",
    .examples = "ramet seed rm home",
    .flags = VERB_JSON,
    .run = seed_rm_run,
};
