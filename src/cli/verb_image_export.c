/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/export_file.h"
#include "cli/output.h"
#include "cli/verb_rows.h"

static int image_export_run(const Args *args, Error *error) {
    const char *image = args->operands[0], *file = args->operands[1];
    _cleanup_json_ json_t *report = NULL;
    uint64_t bytes;
    int r = export_file(API_IMAGE_EXPORT, image, NULL, file, &bytes, error);
    if (r < 0 || str_equal(file, "-"))
        return r;
    report = json_pack("{s:s, s:s, s:I}", "image", image, "file", file, "bytes", (json_int_t)bytes);
    return output_json_or_line(args, report, file, error);
}

static const VerbOperand operands[] = {
    {"IMAGE", ARG_IMAGE, "name, id or digest of an image", 1, 1},
    {"FILE", ARG_FILE_OR_STDIN, "file to write; - for standard output", 1, 1},
    {.name = NULL},
};

const Verb verb_image_export = {
    .name = "image export",
    .aliases = "image save",
    .summary = "write an image into one file",
    .operands = operands,
    .description =
        "Writes one file with all of an image: its disk, its kernel and what is known of it, "
        "compressed with zstd by all cores, holes left out, and each part with a digest. ramet "
        "image import reads it on another machine. The file is there once it is whole.",
    .examples = "ramet image export web web.ramet\n"
                "ramet image export web - | ssh other ramet image import -",
    .flags = VERB_JSON,
    .run = image_export_run,
};
