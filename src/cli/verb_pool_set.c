/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "cli/client.h"
#include "cli/output.h"
#include "cli/verb_rows.h"

static int pool_set_run(const Args *args, Error *error) {
    _cleanup_json_ json_t *pool = NULL, *request = NULL;
    _cleanup_free_ char *line = NULL;
    uint64_t count;
    int r;
    if (parse_u64(args->operands[1], 256, &count) < 0)
        return error_set(error, ERROR_USAGE, EINVAL,
                         "pool set: COUNT: \"%.40s\" is no number from 0 to 256",
                         args->operands[1]);
    request = json_pack("{s:s, s:I, s:b}", "source", args->operands[0], "count", (json_int_t)count,
                        "wait", args_flag(args, "wait"));
    r = client_call(API_POOL_SET, NULL, NULL, request, &pool, error);
    if (r < 0)
        return r;
    line = str_format("%s: %lld of %lld warm", args->operands[0],
                      (long long)json_integer_value(json_object_get(pool, "warm")),
                      (long long)json_integer_value(json_object_get(pool, "wanted")));
    return output_json_or_line(args, pool, line, error);
}

static const VerbOption options[] = {
    {'w', "wait", ARG_FLAG, .help = "return once all of them are warm"},
    {.name = NULL},
};
static const VerbOperand operands[] = {
    {"SOURCE", ARG_POOL_SOURCE,
     "name or id of a snapshot or of a lab's snapshot, or name of an image", 1, 1},
    {"COUNT", ARG_TEXT, "how many clones, or copies of the lab; 0 ends the pool", 1, 1},
    {.name = NULL},
};

const Verb verb_pool_set = {
    .name = "pool set",
    .summary = "keep clones warm, ready to be claimed",
    .options = options,
    .operands = operands,
    .description =
        "Keeps COUNT clones of SOURCE ready: they were forked ahead of time, ran until their agent "
        "answered, and wait, paused and without a network. `ramet fork SOURCE`, and for an image "
        "`ramet run SOURCE`, claim one when there is one, which takes a few milliseconds; the pool "
        "is filled again in the background. Warm clones are not VMs yet: `ramet ps` does not show "
        "them.\n"
        "\n"
        "Of a lab's snapshot COUNT whole copies are kept ready, with their networks, and "
        "`ramet lab fork SOURCE` claims them. A name that several things have is a snapshot's "
        "first, then a lab's snapshot's, then an image's.\n"
        "\n"
        "A pool of an image serves runs with the image's own sizes, one CPU and the user's "
        "network. All pools together keep to a budget of memory, a quarter of the host's unless "
        "RAMET_POOL_MEMORY says otherwise to the daemon. Pools live on when the daemon restarts.",
    .examples = "ramet pool set ready 4\n"
                "ramet pool set --wait busybox 2\n"
                "ramet lab snapshot three frozen && ramet pool set frozen 1\n"
                "ramet pool set ready 0",
    .flags = VERB_JSON,
    .run = pool_set_run,
};
