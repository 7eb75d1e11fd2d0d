/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/registry_verbs.h"
#include "cli/verb_rows.h"

static int image_push_run(const Args *args, Error *error) {
    return registry_push_verb(args, API_IMAGE_EXPORT, "image", NULL, error);
}

static const VerbOption options[] = {
    REGISTRY_OPTIONS,
    {.name = NULL},
};
static const VerbOperand operands[] = {
    {"IMAGE", ARG_IMAGE, "name, id or digest of an image", 1, 1},
    {"REFERENCE", ARG_TEXT, "docker://HOST/NAME[:TAG]", 1, 1},
    {.name = NULL},
};

const Verb verb_image_push = {
    .name = "image push",
    .summary = "put an image into a registry",
    .options = options,
    .operands = operands,
    .description =
        "Exports an image and puts it into an OCI registry as an artifact; its disk and its kernel "
        "are blobs, so what the registry has already is not sent again. skopeo does it, with "
        "podman's credentials, certificates and policy. It is no container image.",
    .examples = "ramet image push web docker://registry.example.org/web:1",
    .flags = VERB_JSON,
    .run = image_push_run,
};
