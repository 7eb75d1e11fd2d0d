/* SPDX-License-Identifier: Apache-2.0 */
#include "recipe/recipe_seeds.h"

#include "base/str.h"
#include "disk/base_file.h"
#include "home/mount.h"
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
