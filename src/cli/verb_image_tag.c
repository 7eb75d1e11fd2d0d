/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"
#include "cli/output.h"
#include "cli/verb_rows.h"

static int image_tag_run(const Args *args, Error *error) {
    const char *name = args->operands[1];
    _cleanup_json_ json_t *image = NULL, *request = json_pack("{s:s}", "name", name);
    int r;
    if (args_flag(args, "replace"))
        json_object_set_new(request, "replace", json_true());
    r = client_call(API_IMAGE_TAG, args->operands[0], NULL, request, &image, error);
    return r < 0 ? r : output_json_or_line(args, image, name, error);
}

static const VerbOption options[] = {
    {0, "replace", ARG_FLAG, .help = "take the name from another image that has it"},
    {.name = NULL},
};
static const VerbOperand operands[] = {
    {"IMAGE", ARG_IMAGE, "name, id or digest of an image", 1, 1},
    {"NAME", ARG_NAME, "one more name for it", 1, 1},
    {.name = NULL},
};

const Verb verb_image_tag = {
    .name = "image tag",
    .summary = "give an image one more name",
    .options = options,
    .operands = operands,
    .description = "Lets NAME stand for the image, too, and prints it. The disk is there once; it "
                   "goes with the last of its names. With --replace the name may stand for another "
                   "image already: VMs and snapshots of that one keep what they stand on.",
    .examples = "ramet image tag web web-2026",
    .flags = VERB_JSON,
    .run = image_tag_run,
};
