/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"
#include "cli/output.h"
#include "cli/verbs.h"

static int prune_run(const Args *args, Error *error) {
    _cleanup_json_ json_t *report = NULL;
    _cleanup_free_ char *freed = NULL, *line = NULL;
    int r = client_call(API_PRUNE, NULL, NULL, NULL, &report, error);

    if (r < 0)
        return r;
    freed = output_member_size(report, "freed_bytes");
    line = str_format("%zu snapshots and %lld layers removed, %s freed",
                      json_array_size(json_object_get(report, "snapshots")),
                      (long long)json_integer_value(json_object_get(report, "layers")), freed);
    return output_json_or_line(args, report, line, error);
}

#define PRUNE_DESCRIPTION                                                                     \
    "Removes what nothing needs any more: automatic snapshots from which nothing grows, and " \
    "layers of disks on which nothing stands. Both go by themselves as a rule; this looks again."

const Verb verb_prune = {
    .name = "prune",
    .summary = "remove what nothing needs",
    .description = PRUNE_DESCRIPTION,
    .examples = "ramet prune",
    .flags = VERB_JSON,
    .run = prune_run,
};

const Verb verb_snapshot_prune = {
    .name = "snapshot prune",
    .summary = "remove snapshots that nothing needs",
    .description = PRUNE_DESCRIPTION,
    .examples = "ramet snapshot prune",
    .flags = VERB_JSON,
    .run = prune_run,
};
