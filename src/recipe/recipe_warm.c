/* SPDX-License-Identifier: Apache-2.0 */

/* The boot cache has an entry for each way to run an image (pool/boot_cache.c). That of a warm
 * image would be made by a boot; a build has its last step at hand, forks it, and adds what that
 * has become. Its disk stands on the layers of the recipe's base and not on the image's own, which
 * holds the same without the program's traces; the entry keeps them. For VMs with other memory or
 * processors the boot cache boots the image and starts its program by itself, and so it does, once
 * it is built, for an image with seeds. */

#include "recipe/recipe_warm.h"

#include "base/str.h"
#include "frozen/pins.h"
#include "machine/create.h"
#include "pool/boot_cache.h"
#include "pool/warm_program.h"
#include "recipe/recipe_image.h"

static int at_line(const RecipePlan *plan, Error *error) {
    return error_add_context(error, "%s:%llu: snapshot-after", plan->file,
                             (unsigned long long)plan->ready_line);
}

int recipe_warm_start(Home *home, Operation *operation, const RecipePlan *plan,
                      const RecipeOptions *options, const SnapshotRow *last, const ImageRow *base,
                      StepVm *vm, Error *error) {
    _cleanup_json_ json_t *settings = recipe_image_settings(plan, base);
    const StepVmOptions how = {.name = options->keep,
                               .network = "user",
                               .env = &plan->spec.env,
                               .disk_bytes = plan->spec.disk_bytes,
                               .settings = settings};
    int r = step_vm_fork(home, operation, last, &how, vm, error);
    if (r >= 0)
        r = warm_program_start(home, operation, &vm->row, error);
    if (r < 0 && error && error->kind == ERROR_GUEST_NOT_READY)
        error_set_hint(error, "give it longer with snapshot-timeout, or look into it with "
                              "--shell-on-failure");
    return r < 0 ? at_line(plan, error) : 0;
}

/* A VM of the image as `run` would make it, with the recipe's memory and processors. */
static int plan_vm(Home *home, Operation *operation, const RecipePlan *plan,
                   const RecipeOptions *options, VmRow *row, Error *error) {
    _cleanup_vm_spec_ VmSpec spec;
    vm_spec_init(&spec);
    str_set(spec.image, options->name);
    spec.memory_bytes = plan->spec.memory_bytes;
    spec.cpus = plan->spec.cpus;
    return vm_plan_row(home, operation, &spec, CREATE_TO_RUN, row, error);
}

int recipe_warm_is_there(Home *home, Operation *operation, const RecipePlan *plan,
                         const RecipeOptions *options, Error *error) {
    _cleanup_vm_row_ VmRow row = {0};
    int r = plan_vm(home, operation, plan, options, &row, error);
    return r < 0 ? r : boot_cache_has(home, operation, &row, error);
}

/* What that VM has of seeds stands on those of the last step, and not on the image's. */
static int boot_once(Home *home, Operation *operation, VmRow *row, Error *error) {
    _cleanup_snapshot_row_ SnapshotRow snapshot = {0};
    int r = boot_cache_ensure(home, operation, row, &snapshot, error);
    if (r >= 0)
        snapshot_unpin(home, snapshot.id);
    return MIN_OF(r, 0);
}

int recipe_warm_keep(Home *home, Operation *operation, const RecipePlan *plan,
                     const RecipeOptions *options, StepVm *vm, Error *error) {
    _cleanup_vm_row_ VmRow row = {0};
    int r = plan_vm(home, operation, plan, options, &row, error);
    str_set(vm->row.image, options->name);
    if (r >= 0 && row.spec.mounts.count > 0)
        r = boot_once(home, operation, &row, error);
    else if (r >= 0)
        r = boot_cache_add(home, operation, &row, &vm->row, error);
    return r < 0 ? at_line(plan, error) : 0;
}
