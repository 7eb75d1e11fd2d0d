/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/registry_verbs.h"
#include "cli/verb_rows.h"

static int snapshot_pull_run(const Args *args, Error *error) {
    return registry_pull_verb(args, API_SNAPSHOT_IMPORT, "snapshot", error);
}

static const VerbOption options[] = {
    {0, "name", ARG_NAME, .help = "name of the snapshot; else that which it had"},
    REGISTRY_TLS,
    {.name = NULL},
};
static const VerbOperand operands[] = {
    {"REFERENCE", ARG_TEXT, "docker://HOST/NAME[:TAG]", 1, 1},
    {.name = NULL},
};

const Verb verb_snapshot_pull = {
    .name = "snapshot pull",
    .summary = "take a snapshot from a registry",
    .options = options,
    .operands = operands,
    .description =
        "Takes a snapshot that ramet snapshot push put into a registry, and imports it. Only what "
        "is "
        "not here is fetched: an image's disk, a kernel or a layer that this home has is left out. "
        "Import only what you would run.",
    .examples = "ramet snapshot pull docker://registry.example.org/warm:1\n"
                "ramet fork warm -n 8",
    .flags = VERB_JSON,
    .run = snapshot_pull_run,
};
