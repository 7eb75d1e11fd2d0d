/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"
#include "cli/each.h"
#include "cli/flat.h"
#include "cli/verb_rows.h"

static int inspect_one(const Args *args, const char *image, json_t **answer, Error *error) {
    int r = client_call(API_IMAGE_INSPECT, image, NULL, NULL, answer, error);
    return r < 0 ? r : inspect_print(args, *answer, error);
}

static int image_inspect_run(const Args *args, Error *error) {
    return each_operand(args, inspect_one, true, error);
}

static const VerbOperand operands[] = {
    {"IMAGE", ARG_IMAGE, "name, id or digest of an image", 1, MANY},
    {.name = NULL},
};

const Verb verb_image_inspect = {
    .name = "image inspect",
    .aliases = "image show",
    .summary = "show all about images",
    .operands = operands,
    .description = "Shows everything that is known of each image. --json gives one object for one "
                   "image, a list for several.",
    .examples = "ramet image inspect busybox",
    .flags = VERB_JSON | VERB_FORMAT,
    .run = image_inspect_run,
};
