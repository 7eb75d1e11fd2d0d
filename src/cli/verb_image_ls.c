/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/list.h"
#include "cli/output.h"
#include "cli/verb_rows.h"

static void add_row(Table *table, const json_t *image) {
    _cleanup_free_ char *name = output_member(image, "name");
    _cleanup_free_ char *digest = output_member_digest(image, "digest");
    _cleanup_free_ char *size = output_member_size(image, "virtual_bytes");
    _cleanup_free_ char *used = output_member_size(image, "allocated_bytes");
    _cleanup_free_ char *age = output_member_age(image, "created_at");
    table_add(table, (const char *[]){name, digest, size, used, age});
}

static int image_ls_run(const Args *args, Error *error) {
    static const char *const columns[] = {"NAME", "DIGEST", ">SIZE", ">ON DISK", "CREATED", NULL};
    if (args_flag(args, "quiet") && !args->json)
        return list_print_member(API_IMAGE_LIST, NULL, "name", error);
    return list_print(args, API_IMAGE_LIST, NULL, columns, add_row, error);
}

static const VerbOption options[] = {
    LIST_QUIET("only the names"),
    {.name = NULL},
};

const Verb verb_image_ls = {
    .name = "image ls",
    .aliases = "images|image list",
    .summary = "list images",
    .options = options,
    .description =
        "Lists the images: name, digest (- while it is still computed), size of the disk, "
        "and room that it takes.",
    .examples = "ramet image ls",
    .flags = VERB_JSON | VERB_FORMAT,
    .run = image_ls_run,
};
