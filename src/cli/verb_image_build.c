/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "cli/client.h"
#include "cli/image_args.h"
#include "cli/output.h"
#include "cli/verb_rows.h"

/* --include a,b --include c → ["a","b","c"] */
static json_t *packages_of(const Args *args) {
    json_t *list = json_array();
    const char *text;
    for (size_t i = 0; (text = args_nth(args, "include", i)); i++)
        while (*text) {
            size_t n = strcspn(text, ",");
            if (n > 0)
                json_array_append_new(list, json_stringn(text, n));
            text += n + (text[n] == ',');
        }
    return list;
}

static int image_build_run(const Args *args, Error *error) {
    _cleanup_json_ json_t *image = NULL, *request = json_object();
    int r;
    json_object_set_new(request, "name", json_string(args->operands[0]));
    json_object_set_new(request, "from", json_string(args_text(args, "from")));
    json_object_set_new(request, "include", packages_of(args));
    json_object_set_new(request, "replace", json_boolean(args_flag(args, "replace")));
    r = image_args_add(args, request, error);
    if (r == 0)
        r = client_call(API_IMAGE_BUILD, NULL, NULL, request, &image, error);
    return r < 0 ? r : output_json_or_line(args, image, args->operands[0], error);
}

static const VerbOption options[] = {
    {0, "from", ARG_RECIPE, .required = true, .help = "recipe: busybox, debian, or debian:SUITE"},
    {0, "include", ARG_TEXT, "PKG,...", .many = true, .help = "more Debian packages"},
    {0, "replace", ARG_FLAG, .help = "take the name from another image that has it"},
    IMAGE_OPTIONS,
    {.name = NULL},
};
static const VerbOperand operands[] = {
    {"NAME", ARG_NAME, "name of the image", 1, 1},
    {.name = NULL},
};

const Verb verb_image_build = {
    .name = "image build",
    .summary = "build an image from a recipe",
    .options = options,
    .operands = operands,
    .description = "Builds an image and prints its name. busybox is Debian's busybox-static with "
                   "its cloud kernel, made in seconds; debian is a Debian with systemd, made by "
                   "mmdebstrap. With --replace the name may stand for another image already: VMs "
                   "and snapshots of that one keep what they stand on, and it goes with the last "
                   "of them.",
    .examples = "ramet image build busybox --from busybox\n"
                "ramet image build web --from debian:bookworm --include nginx,curl",
    .flags = VERB_JSON,
    .run = image_build_run,
};
