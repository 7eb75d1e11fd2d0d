/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"
#include "cli/output.h"
#include "cli/registry_verbs.h"
#include "cli/verb_rows.h"

static int snapshot_pull_run(const Args *args, Error *error) {
    _cleanup_json_ json_t *snapshot = NULL, *request = json_object();
    _cleanup_free_ char *made = NULL;
    int r = registry_add_reference(args, request, error);
    if (r >= 0)
        r = client_call(API_SNAPSHOT_PULL, NULL, NULL, request, &snapshot, error);
    if (r < 0)
        return r;
    made =
        output_member(snapshot, json_is_string(json_object_get(snapshot, "name")) ? "name" : "id");
    return output_json_or_line(args, snapshot, made, error);
}

static const VerbOption options[] = {
    {0, "name", ARG_NAME, .help = "name of the snapshot; else that which it had"},
    REGISTRY_OPTIONS,
    {.name = NULL},
};
static const VerbOperand operands[] = {
    {"REFERENCE", ARG_TEXT, "docker://HOST/NAME[:TAG] or oci:FOLDER[:TAG]", 1, 1},
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
