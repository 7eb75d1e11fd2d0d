/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/image_seeds.h"

#include <errno.h>

#include "base/str.h"
#include "disk/base_file.h"
#include "frozen/layers.h"
#include "home/inside.h"
#include "home/mount.h"
#include "storage/bases.h"

#include "storage/seeds.h"

static void add_item(json_t *seeds, const char *path, const char *base, const char *source,
                     uint64_t bytes) {
    (void)json_array_append_new(seeds,
                                json_pack("{s:s, s:s, s:s, s:I}", "path", path, "digest", base,
                                          "source", source, "virtual_bytes", (json_int_t)bytes));
}

static json_t *unless_empty(json_t *seeds) {
    return json_array_size(seeds) > 0 ? json_incref(seeds) : NULL;
}

/* ---- of folders ---- */

static int make_one(Home *home, Operation *operation, const char *text, json_t *seeds,
                    Error *error) {
    _cleanup_free_ char *folder = NULL;
    char path[VM_MOUNT_PATH_SIZE], base[BASE_ID_SIZE];
    SeedResult result = {0};
    int r = vm_mount_split(text, &folder, path, error);
    for (size_t i = 0; r >= 0 && i < json_array_size(seeds); i++)
        if (str_equal(json_string_value(json_object_get(json_array_get(seeds, i), "path")), path))
            r = error_set(error, ERROR_USAGE, EINVAL, "two seeds would be at %s", path);
    if (r >= 0)
        r = seed_make_base(home, operation, folder, 0, base, &result, error);
    if (r >= 0)
        add_item(seeds, path, base, folder, result.virtual_bytes);
    return r;
}

int image_seeds_make(Home *home, Operation *operation, const json_t *texts, json_t **seeds,
                     Error *error) {
    _cleanup_json_ json_t *list = json_array();
    int r = 0;
    *seeds = NULL;
    if (json_array_size(texts) > VM_MOUNTS_MAX)
        return vm_mounts_too_many(json_string_value(json_array_get(texts, VM_MOUNTS_MAX)), error);
    for (size_t i = 0; r >= 0 && i < json_array_size(texts); i++)
        r = make_one(home, operation, json_string_value(json_array_get(texts, i)), list, error);
    if (r >= 0)
        *seeds = unless_empty(list);
    return r;
}

/* ---- of disks over seeds ---- */

typedef struct Writing {
    Home *home; /* borrowed, as are all of these */
    Operation *operation;
    const char *layer, *base_path;
} Writing;

static int fill(void *data, const char *path, int fd, int cancel_fd, Error *error) {
    const Writing *writing = data;
    return layer_write_raw(writing->home, writing->operation, writing->layer, writing->base_path,
                           fd, path, error);
}

static int make_base(Home *home, Operation *operation, const VmMount *mount, const char *layer,
                     char base[BASE_ID_SIZE], uint64_t *bytes, Error *error) {
    _cleanup_free_ char *below = seed_base_path(home->path, mount->base);
    Writing writing = {home, operation, layer, below};
    int r = base_make(home, operation, fill, &writing, base, error);
    if (r >= 0)
        r = base_bytes(home, base, bytes);
    return r < 0 ? error_add_context(error, "the seed at %s", mount->path) : 0;
}

static int take_one(Home *home, Operation *operation, const VmMount *mount, const char *layer,
                    const char *source, json_t *seeds, Error *error) {
    char base[BASE_ID_SIZE];
    uint64_t bytes = 0;
    int r;
    if (mount->kind != VM_MOUNT_SEED) {
        operation_note(operation, "what the VM has at %s is not in the image", mount->path);
        return 0;
    }
    r = make_base(home, operation, mount, layer, base, &bytes, error);
    if (r >= 0)
        add_item(seeds, mount->path, base, source, bytes);
    return r;
}

int image_seeds_take(Home *home, Operation *operation, const SnapshotRow *snapshot,
                     const char *source, json_t **seeds, Error *error) {
    const VmMounts *mounts = &snapshot->data.spec.mounts;
    _cleanup_json_ json_t *list = json_array();
    int r = 0;
    *seeds = NULL;
    if (mounts->count > 0)
        operation_enter(operation, "seeds");
    for (size_t i = 0; r >= 0 && i < mounts->count; i++)
        r = take_one(home, operation, &mounts->items[i], snapshot->data.disks.items[i].layer,
                     source, list, error);
    if (r >= 0)
        *seeds = unless_empty(list);
    return r;
}
