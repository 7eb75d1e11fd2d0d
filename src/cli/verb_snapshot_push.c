/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/registry_verbs.h"
#include "cli/verb_rows.h"

static int snapshot_push_run(const Args *args, Error *error) {
    const char *since = args_text(args, "since");
    _cleanup_free_ char *query = since ? str_format("since=%s", since) : NULL;
    return registry_push_verb(args, API_SNAPSHOT_EXPORT, "snapshot", query, error);
}

static const VerbOption options[] = {
    {0, "since", ARG_SNAPSHOT, .help = "leave out what this one has, which the reader has too"},
    REGISTRY_OPTIONS,
    {.name = NULL},
};
static const VerbOperand operands[] = {
    {"SNAPSHOT", ARG_SNAPSHOT, "name or id of a snapshot", 1, 1},
    {"REFERENCE", ARG_TEXT, "docker://HOST/NAME[:TAG]", 1, 1},
    {.name = NULL},
};

const Verb verb_snapshot_push = {
    .name = "snapshot push",
    .summary = "put a snapshot into a registry",
    .options = options,
    .operands = operands,
    .description =
        "Exports a snapshot and puts it into an OCI registry as an artifact: memory, device state, "
        "each layer of its disk, the image's disk and the kernel are blobs, so what the registry "
        "has "
        "already is not sent again. skopeo does it, with podman's credentials, certificates and "
        "policy.",
    .examples = "ramet snapshot push warm docker://registry.example.org/warm:1",
    .flags = VERB_JSON,
    .run = snapshot_push_run,
};
