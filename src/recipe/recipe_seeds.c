/* SPDX-License-Identifier: Apache-2.0 */
#include "recipe/recipe_seeds.h"

#include "base/str.h"
#include "disk/base_file.h"
#include "frozen/layers.h"
#include "home/inside.h"
#include "home/mount.h"
#include "storage/bases.h"
#include "storage/seeds.h"

static int add_one(Home *home, Operation *operation, const RecipeOptions *options,
                   const RecipeSeed *seed, VmMounts *mounts, Error *error) {
    VmMount mount = {.kind = VM_MOUNT_SEED};
    char base[BASE_ID_SIZE];
    SeedResult result;
    int r = options->check_folder(options->data, seed->from, error);
    if (r >= 0)
        r = seed_make_base(home, operation, seed->from, 0, base, &result, error);
    if (r < 0)
        return r;
    str_set(mount.path, seed->path);
    str_set(mount.base, base);
    return vm_mounts_add(mounts, &mount, error);
}

int recipe_seeds_add(Home *home, Operation *operation, const RecipeOptions *options,
                     RecipePlan *plan, Error *error) {
    for (size_t i = 0; i < plan->n_seeds; i++) {
        const RecipeSeed *seed = &plan->seeds[i];
        if (add_one(home, operation, options, seed, &plan->spec.mounts, error) < 0)
            return recipe_line_error(plan, seed->line, "seed", error);
    }
    return 0;
}

/* ---- what became of them ---- */

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

static int take_one(Home *home, Operation *operation, const VmMount *mount, const char *layer,
                    json_t *seeds, Error *error) {
    _cleanup_free_ char *path = seed_base_path(home->path, mount->base);
    Writing writing = {home, operation, layer, path};
    char base[BASE_ID_SIZE];
    uint64_t bytes = 0;
    int r = base_make(home, operation, fill, &writing, base, error);
    if (r >= 0)
        r = base_bytes(home, base, &bytes);
    if (r < 0)
        return error_add_context(error, "the seed at %s", mount->path);
    (void)json_array_append_new(seeds, json_pack("{s:s, s:s, s:s, s:I}", "path", mount->path,
                                                 "digest", base, "source", "a recipe",
                                                 "virtual_bytes", (json_int_t)bytes));
    return 0;
}

int recipe_seeds_take(Home *home, Operation *operation, const SnapshotRow *last, json_t **seeds,
                      Error *error) {
    const VmMounts *mounts = &last->data.spec.mounts;
    _cleanup_json_ json_t *list = json_array();
    int r = 0;
    for (size_t i = 0; r >= 0 && i < mounts->count; i++)
        r = take_one(home, operation, &mounts->items[i], last->data.disks.items[i].layer, list,
                     error);
    if (r >= 0 && mounts->count > 0)
        *seeds = TAKE_PTR(list);
    return r;
}
