/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"
#include "cli/each.h"
#include "cli/verb_rows.h"

static int rm_one(const Args *args, const char *image, json_t **answer, Error *error) {
    return client_call(API_IMAGE_REMOVE, image, NULL, NULL, answer, error);
}

static int image_rm_run(const Args *args, Error *error) {
    return each_operand(args, rm_one, false, error);
}

static const VerbOperand operands[] = {
    {"IMAGE", ARG_IMAGE, "name, id or digest of an image", 1, MANY},
    {.name = NULL},
};

const Verb verb_image_rm = {
    .name = "image rm",
    .aliases = "rmi|image remove|image delete",
    .summary = "remove images",
    .operands = operands,
    .description = "Removes each image. One that a VM's disk stands on is refused.",
    .examples = "ramet image rm web",
    .flags = VERB_JSON,
    .run = image_rm_run,
};
