/* SPDX-License-Identifier: Apache-2.0 */

/* Images by name. src/image makes bases and kernels; this file remembers what they are called.
 *
 * A base and its row come and go under images_mutex: a removal deletes the last row and then the
 * file, and an import that found the file there already looks again, under the mutex, before it
 * adds its row; if a removal came in between it makes the base once more. */

#include "catalog/images.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "base/str.h"
#include "catalog/image_remove.h"
#include "disk/base_file.h"
#include "home/admission.h"
#include "home/home.h"
#include "home/inside.h"
#include "home/mount.h"
#include "home/operation.h"
#include "image/context.h"
#include "image/firmware.h"
#include "image/image.h"
#include "image/oci/oci_reference.h"
#include "storage/bases.h"
#include "storage/image_seeds.h"
#include "store/images.h"

#define MAKES_MAX 3

/* ---- between a row and what src/image knows ---- */

static json_t *detail_from_info(const ImageInfo *info) {
    return json_pack(
        "{s:I, s:I, s:s, s:s*, s:I, s:i, s:s, s:s*, s:O*, s:s*, s:s*}", "virtual_bytes",
        (json_int_t)info->virtual_bytes, "minimum_disk_bytes", (json_int_t)info->minimum_disk_bytes,
        "kernel_key", info->kernel_key, "kernel", info->kernel_version, "default_memory_bytes",
        (json_int_t)info->default_memory_bytes, "default_cpus", (int)MAX_OF(info->default_cpus, 1u),
        "init", image_init_name(info->init), "source", info->source, "config", info->settings,
        "manifest", *info->manifest ? info->manifest : NULL, "step",
        *info->step ? info->step : NULL);
}

static json_t *member_or_null(const json_t *object, const char *key) {
    json_t *value = json_object_get(object, key);
    return value ? json_incref(value) : json_null();
}

/* It follows from the digest, so that a home can be moved while it holds no VMs. */
char *image_row_path(const Home *home, const ImageRow *row) {
    return base_path(home->path, row->digest);
}

static json_t *describe_seeds(const ImageRow *row) {
    json_t *seeds = json_object_get(row->detail, "seeds");
    return seeds ? json_incref(seeds) : json_array();
}

static int describe(const Home *home, const ImageRow *row, json_t **image, Error *error) {
    _cleanup_free_ char *created = clock_format_realtime(row->created_at_usec);
    _cleanup_free_ char *path = image_row_path(home, row);
    struct stat info = {0};
    char id[IMAGE_ID_SIZE];
    if (stat(path, &info) < 0)
        info.st_blocks = 0;
    image_row_id(row, id);
    *image = json_pack(
        "{s:s, s:s, s:s, s:s, s:o, s:I, s:o, s:o, s:s, s:s, s:o, s:o, s:o, s:o}", "id", id, "name",
        row->name, "digest", row->digest, "path", path, "virtual_bytes",
        member_or_null(row->detail, "virtual_bytes"), "allocated_bytes",
        (json_int_t)info.st_blocks * 512, "kernel", member_or_null(row->detail, "kernel"),
        "kernel_key", member_or_null(row->detail, "kernel_key"), "agent_version", RAMET_VERSION,
        "created_at", created, "minimum_disk_bytes",
        member_or_null(row->detail, "minimum_disk_bytes"), "default_memory_bytes",
        member_or_null(row->detail, "default_memory_bytes"), "init",
        member_or_null(row->detail, "init"), "source", member_or_null(row->detail, "source"));
    if (!*image)
        return error_set(error, ERROR_CORRUPT, EBADMSG, "bad row of image %s", row->name);
    (void)json_object_set_new(*image, "default_cpus", json_integer(image_row_cpus(row)));
    (void)json_object_set_new(*image, "config", member_or_null(row->detail, "config"));
    (void)json_object_set_new(*image, "manifest", member_or_null(row->detail, "manifest"));
    (void)json_object_set_new(*image, "seeds", describe_seeds(row));
    (void)json_object_set_new(*image, "steps", json_null());
    return 0;
}

static void tell_progress(void *data, const char *step, uint64_t done, uint64_t total) {
    operation_progress(data, step, done, total);
}

static ImageContext make_context(Home *home, Operation *operation) {
    return (ImageContext){.home = home->path,
                          .progress = tell_progress,
                          .progress_data = operation,
                          .cancel_fd = operation->cancel_fd};
}

/* ---- adding ---- */

/* How an image comes to be: image_build or image_import with their requests. */
typedef struct Maker {
    int (*make)(const ImageContext *context, const void *request, ImageInfo *info, Error *error);
    const void *request; /* borrowed */
    const char *name;    /* borrowed */
    const char *event;   /* static */
    json_t *seeds;       /* borrowed: of its detail; NULL: none */
    bool sized;          /* somebody asked for the size of its VMs' disks */
    bool replace;        /* the name may stand for another image */
} Maker;

static int name_taken(const char *name, Error *error) {
    error_set(error, ERROR_CONFLICT, EEXIST, "there is another image %s already", name);
    error_set_hint(error,
                   "choose another name, let --replace move this one, or remove it with ramet "
                   "image rm %s",
                   name);
    return -EEXIST;
}

static bool same_seeds(const ImageRow *a, const ImageRow *b) {
    json_t *of_a = json_object_get(a->detail, "seeds"), *of_b = json_object_get(b->detail, "seeds");
    return of_a == of_b || json_equal(of_a, of_b);
}

/* The same disk may be booted in several ways. Which kernel of ours boots it is no difference. */
static bool boots_alike(const ImageRow *a, const ImageRow *b) {
    const char *one = json_string_value(json_object_get(a->detail, "kernel_key"));
    const char *other = json_string_value(json_object_get(b->detail, "kernel_key"));
    return str_equal(one, other) || (!firmware_is(one) && !firmware_is(other));
}

static bool is_same(const ImageRow *a, const ImageRow *b) {
    return str_equal(a->digest, b->digest) && same_seeds(a, b) && boots_alike(a, b);
}

static uint64_t disk_bytes(const ImageRow *row) {
    return (uint64_t)json_integer_value(json_object_get(row->detail, "minimum_disk_bytes"));
}

static int size_differs(const ImageRow *there, const ImageRow *row, Error *error) {
    _cleanup_free_ char *had = format_size(disk_bytes(there));
    _cleanup_free_ char *wanted = format_size(disk_bytes(row));
    error_set(error, ERROR_CONFLICT, EEXIST,
              "there is an image %s of this disk already, whose VMs have %s (wanted %s)", row->name,
              had, wanted);
    error_set_hint(error, "let --replace change its size, or give one VM its own with ramet run "
                          "--disk");
    return -EEXIST;
}

/* Lets the name of `row`, which is taken over on success, stand for it, or finds that it does
 * already. sized: with that size. *replaced: the digest that lost the name, or "". */
static int put_name(Home *home, ImageRow *row, bool sized, bool replace, const char *event,
                    char replaced[IMAGE_ROW_DIGEST_SIZE], Error *error) {
    _cleanup_image_row_ ImageRow there = {0};
    int r = images_get(home->store, row->name, &there, error);
    if (r < 0)
        return r;
    bool same = r > 0 && is_same(&there, row);
    if (same && !replace && sized && disk_bytes(&there) != disk_bytes(row))
        return size_differs(&there, row, error);
    if (same && (!replace || json_equal(there.detail, row->detail))) {
        image_row_move(row, &there);
        return 0;
    }
    if (r > 0 && !replace)
        return name_taken(row->name, error);
    r = r > 0 ? images_replace(home->store, row, error) : images_insert(home->store, row, error);
    if (r < 0)
        return r;
    (void)snprintf(replaced, IMAGE_ROW_DIGEST_SIZE, "%s", there.digest);
    home_event(home, event, NULL, row->name, row->detail);
    return 0;
}

/* Adds the row, or finds the same one there. -EAGAIN: the base went away in between. */
static int add_row(Home *home, ImageInfo *info, const Maker *maker, ImageRow *row,
                   char replaced[IMAGE_ROW_DIGEST_SIZE], Error *error) {
    _cleanup_image_row_ ImageRow added = {.created_at_usec = info->created_at_usec};
    int r;
    if (access(info->path, R_OK) < 0)
        return error_set(error, ERROR_CONFLICT, EAGAIN, "%s was removed meanwhile", info->path);
    if (!added.created_at_usec)
        added.created_at_usec = clock_realtime_usec();
    (void)snprintf(added.name, sizeof(added.name), "%s", info->name);
    (void)snprintf(added.digest, sizeof(added.digest), "%s", info->digest);
    added.detail = detail_from_info(info);
    if (maker->seeds)
        (void)json_object_set(added.detail, "seeds", maker->seeds);
    r = put_name(home, &added, maker->sized, maker->replace, maker->event, replaced, error);
    if (r < 0)
        return r;
    image_row_move(row, &added);
    return 0;
}

/* What a name was taken from: its base goes unless somebody stands on it. A pool of the name is
 * filled anew. */
static void leave_name(Home *home, const char *digest) {
    if (!*digest)
        return;
    image_base_collect(home, digest);
    home_pools_changed(home);
}

/* An earlier version may have made the base of that content, and named it otherwise. */
static int compare_with_old(Home *home, int cancel_fd, ImageInfo *info, Error *error) {
    _cleanup_image_row_ ImageRow there = {0};
    _cleanup_free_ char *path = NULL;
    _cleanup_close_ int fd = -1;
    char found[BASE_ID_SIZE] = "";
    int r = images_get(home->store, info->name, &there, error);
    if (r <= 0 || !base_id_is_old(there.digest))
        return MIN_OF(r, 0);
    path = base_path(home->path, there.digest);
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    r = fd < 0 ? 0 : base_digest(fd, cancel_fd, found, error);
    if (r >= 0 && str_equal(found, info->digest))
        (void)snprintf(info->digest, sizeof(info->digest), "%s", there.digest);
    return r;
}

static int make_once(Home *home, Operation *operation, const Maker *maker, ImageRow *row,
                     Error *error) {
    _cleanup_image_info_ ImageInfo info = {0};
    ImageContext context = make_context(home, operation);
    char replaced[IMAGE_ROW_DIGEST_SIZE] = "", made[BASE_ID_SIZE];
    int r = maker->make(&context, maker->request, &info, error);
    if (r < 0 && *info.digest) /* its base is there, and nobody's */
        image_base_collect(home, info.digest);
    if (r != 0)
        return r;
    (void)snprintf(made, sizeof(made), "%s", info.digest);
    r = compare_with_old(home, operation->cancel_fd, &info, error);
    if (r < 0)
        return r;
    (void)pthread_mutex_lock(&home->images_mutex);
    r = add_row(home, &info, maker, row, replaced, error);
    (void)pthread_mutex_unlock(&home->images_mutex);
    if (r == -EEXIST || !str_equal(made, info.digest))
        image_base_collect(home, made);
    leave_name(home, replaced);
    return r;
}

static int make_image(Home *home, Operation *operation, const Maker *maker, ImageRow *row,
                      Error *error) {
    int r = name_check("image", maker->name ? maker->name : "", error);
    if (r >= 0)
        r = admission_check_disk(home, error);
    if (r < 0)
        return r;
    operation_enter(operation, "image");
    r = -EAGAIN;
    for (int i = 0; i < MAKES_MAX && r == -EAGAIN; i++) {
        error_clear(error);
        r = make_once(home, operation, maker, row, error);
    }
    return r;
}

static int make_and_describe(Home *home, Operation *operation, const Maker *maker, json_t **image,
                             Error *error) {
    _cleanup_image_row_ ImageRow row = {0};
    int r = make_image(home, operation, maker, &row, error);
    if (r > 0) /* somebody else makes it */
        return r;
    stages_end(&operation->stages);
    if (r < 0 || !image)
        return r;
    return describe(home, &row, image, error);
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
static int check_recipe(Home *home, const char *name, const char *recipe, Error *error) {
    _cleanup_image_row_ ImageRow there = {0};
    int r = images_get(home->store, name, &there, error);
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

static int build_with_seeds(Home *home, Operation *operation, const ImageBuildOptions *options,
                            Maker *maker, json_t **image, Error *error) {
    _cleanup_json_ json_t *seeds = NULL;
    int r;
    bases_hold(home);
    r = image_seeds_make(home, operation, options->seeds, &seeds, error);
    maker->seeds = seeds;
    if (r >= 0)
        r = make_and_describe(home, operation, maker, image, error);
    bases_release(home);
    bases_collect(home); /* what was made in vain, or lost its image */
    return r;
}

int catalog_build_image(Home *home, Operation *operation, const ImageBuildOptions *options,
                        json_t **image, Error *error) {
    const ImageBuildRequest request = {.name = options->name,
                                       .recipe = options->from,
                                       .include = options->include,
                                       .n_include = options->n_include,
                                       .size_bytes = options->size_bytes,
                                       .kernel = {options->kernel, options->modules}};
    Maker maker = {make_by_build, &request, options->name, "image.built",
                   .replace = options->replace};
    int r;
    if (!options->from)
        return error_set(error, ERROR_USAGE, EINVAL, "an image is built from a recipe; name one");
    r = options->name && !options->replace ? check_recipe(home, options->name, options->from, error)
                                           : 0;
    if (r < 0)
        return r;
    return build_with_seeds(home, operation, options, &maker, image, error);
}

int catalog_import_image(Home *home, Operation *operation, const ImageImportOptions *options,
                         json_t **image, Error *error) {
    const ImageImportRequest request = {.name = options->name,
                                        .fd = options->fd,
                                        .path = options->path ? options->path : "-",
                                        .sha256 = options->sha256,
                                        .format = options->format,
                                        .size_bytes = options->size_bytes,
                                        .boot = options->boot,
                                        .machine = options->machine,
                                        .kernel = {options->kernel, options->modules}};
    const Maker maker = {make_by_import,
                         &request,
                         options->name,
                         "image.imported",
                         .sized = options->size_bytes > 0,
                         .replace = options->replace};
    if (!options->path && options->fd < 0)
        return error_set(error, ERROR_USAGE, EINVAL, "an import needs a path or the bytes");
    if (options->path && options->path[0] != '/' && options->fd < 0)
        return error_set(error, ERROR_USAGE, EINVAL, "%.100s is no absolute path", options->path);
    return make_and_describe(home, operation, &maker, image, error);
}

static int make_by_adopt(const ImageContext *context, const void *request, ImageInfo *info,
                         Error *error) {
    return image_adopt(context, request, info, error);
}

int catalog_adopt_image(Home *home, Operation *operation, const ImageAdoptRequest *request,
                        bool replace, const char *event, json_t **image, Error *error) {
    const Maker maker = {make_by_adopt, request,        request->name,
                         event,         request->seeds, .replace = replace};
    return make_and_describe(home, operation, &maker, image, error);
}

static int make_by_pull(const ImageContext *context, const void *request, ImageInfo *info,
                        Error *error) {
    return image_pull(context, request, info, error);
}

bool catalog_image_is_of(Home *home, const char *name, const char *reference) {
    _cleanup_image_row_ ImageRow there = {0};
    return images_get(home->store, name, &there, NULL) > 0 &&
           str_equal(json_string_value(json_object_get(there.detail, "source")), reference);
}

int catalog_pull_image(Home *home, Operation *operation, const ImagePullOptions *options,
                       json_t **image, Error *error) {
    ImagePullRequest request = options->request;
    _cleanup_free_ char *name = NULL;
    OciReference reference = {0};
    int r = oci_reference_parse(request.reference, &reference, error);
    if (r >= 0 && !request.name)
        r = oci_reference_name(&reference, &name, error);
    oci_reference_free(&reference);
    if (r < 0)
        return r;
    request.name = request.name ? request.name : name;
    const Maker maker = {make_by_pull, &request, request.name, "image.pulled",
                         .replace = options->replace ||
                                    catalog_image_is_of(home, request.name, request.reference)};
    return make_and_describe(home, operation, &maker, image, error);
}

/* With the images' mutex. */
static int tag_locked(Home *home, const char *reference, const char *name, bool replace,
                      ImageRow *row, char replaced[IMAGE_ROW_DIGEST_SIZE], Error *error) {
    _cleanup_image_row_ ImageRow tagged = {0};
    int r = images_find(home->store, reference, &tagged, error);
    if (r < 0)
        return r;
    (void)snprintf(tagged.name, sizeof(tagged.name), "%s", name);
    tagged.created_at_usec = clock_realtime_usec();
    r = put_name(home, &tagged, false, replace, "image.tagged", replaced, error);
    if (r >= 0)
        image_row_move(row, &tagged);
    return r;
}

int catalog_tag_image(Home *home, Operation *operation, const char *reference, const char *name,
                      bool replace, json_t **image, Error *error) {
    _cleanup_image_row_ ImageRow row = {0};
    char replaced[IMAGE_ROW_DIGEST_SIZE] = "";
    int r = name_check("image", name, error);
    if (r < 0)
        return r;
    operation_enter(operation, "tag");
    (void)pthread_mutex_lock(&home->images_mutex);
    r = tag_locked(home, reference, name, replace, &row, replaced, error);
    (void)pthread_mutex_unlock(&home->images_mutex);
    leave_name(home, replaced);
    return r < 0 ? r : describe(home, &row, image, error);
}

int image_for_vm(Home *home, Operation *operation, const char *reference, ImageRow *image,
                 Error *error) {
    _cleanup_error_ Error failure = ERROR_INIT;
    const ImageBuildRequest request = {.name = reference, .recipe = reference};
    const Maker maker = {make_by_build, &request, reference, "image.built"};
    int r = images_find(home->store, reference, image, &failure);
    if (r != -ENOENT)
        return r < 0 ? error_move(error, &failure) : 0;
    if (!image_recipe_exists(reference)) {
        error_set_hint(&failure, "see ramet image ls, or build one with ramet image build");
        return error_move(error, &failure);
    }
    operation_note(operation, "there is no image %s yet; building it", reference);
    r = make_image(home, operation, &maker, image, error);
    if (r < 0)
        return error_add_context(error, "cannot build image %s", reference);
    operation_enter(operation, "plan");
    return 0;
}

/* ---- looking ---- */

int image_op_inspect(Home *home, const char *reference, json_t **image, Error *error) {
    _cleanup_image_row_ ImageRow row = {0};
    int r = images_find(home->store, reference, &row, error);
    return r < 0 ? r : describe(home, &row, image, error);
}

int image_op_list(Home *home, json_t **list, Error *error) {
    _cleanup_json_ json_t *array = json_array();
    ImageRow *rows = NULL;
    size_t count = 0;
    int r = images_list(home->store, &rows, &count, error);
    for (size_t i = 0; r >= 0 && i < count; i++) {
        json_t *image = NULL;
        r = describe(home, &rows[i], &image, error);
        if (r >= 0)
            (void)json_array_append_new(array, image);
    }
    image_rows_free(rows, count);
    if (r < 0)
        return r;
    *list = TAKE_PTR(array);
    return 0;
}
