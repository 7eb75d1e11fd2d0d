/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"
#include "cli/output.h"
#include "cli/table.h"
#include "cli/verbs.h"

static void add_row(Table *table, const json_t *image) {
    _cleanup_free_ char *name = output_member(image, "name");
    _cleanup_free_ char *digest = output_member_digest(image, "digest");
    _cleanup_free_ char *size = output_member_size(image, "virtual_bytes");
    _cleanup_free_ char *used = output_member_size(image, "allocated_bytes");
    _cleanup_free_ char *age = output_member_age(image, "created_at");

    table_add(table, (const char *[]){name, digest, size, used, age});
}

static int image_ls_run(const Args *args, Error *error) {
    _cleanup_json_ json_t *images = NULL;
    _cleanup_(table_free_p) Table *table = NULL;
    const json_t *image;
    size_t i;
    int r = client_call(API_IMAGE_LIST, NULL, NULL, NULL, &images, error);

    if (r < 0)
        return r;
    if (args->json)
        return output_json(images, error);
    table =
        table_new(stdout, (const char *[]){"NAME", "DIGEST", ">SIZE", ">ON DISK", "CREATED", NULL});
    json_array_foreach(images, i, image) add_row(table, image);
    table_print(table);
    return output_flush(error);
}

const Verb verb_image_ls = {
    .name = "image ls",
    .summary = "list images",
    .description =
        "Lists the images: name, digest (- while it is still computed), size of the disk, "
        "and room that it takes.",
    .examples = "ramet image ls",
    .flags = VERB_JSON,
    .run = image_ls_run,
};
