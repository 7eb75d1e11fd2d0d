/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"
#include "cli/each.h"
#include "cli/flat.h"
#include "cli/verb_rows.h"

static int inspect_one(const Args *args, const char *volume, json_t **answer, Error *error) {
    int r = client_call(API_VOLUME_INSPECT, volume, NULL, NULL, answer, error);
    return r < 0 ? r : inspect_print(args, *answer, error);
}

static int volume_inspect_run(const Args *args, Error *error) {
    return each_operand(args, inspect_one, true, error);
}

static const VerbOperand operands[] = {
    {"VOLUME", ARG_VOLUME, "name or id of a volume", 1, MANY},
    {.name = NULL},
};

const Verb verb_volume_inspect = {
    .name = "volume inspect",
    .aliases = "volume show",
    .summary = "show all about volumes",
    .operands = operands,
    .description = "Shows everything that is known of each volume, and the VMs and snapshots that "
                   "have it. --json gives one object for one volume, a list for several.",
    .examples = "ramet volume inspect data",
    .flags = VERB_JSON | VERB_FORMAT,
    .run = volume_inspect_run,
};
