/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"
#include "cli/each.h"
#include "cli/verb_rows.h"

static int rm_one(const Args *args, const char *volume, json_t **answer, Error *error) {
    return client_call(API_VOLUME_REMOVE, volume, NULL, NULL, answer, error);
}

static int volume_rm_run(const Args *args, Error *error) {
    return each_operand(args, rm_one, false, error);
}

static const VerbOperand operands[] = {
    {"VOLUME", ARG_VOLUME, "name or id of a volume", 1, MANY},
    {.name = NULL},
};

const Verb verb_volume_rm = {
    .name = "volume rm",
    .aliases = "volume remove|volume delete",
    .summary = "remove volumes",
    .operands = operands,
    .description =
        "Removes each volume with all that is on it. One that a VM, running or not, or a "
        "snapshot has is refused.",
    .examples = "ramet volume rm data",
    .flags = VERB_JSON,
    .run = volume_rm_run,
};
