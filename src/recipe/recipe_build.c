/* SPDX-License-Identifier: Apache-2.0 */

/* Building an image by a recipe.
 *
 *   the base, booted once (its entry in the boot cache) ─▶ a fork, in which the first step is done
 *   ─▶ snapshot ─▶ a fork of that, the second step, snapshot … ─▶ the last one's disk is the image,
 *   and its other disks are the image's seeds
 *
 * A step's snapshot is automatic, has the purpose "step" and the step's key (recipe_key.h). Who
 * builds looks for the last step whose key is there, and does only those that follow. Steps stay
 * until they are pruned, since the next build wants them; a step that failed leaves nothing.
 *
 * Of builds that want the same step at once, one does it and the others wait for it. A daemon that
 * dies leaves a hidden VM and at most a half made snapshot, which the next start removes; the steps
 * before are there. */

#include "recipe/recipe.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"
#include "frozen/pins.h"
#include "frozen/snapshot_files.h"
#include "home/inside.h"
#include "home/turn.h"
#include "lineage/lineage.h"
#include "machine/create.h"
#include "pool/boot_cache.h"
#include "recipe/recipe_image.h"
#include "recipe/recipe_key.h"
#include "recipe/recipe_plan.h"
#include "recipe/recipe_seeds.h"
#include "recipe/recipe_warm.h"
#include "recipe/step_vm.h"
#include "recipe/step_work.h"
#include "storage/bases.h"
#include "store/images.h"
#include "store/snapshots.h"

typedef struct Build {
    Home *home;                   /* borrowed */
    Operation *operation;         /* borrowed: the request's */
    const RecipeOptions *options; /* borrowed */
    RecipePlan plan;              /* owned */
    ImageRow base;                /* owned */
    SnapshotRow last;             /* owned and pinned: of what was done up to now */
    json_t *report;               /* owned: [{"line","step","cached","duration_us"}] */
} Build;

static void build_free(Build *build) {
    if (*build->last.id)
        snapshot_unpin(build->home, build->last.id);
    snapshot_row_free(&build->last);
    image_row_free(&build->base);
    recipe_plan_free(&build->plan);
    json_decref(build->report);
    lineage_collect(build->home);
}

/* `next`, pinned, is taken over. */
static void move_on(Build *build, SnapshotRow *next) {
    if (*build->last.id)
        snapshot_unpin(build->home, build->last.id);
    snapshot_row_free(&build->last);
    build->last = *next;
    *next = (SnapshotRow){0};
}

static void report(Build *build, const RecipeStep *step, bool cached, uint64_t duration_usec) {
    (void)json_array_append_new(build->report,
                                json_pack("{s:I, s:s, s:b, s:I}", "line", (json_int_t)step->line,
                                          "step", step->title, "cached", cached, "duration_us",
                                          (json_int_t)duration_usec));
}

/* ---- the base ---- */

/* A VM of it as it would be, without the program: what it boots from is where the steps begin. */
static int boot_base(Build *build, Error *error) {
    _cleanup_snapshot_row_ SnapshotRow root = {0};
    _cleanup_vm_row_ VmRow planned = {0};
    int r = vm_plan_row(build->home, build->operation, &build->plan.spec, CREATE_TO_RUN, &planned,
                        error);
    planned.spec.warm = false;
    if (r >= 0)
        r = images_find(build->home->store, build->plan.spec.image, &build->base, error);
    if (r >= 0)
        r = boot_cache_ensure(build->home, build->operation, &planned, &root, error);
    if (r < 0) {
        _cleanup_free_ char *what = str_format("base %s", build->plan.spec.image);
        return recipe_line_error(&build->plan, build->plan.base_line, what, error);
    }
    move_on(build, &root);
    return 0;
}

static int find_base(Build *build, Error *error) {
    Home *home = build->home;
    int r;
    bases_hold(home);
    r = recipe_seeds_add(home, build->operation, build->options, &build->plan, error);
    operation_enter(build->operation, "base");
    if (r >= 0)
        r = boot_base(build, error);
    bases_release(home);
    return r;
}

/* ---- steps ---- */

/* Goes on from what the step made, if that is there: 1, else 0. */
static int take_done(Build *build, const RecipeStep *step, Error *error) {
    _cleanup_snapshot_row_ SnapshotRow pinned = {0};
    int r = snapshot_pin_key(build->home, step->key, PURPOSE_STEP, &pinned, error);
    if (r > 0)
        move_on(build, &pinned);
    return r;
}

/* The steps that need not be done: their count. */
static int find_done(Build *build, size_t *count, Error *error) {
    const RecipePlan *plan = &build->plan;
    for (size_t i = plan->n_steps; i > 0 && *count == 0; i--) {
        int r = take_done(build, &plan->steps[i - 1], error);
        if (r < 0)
            return r;
        if (r > 0)
            *count = i;
    }
    for (size_t i = 0; i < *count; i++)
        report(build, &plan->steps[i], true, 0);
    if (*count > 0)
        operation_note(build->operation, "%zu of %zu steps are there already", *count,
                       plan->n_steps);
    return 0;
}

/* What a step is told by beside its own stages. */
static void begin(const Build *build, const RecipeStep *step) {
    operation_enter(build->operation, "step");
    operation_note(build->operation, "step %zu of %zu: %s", (size_t)(step - build->plan.steps) + 1,
                   build->plan.n_steps, step->title);
}

static int fork_last(const Build *build, Operation *operation, const RecipeStep *step, StepVm *vm,
                     Error *error) {
    const StepVmOptions options = {.name = build->options->keep,
                                   .network = step->network,
                                   .env = &build->plan.spec.env,
                                   .disk_bytes = build->plan.spec.disk_bytes};
    return step_vm_fork(build->home, operation, &build->last, &options, vm, error);
}

/* In the VM that stays, when somebody wants to look. */
static void keep_broken(const Build *build, StepVm *vm, const Error *failure) {
    _cleanup_error_ Error error = ERROR_INIT;
    if (!build->options->keep || failure->kind == ERROR_CANCELLED)
        return;
    if (step_vm_keep(build->home, vm, &error) < 0)
        operation_note(build->operation, "%s cannot be kept: %s", build->options->keep,
                       error_message(&error));
}

static int do_in_vm(Build *build, Operation *operation, const RecipeStep *step, StepVm *vm,
                    SnapshotRow *done, Error *error) {
    _cleanup_error_ Error failure = ERROR_INIT;
    int r = fork_last(build, operation, step, vm, error);
    if (r < 0)
        return r;
    r = step_work(build->home, build->operation, &vm->row, step, build->options->fd, &failure);
    if (r < 0) {
        keep_broken(build, vm, &failure);
        return error_move(error, &failure);
    }
    r = operation_check(build->operation, error);
    return r < 0 ? r
                 : step_vm_freeze(build->home, operation, vm, PURPOSE_STEP, step->key, done, error);
}

static int make_step(Build *build, const RecipeStep *step, Error *error) {
    _cleanup_snapshot_row_ SnapshotRow done = {0};
    uint64_t start = clock_monotonic_usec();
    Operation operation;
    StepVm vm = {0};
    int r;
    operation_init(&operation, 0, build->operation->cancel_fd);
    operation_enter(&operation, "plan");
    r = do_in_vm(build, &operation, step, &vm, &done, error);
    step_vm_remove(build->home, &vm);
    if (r < 0)
        return recipe_step_error(&build->plan, step, error);
    move_on(build, &done);
    report(build, step, false, clock_monotonic_usec() - start);
    return 0;
}

static int do_step(Build *build, const RecipeStep *step, Error *error) {
    _cleanup_close_ int lock_fd = -1;
    int r;
    begin(build, step);
    r = home_wait_for_turn(build->home, "step", step->key, build->operation->cancel_fd, &lock_fd,
                           error);
    if (r >= 0)
        r = take_done(build, step, error);
    if (r > 0)
        report(build, step, true, 0);
    return r != 0 ? r : make_step(build, step, error);
}

/* ---- all of it ---- */

static int do_steps(Build *build, Error *error) {
    size_t done = 0;
    int r = recipe_keys_make(&build->plan, &build->last, build->options->fd,
                             build->operation->cancel_fd, error);
    if (r >= 0)
        r = find_done(build, &done, error);
    for (size_t i = done; r >= 0 && i < build->plan.n_steps; i++)
        r = do_step(build, &build->plan.steps[i], error);
    return r;
}

static int make_image(Build *build, json_t **image, Error *error) {
    return recipe_image_make(build->home, build->operation, &build->plan, build->options,
                             &build->last, &build->base, image, error);
}

/* The program is ready before the image has its name. */
static int make_warm(Build *build, json_t **image, Error *error) {
    _cleanup_error_ Error failure = ERROR_INIT;
    Operation operation;
    StepVm vm = {0};
    int r;
    operation_enter(build->operation, "warm");
    operation_note(build->operation, "starting the image's program");
    operation_init(&operation, 0, build->operation->cancel_fd);
    operation_enter(&operation, "plan");
    r = recipe_warm_start(build->home, &operation, &build->plan, build->options, &build->last,
                          &build->base, &vm, &failure);
    if (r < 0)
        keep_broken(build, &vm, &failure);
    if (r >= 0)
        r = make_image(build, image, &failure);
    if (r >= 0)
        r = recipe_warm_keep(build->home, &operation, &build->plan, build->options, &vm, &failure);
    step_vm_remove(build->home, &vm);
    return r < 0 ? error_move(error, &failure) : 0;
}

static bool is_warm_already(Build *build) {
    return recipe_image_is_there(build->home, &build->plan, build->options, &build->last,
                                 &build->base) &&
           recipe_warm_is_there(build->home, build->operation, &build->plan, build->options, NULL) >
               0;
}

static int make_image_ready(Build *build, json_t **image, Error *error) {
    _cleanup_close_ int lock_fd = -1;
    int r;
    if (!build->plan.ready)
        return make_image(build, image, error);
    r = home_wait_for_turn(build->home, "warm", build->last.id, build->operation->cancel_fd,
                           &lock_fd, error);
    if (r < 0)
        return r;
    return is_warm_already(build) ? make_image(build, image, error)
                                  : make_warm(build, image, error);
}

int recipe_build(Home *home, Operation *operation, const RecipeOptions *options, json_t **image,
                 Error *error) {
    _cleanup_(build_free) Build build = {
        .home = home, .operation = operation, .options = options, .report = json_array()};
    _cleanup_json_ json_t *made = NULL;
    bool replace = false;
    int r = recipe_plan_read(options->fd, options->json_bytes, &build.plan, error);
    operation_enter(operation, "plan");
    if (r >= 0)
        r = recipe_image_check_name(home, options, &replace, error);
    if (r >= 0)
        r = find_base(&build, error);
    if (r >= 0)
        r = do_steps(&build, error);
    if (r >= 0)
        r = make_image_ready(&build, &made, error);
    boot_cache_reconcile(home);
    bases_collect(home); /* seeds that were made in vain, or lost their image */
    if (r < 0)
        return r;
    (void)json_object_set(made, "steps", build.report);
    *image = TAKE_PTR(made);
    return 0;
}
