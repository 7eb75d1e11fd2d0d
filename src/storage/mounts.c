/* SPDX-License-Identifier: Apache-2.0 */

#include "storage/mounts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/str.h"
#include "frozen/disks.h"
#include "home/inside.h"
#include "home/mount.h"
#include "storage/bases.h"
#include "store/disks/seeds.h"
#include "store/disks/volumes.h"

static int check_size(const VmMount *mount, uint64_t least, Error *error) {
    _cleanup_free_ char *wanted = format_size(mount->bytes), *has = format_size(least);
    if (mount->bytes >= least)
        return 0;
    error_set(error, ERROR_USAGE, EINVAL, "%s at %s is smaller than the seed %s (%s)", wanted,
              mount->path, mount->name, has);
    error_set_hint(error, "disks only grow; leave the size out or ask for more");
    return -EINVAL;
}

static int resolve_seed(Home *home, VmMount *mount, Error *error) {
    _cleanup_seed_row_ SeedRow row = {0};
    uint64_t bytes = 0;
    int r;
    if (!*mount->base) {
        r = seeds_find(home->store, mount->name, &row, error);
        if (r < 0)
            return r;
        str_set(mount->name, row.name);
        str_set(mount->base, row.digest);
    }
    if (base_bytes(home, mount->base, &bytes) < 0) {
        error_set(error, ERROR_NOT_FOUND, ENOENT, "the file of %s %s is gone: %s",
                  mount->kind == VM_MOUNT_CONFIG ? "its config disk" : "seed", mount->name,
                  mount->base);
        if (mount->kind == VM_MOUNT_SEED)
            error_set_hint(error, "ramet seed create --replace makes it again of its folder");
        return -ENOENT;
    }
    if (!mount->bytes)
        mount->bytes = bytes;
    return check_size(mount, bytes, error);
}

static int resolve_volume(Home *home, VmMount *mount, Error *error) {
    _cleanup_volume_row_ VolumeRow row = {0};
    _cleanup_free_ char *path = NULL;
    struct stat info;
    int r = *mount->volume ? 0 : volumes_find(home->store, mount->name, &row, error);
    if (r < 0 || *mount->volume)
        return r;
    path = volume_path(home, row.id);
    if (stat(path, &info) < 0)
        return error_set_errno(error, errno, "cannot look at volume %s", row.name);
    str_set(mount->name, row.name);
    str_set(mount->volume, row.id);
    mount->bytes = (uint64_t)info.st_size;
    return 0;
}

static int compare_paths(const void *a, const void *b) {
    return strcmp(((const VmMount *)a)->path, ((const VmMount *)b)->path);
}

int mounts_resolve(Home *home, VmMounts *mounts, Error *error) {
    int r = 0;
    for (size_t i = 0; r >= 0 && i < mounts->count; i++)
        r = mounts->items[i].kind == VM_MOUNT_VOLUME
                ? resolve_volume(home, &mounts->items[i], error)
                : resolve_seed(home, &mounts->items[i], error);
    if (r >= 0)
        qsort(mounts->items, mounts->count, sizeof(*mounts->items), compare_paths);
    return r;
}

static int add_one(Home *home, const json_t *seed, VmMounts *mounts, Error *error) {
    VmMount *mount = &mounts->items[mounts->count];
    uint64_t bytes;
    *mount = (VmMount){.kind = VM_MOUNT_SEED, .of_image = true};
    str_set(mount->path, str_or_empty(json_string_value(json_object_get(seed, "path"))));
    str_set(mount->base, str_or_empty(json_string_value(json_object_get(seed, "digest"))));
    if (vm_mounts_find(mounts, mount->path, NULL))
        return 0;
    if (base_bytes(home, mount->base, &bytes) < 0)
        return error_set(error, ERROR_NOT_FOUND, ENOENT, "its file %s is gone", mount->base);
    mount->bytes = bytes;
    mounts->count++;
    return 0;
}

void mounts_add_of_image(Home *home, Operation *operation, const json_t *seeds, VmMounts *mounts) {
    const json_t *seed;
    size_t i;
    json_array_foreach(seeds, i, seed) {
        _cleanup_error_ Error error = ERROR_INIT;
        const char *path = str_or_empty(json_string_value(json_object_get(seed, "path")));
        int r = mounts->count < VM_MOUNTS_MAX ? add_one(home, seed, mounts, &error)
                                              : vm_mounts_too_many(path, &error);
        if (r < 0)
            operation_note(operation,
                           "the image's seed for %s cannot be had (%s); the VM has there what is "
                           "on the image's own disk",
                           path, error_message(&error));
    }
}
