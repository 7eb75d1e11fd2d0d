/* SPDX-License-Identifier: Apache-2.0 */

/* Images by name. src/image makes bases and kernels; this file remembers what they are called.
 *
 * A base and its row come and go under images_mutex: a removal deletes the last row and then the
 * file, and an import that found the file there already looks again, under the mutex, before it
 * adds its row; if a removal came in between it makes the base once more. An import may leave the
 * digest for later (image_digest.h). */

#include "vm/images.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "disk/base_file.h"
#include "image/image.h"
#include "vm/image_digest.h"
#include "vm/internal.h"

#define MAKES_MAX 3

/* --- between a row and what src/image knows
 * -------------------------------------------------------- */

static json_t *detail_from_info(const ImageInfo *info) {
    return json_pack("{s:I, s:I, s:s, s:s*, s:I, s:s, s:s*}", "virtual_bytes",
                     (json_int_t)info->virtual_bytes, "minimum_disk_bytes",
                     (json_int_t)info->minimum_disk_bytes, "kernel_key", info->kernel_key, "kernel",
                     info->kernel_version, "default_memory_bytes",
                     (json_int_t)info->default_memory_bytes, "init", image_init_name(info->init),
                     "source", info->source);
}

static json_t *member_or_null(const json_t *object, const char *key) {
    json_t *value = json_object_get(object, key);

    return value ? json_incref(value) : json_null();
}

/* It follows from the digest, so that a home can be moved while it holds no VMs. */
char *image_row_path(const Ramet *ramet, const ImageRow *row) {
    return base_id_path(ramet->home, row->digest);
}

static int describe(const Ramet *ramet, const ImageRow *row, json_t **image, Error *error) {
    _cleanup_free_ char *created = clock_format_realtime(row->created_at_usec);
    _cleanup_free_ char *path = image_row_path(ramet, row);
    struct stat info = {0};
    char id[IMAGE_ID_SIZE];

    if (stat(path, &info) < 0)
        info.st_blocks = 0;
    image_row_id(row, id);
    *image = json_pack(
        "{s:s, s:s, s:o, s:s, s:o, s:I, s:o, s:o, s:s, s:s, s:o, s:o, s:o, s:o}", "id", id, "name",
        row->name, "digest", image_digest_to_json(row->digest), "path", path, "virtual_bytes",
        member_or_null(row->detail, "virtual_bytes"), "allocated_bytes",
        (json_int_t)info.st_blocks * 512, "kernel", member_or_null(row->detail, "kernel"),
        "kernel_key", member_or_null(row->detail, "kernel_key"), "agent_version", RAMET_VERSION,
        "created_at", created, "minimum_disk_bytes",
        member_or_null(row->detail, "minimum_disk_bytes"), "default_memory_bytes",
        member_or_null(row->detail, "default_memory_bytes"), "init",
        member_or_null(row->detail, "init"), "source", member_or_null(row->detail, "source"));
    return *image ? 0 : error_set(error, ERROR_CORRUPT, EBADMSG, "bad row of image %s", row->name);
}

static void tell_progress(void *data, const char *step, uint64_t done, uint64_t total) {
    operation_progress(data, step, done, total);
}

static ImageContext make_context(Ramet *ramet, Operation *operation) {
    return (ImageContext){.home = ramet->home,
                          .progress = tell_progress,
                          .progress_data = operation,
                          .cancel_fd = operation->cancel_fd};
}

/* --- adding
 * ------------------------------------------------------------------------------------------- */

/* How an image comes to be: image_build or image_import with their requests. */
typedef struct Maker {
    int (*make)(const ImageContext *context, const void *request, ImageInfo *info, Error *error);
    const void *request; /* borrowed */
    const char *name;    /* borrowed */
    const char *event;   /* static */
    bool defer_digest;   /* answer before it is known */
} Maker;

static int name_taken(const char *name, Error *error) {
    error_set(error, ERROR_CONFLICT, EEXIST, "there is another image %s already", name);
    error_set_hint(error, "choose another name, or remove it with ramet image rm %s", name);
    return -EEXIST;
}

/* Adds the row, or finds the same one there. -EAGAIN: the base went away in between. */
static int add_row(Ramet *ramet, ImageInfo *info, const char *event, ImageRow *row, Error *error) {
    _cleanup_image_row_ ImageRow there = {0};
    ImageRow added = {.created_at_usec = info->created_at_usec};
    int r;

    if (access(info->path, R_OK) < 0)
        return error_set(error, ERROR_CONFLICT, EAGAIN, "%s was removed meanwhile", info->path);
    r = images_get(ramet->store, info->name, &there, error);
    if (r < 0)
        return r;
    image_digest_look(ramet, info->digest);
    if (r > 0) {
        image_digest_look(ramet, there.digest);
        if (!str_equal(there.digest, info->digest))
            return name_taken(info->name, error);
        *row = there;
        there = (ImageRow){0};
        return 0;
    }
    if (!added.created_at_usec)
        added.created_at_usec = clock_realtime_usec();
    (void)snprintf(added.name, sizeof(added.name), "%s", info->name);
    (void)snprintf(added.digest, sizeof(added.digest), "%s", info->digest);
    added.detail = detail_from_info(info);
    r = images_insert(ramet->store, &added, error);
    if (r < 0) {
        image_row_free(&added);
        return r;
    }
    ramet_event(ramet, event, NULL, added.name, added.detail);
    image_digest_later(ramet, added.digest);
    *row = added;
    return 0;
}

/* Only its digest tells whether it is what the name stands for already. */
static int await_comparison(Ramet *ramet, int cancel_fd, ImageInfo *info, Error *error) {
    _cleanup_image_row_ ImageRow there = {0};
    int r = images_get(ramet->store, info->name, &there, error);

    if (r <= 0 || str_equal(there.digest, info->digest))
        return r;
    r = image_digest_await(ramet, cancel_fd, there.digest, error);
    return r < 0 ? r : image_digest_await(ramet, cancel_fd, info->digest, error);
}

/* What was made for a name that stands for something else. */
static void drop_unused(Ramet *ramet, const ImageInfo *info) {
    _cleanup_error_ Error error = ERROR_INIT;
    ImageRow row = {0};
    size_t names;

    (void)snprintf(row.digest, sizeof(row.digest), "%s", info->digest);
    if (images_count_digest(ramet->store, row.digest, &names, &error) < 0 || names > 0)
        return;
    if (image_base_remove(ramet, &row, &error) < 0)
        log_warning("cannot remove an image that has no name: %s", error_message(&error));
}

static int make_once(Ramet *ramet, Operation *operation, const Maker *maker, ImageRow *row,
                     Error *error) {
    _cleanup_image_info_ ImageInfo info = {0};
    ImageContext context = make_context(ramet, operation);
    int r = maker->make(&context, maker->request, &info, error);

    if (r >= 0)
        r = await_comparison(ramet, operation->cancel_fd, &info, error);
    if (r < 0)
        return r;
    (void)pthread_mutex_lock(&ramet->images_mutex);
    r = add_row(ramet, &info, maker->event, row, error);
    if (r == -EEXIST)
        drop_unused(ramet, &info);
    (void)pthread_mutex_unlock(&ramet->images_mutex);
    return r;
}

static int make_image(Ramet *ramet, Operation *operation, const Maker *maker, ImageRow *row,
                      Error *error) {
    int r = name_check("image", maker->name ? maker->name : "", error);

    if (r >= 0)
        r = admission_check_disk(ramet, error);
    if (r < 0)
        return r;
    operation_enter(operation, "image");
    r = -EAGAIN;
    for (int i = 0; i < MAKES_MAX && r == -EAGAIN; i++) {
        error_clear(error);
        r = make_once(ramet, operation, maker, row, error);
    }
    return r;
}

static int make_and_describe(Ramet *ramet, Operation *operation, const Maker *maker, json_t **image,
                             Error *error) {
    _cleanup_image_row_ ImageRow row = {0};
    int r = make_image(ramet, operation, maker, &row, error);

    if (r >= 0 && !maker->defer_digest)
        r = image_digest_await(ramet, operation->cancel_fd, row.digest, error);
    stages_end(&operation->stages);
    if (r < 0 || !image)
        return r;
    return describe(ramet, &row, image, error);
}

static int make_by_build(const ImageContext *context, const void *request, ImageInfo *info,
                         Error *error) {
    return image_build(context, request, info, error);
}

static int make_by_import(const ImageContext *context, const void *request, ImageInfo *info,
                          Error *error) {
    return image_import(context, request, info, error);
}

/* An image of another recipe is another one: that needs no building to be known. */
static int check_recipe(Ramet *ramet, const char *name, const char *recipe, Error *error) {
    _cleanup_image_row_ ImageRow there = {0};
    int r = images_get(ramet->store, name, &there, error);
    const char *source;
    size_t size;

    if (r <= 0 || !image_recipe_exists(recipe))
        return MIN_OF(r, 0);
    source = json_string_value(json_object_get(there.detail, "source"));
    if (!source || !str_has_prefix(source, "recipe "))
        return 0;
    source += strlen("recipe ");
    size = strcspn(source, ": ");
    return size == strcspn(recipe, ":") && memcmp(source, recipe, size) == 0
               ? 0
               : name_taken(name, error);
}

int image_op_build(Ramet *ramet, Operation *operation, const ImageBuildOptions *options,
                   json_t **image, Error *error) {
    const ImageBuildRequest request = {.name = options->name,
                                       .recipe = options->from,
                                       .include = options->include,
                                       .n_include = options->n_include,
                                       .size_bytes = options->size_bytes,
                                       .kernel = {options->kernel, options->modules}};
    const Maker maker = {make_by_build, &request, options->name, "image.built"};
    int r;

    if (!options->from)
        return error_set(error, ERROR_USAGE, EINVAL, "an image is built from a recipe; name one");
    r = options->name ? check_recipe(ramet, options->name, options->from, error) : 0;
    if (r < 0)
        return r;
    return make_and_describe(ramet, operation, &maker, image, error);
}

int image_op_import(Ramet *ramet, Operation *operation, const ImageImportOptions *options,
                    json_t **image, Error *error) {
    const ImageImportRequest request = {.name = options->name,
                                        .fd = options->fd,
                                        .path = options->path ? options->path : "-",
                                        .sha256 = options->sha256,
                                        .size_bytes = options->size_bytes,
                                        .defer_digest = options->defer_digest,
                                        .kernel = {options->kernel, options->modules}};
    const Maker maker = {make_by_import, &request, options->name, "image.imported",
                         options->defer_digest};

    if (!options->path && options->fd < 0)
        return error_set(error, ERROR_USAGE, EINVAL, "an import needs a path or the bytes");
    if (options->path && options->path[0] != '/' && options->fd < 0)
        return error_set(error, ERROR_USAGE, EINVAL, "%.100s is no absolute path", options->path);
    return make_and_describe(ramet, operation, &maker, image, error);
}

int image_for_vm(Ramet *ramet, Operation *operation, const char *reference, ImageRow *image,
                 Error *error) {
    _cleanup_error_ Error failure = ERROR_INIT;
    const ImageBuildRequest request = {.name = reference, .recipe = reference};
    const Maker maker = {make_by_build, &request, reference, "image.built"};
    int r = images_find(ramet->store, reference, image, &failure);

    if (r != -ENOENT)
        return r < 0 ? error_move(error, &failure) : 0;
    if (!image_recipe_exists(reference)) {
        error_set_hint(&failure, "see ramet image ls, or build one with ramet image build");
        return error_move(error, &failure);
    }
    operation_note(operation, "there is no image %s yet; building it", reference);
    r = make_image(ramet, operation, &maker, image, error);
    if (r < 0)
        return error_add_context(error, "cannot build image %s", reference);
    operation_enter(operation, "plan");
    return 0;
}

/* --- looking
 * --------------------------------------------------------------------------------------------- */

int image_op_inspect(Ramet *ramet, int cancel_fd, const char *reference, json_t **image,
                     Error *error) {
    _cleanup_image_row_ ImageRow row = {0};
    int r = images_find(ramet->store, reference, &row, error);

    if (r >= 0)
        r = image_digest_await(ramet, cancel_fd, row.digest, error);
    return r < 0 ? r : describe(ramet, &row, image, error);
}

int image_op_list(Ramet *ramet, json_t **list, Error *error) {
    _cleanup_json_ json_t *array = json_array();
    ImageRow *rows = NULL;
    size_t count = 0;
    int r = images_list(ramet->store, &rows, &count, error);

    for (size_t i = 0; r >= 0 && i < count; i++) {
        json_t *image = NULL;

        r = describe(ramet, &rows[i], &image, error);
        if (r >= 0)
            (void)json_array_append_new(array, image);
    }
    image_rows_free(rows, count);
    if (r < 0)
        return r;
    *list = TAKE_PTR(array);
    return 0;
}
