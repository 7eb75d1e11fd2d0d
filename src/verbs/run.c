/* SPDX-License-Identifier: Apache-2.0 */

/* `run`, and the first start of a VM that was made before: from a pool when a warm clone waits
 * there, else forked from the boot cache, else cold. What happened is the VM's "boot"; a way that
 * failed is told of, and is its "fallback".
 *
 * A VM that has never run has an empty overlay, so the overlay may be replaced by one over another
 * layer: that is done by a rename, before the row says so. Until then both say the same, nothing.
 */

#include "verbs/run.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "disk/base_file.h"
#include "frozen/disks.h"
#include "frozen/layers.h"
#include "frozen/pins.h"
#include "home/admission.h"
#include "home/home.h"
#include "home/inside.h"
#include "home/op_lock.h"
#include "home/operation.h"
#include "home/row.h"
#include "home/spec.h"
#include "lineage/lineage.h"
#include "machine/clone.h"
#include "machine/create.h"
#include "machine/look/describe.h"
#include "machine/remove.h"
#include "machine/start.h"
#include "pool/boot_cache.h"
#include "pool/pool_claim.h"
#include "run/restore.h"
#include "storage/config_disk.h"
#include "store/snapshots.h"
#include "store/vms.h"
#include "verbs/verbs.h"

#define NEW_OVERLAY "disk.new"

/* --- the disk ----------------------------------------------------------------------------------
 */

static int replace_overlay(Home *home, const VmRow *row, size_t disk, int dir_fd, const char *layer,
                           Error *error) {
    _cleanup_free_ char *base = vm_disk_base(home, row, disk);
    int r;
    if (unlinkat(dir_fd, NEW_OVERLAY, 0) < 0 && errno != ENOENT)
        return error_set_errno(error, errno, "cannot remove an old %s", NEW_OVERLAY);
    r = layer_make_overlay(home, row, dir_fd, NEW_OVERLAY, layer, base, vm_disk_bytes(row, disk),
                           false, error);
    if (r >= 0 && renameat(dir_fd, NEW_OVERLAY, dir_fd, vm_disk_file(row, disk)) < 0)
        r = error_set_errno(error, errno, "cannot name the new overlay");
    return r;
}

/* Its disk may stand on another base than its image's, where that came from a recipe. */
static void take_base(VmRow *row, const SnapshotRow *snapshot) {
    str_set(row->image_digest, snapshot->image_digest);
    str_replace(&row->runtime.base, snapshot->data.base_path);
}

/* What it was before take_base. */
static void give_base_back(const Home *home, VmRow *row, const SnapshotRow *snapshot) {
    const char *digest = snapshot->data.facts.image_digest;
    if (!digest || str_equal(digest, row->image_digest))
        return;
    _cleanup_free_ char *base = base_path(home->path, digest);
    str_set(row->image_digest, digest);
    str_replace(&row->runtime.base, base);
}

/* Lets a VM without content of its own stand on a snapshot; NULL: on its image. */
static int rebase_on(Home *home, VmRow *row, const SnapshotRow *snapshot, Error *error) {
    const VmDisks *disks = snapshot ? &snapshot->data.disks : NULL;
    const char *layer = snapshot ? snapshot->layer : "";
    _cleanup_close_ int dir_fd = -1;
    int r = vm_folder_open(home, row->id, &dir_fd, error);
    if (snapshot)
        take_base(row, snapshot);
    for (size_t i = 0; r >= 0 && i < vm_disk_count(row); i++)
        if (vm_disk_has_overlay(row, i))
            r = replace_overlay(home, row, i, dir_fd,
                                i == 0 ? layer : (disks ? disks->items[i - 1].layer : ""), error);
    if (r < 0)
        return r;
    vm_disks_stand_on(row, layer, disks);
    (void)snprintf(row->snapshot, sizeof(row->snapshot), "%s", snapshot ? snapshot->id : "");
    r = vms_update(home->store, row, error);
    return r < 0 ? r : vms_set_ground(home->store, row, error);
}

/* --- forking -----------------------------------------------------------------------------------
 */

static int restore(Home *home, Operation *operation, OpLock *lock, VmRow *row,
                   const SnapshotRow *snapshot, Error *error) {
    const Restore how = {.snapshot = snapshot, .boot = "forked", .clone = true};
    _cleanup_close_ int cancel_fd = operation_join_cancel(operation, op_lock_abort_fd(lock), error);
    int r;

    if (cancel_fd < 0)
        return cancel_fd;
    row_clear_run(row);
    r = row_set_state(home, row, STATE_STARTING, NULL, error);
    if (r >= 0)
        r = clone_restore(home, operation, row, &how, cancel_fd, error);
    if (r == -ECANCELED && op_lock_aborted(lock))
        return error_set(error, ERROR_CANCELLED, ECANCELED, "it was killed while it started");
    return r;
}

/* The entry is given up, the VM boots cold, and says so. */
static int fall_back(Home *home, Operation *operation, OpLock *lock, VmRow *row,
                     const SnapshotRow *snapshot, const Error *trouble, Error *error) {
    json_t *failure =
        row_tell_fallback(home, operation, row, "it could not be restored; booting cold", trouble);
    int r;

    boot_cache_discard(home, snapshot);
    row->state = STATE_CREATED;
    row_clear_run(row);
    operation_enter(operation, "overlay");
    give_base_back(home, row, snapshot);
    r = rebase_on(home, row, NULL, error);
    if (r >= 0)
        r = vm_start_locked(home, operation, lock, row, error);
    json_replace(&row->runtime.fallback, failure);
    if (r >= 0)
        r = vms_update(home->store, row, error);
    return r;
}

/* The VM stands on the snapshot already. */
static int start_forked(Home *home, Operation *operation, OpLock *lock, VmRow *row,
                        const SnapshotRow *snapshot, Error *error) {
    _cleanup_error_ Error trouble = ERROR_INIT;
    int r = restore(home, operation, lock, row, snapshot, &trouble);

    if (r >= 0)
        return vm_become_running(home, row, error);
    if (boot_cache_may_fall_back(&trouble))
        return fall_back(home, operation, lock, row, snapshot, &trouble, error);
    vm_record_failure(home, row, &trouble);
    (void)error_move(error, &trouble);
    return error_add_context(error, "cannot start %s", row->name);
}

/* --- a VM that was made before -----------------------------------------------------------------
 */

static int start_cached(Home *home, Operation *operation, OpLock *lock, VmRow *row,
                        const SnapshotRow *snapshot, Error *error) {
    int r;

    operation_enter(operation, "overlay");
    r = rebase_on(home, row, snapshot, error);
    return r < 0 ? r : start_forked(home, operation, lock, row, snapshot, error);
}

static int note_fallback(Home *home, VmRow *row, json_t *failure, Error *error) {
    if (!failure)
        return 0;
    json_replace(&row->runtime.fallback, json_incref(failure));
    return vms_update(home->store, row, error);
}

/* As boot_cache_open, and ended by a kill of the VM, too. */
static int open_cache(Home *home, Operation *operation, OpLock *lock, VmRow *row,
                      SnapshotRow *snapshot, json_t **failure, Error *error) {
    _cleanup_close_ int cancel_fd = operation_join_cancel(operation, op_lock_abort_fd(lock), error);
    int client_fd = operation->cancel_fd, r;
    if (cancel_fd < 0)
        return cancel_fd;
    operation->cancel_fd = cancel_fd;
    r = boot_cache_open(home, operation, row, snapshot, failure, error);
    operation->cancel_fd = client_fd;
    if (r == -ECANCELED && op_lock_aborted(lock))
        return error_set(error, ERROR_CANCELLED, ECANCELED, "it was killed while it started");
    return r;
}

int vm_start_first(Home *home, Operation *operation, OpLock *lock, VmRow *row, Error *error) {
    _cleanup_snapshot_row_ SnapshotRow snapshot = {0};
    _cleanup_error_ Error trouble = ERROR_INIT;
    _cleanup_json_ json_t *failure = NULL;
    int r = admission_check_ports(&row->spec, &row->spec.forwards, error);
    if (r < 0)
        return error_add_context(error, "cannot start %s", row->name);
    r = open_cache(home, operation, lock, row, &snapshot, &failure, &trouble);
    if (r < 0) {
        vm_record_failure(home, row, &trouble);
        (void)error_move(error, &trouble);
        return error_add_context(error, "cannot start %s", row->name);
    }
    if (r > 0) {
        r = start_cached(home, operation, lock, row, &snapshot, error);
        snapshot_unpin(home, snapshot.id);
        return r;
    }
    r = vm_start_locked(home, operation, lock, row, error);
    return r < 0 ? r : note_fallback(home, row, failure, error);
}

/* --- run ---------------------------------------------------------------------------------------
 */

typedef struct Run {
    Home *home;           /* borrowed */
    Operation *operation; /* borrowed */
    CreateKind kind;
    VmRow planned;        /* owned */
    SnapshotRow snapshot; /* owned; pinned when `cached` */
    bool cached;
    json_t *failure; /* owned: of a way that was tried first */
    OpLock *lock;    /* owned */
    VmRow row;       /* owned */
} Run;

static void run_free(Run *run) {
    if (run->cached) {
        snapshot_unpin(run->home, run->snapshot.id);
        if (!*run->row.snapshot)
            lineage_collect(run->home);
    }
    (void)op_unlock(run->lock);
    vm_row_free(&run->planned);
    vm_row_free(&run->row);
    snapshot_row_free(&run->snapshot);
    json_decref(run->failure);
}

static int make_and_start(Run *run, Error *error) {
    _cleanup_error_ Error undo = ERROR_INIT;
    VmRow *planned = &run->planned;
    int r;
    if (run->cached) {
        (void)snprintf(planned->snapshot, sizeof(planned->snapshot), "%s", run->snapshot.id);
        take_base(planned, &run->snapshot);
        vm_disks_stand_on(planned, run->snapshot.layer, &run->snapshot.data.disks);
    }
    r = vm_create_planned(run->home, run->operation, planned, run->kind, &run->lock, &run->row,
                          error);
    if (r < 0)
        return r;
    if (run->cached)
        r = start_forked(run->home, run->operation, run->lock, &run->row, &run->snapshot, error);
    else
        r = vm_start_locked(run->home, run->operation, run->lock, &run->row, error);
    if (r >= 0)
        r = note_fallback(run->home, &run->row, run->failure, error);
    if (r < 0 && vm_remove_locked(run->home, &run->row, &undo) < 0)
        log_warning("cannot undo the run of %s: %s", run->row.name, error_message(&undo));
    return r;
}

/* 1: done; 0: there was none, or it failed and that was told. */
static int claim(Run *run, Error *error) {
    _cleanup_error_ Error undo = ERROR_INIT;
    int r = pool_claim(run->home, run->operation, &run->snapshot, &run->planned, &run->lock,
                       &run->row, &run->failure, error);
    if (r <= 0)
        return r;
    r = vm_become_running(run->home, &run->row, error);
    if (r < 0 && vm_remove_locked(run->home, &run->row, &undo) < 0)
        log_warning("cannot undo the run of %s: %s", run->row.name, error_message(&undo));
    return r < 0 ? r : 1;
}

static int run_it(Run *run, const VmSpec *spec, Error *error) {
    int r = vm_plan_row(run->home, run->operation, spec, run->kind, &run->planned, error);
    if (r >= 0)
        r = boot_cache_open(run->home, run->operation, &run->planned, &run->snapshot, &run->failure,
                            error);
    if (r < 0)
        return r;
    run->cached = r > 0;
    r = run->cached ? claim(run, error) : 0;
    return r != 0 ? MIN_OF(r, 0) : make_and_start(run, error);
}

int vm_run(Home *home, Operation *operation, const VmSpec *spec, bool attached, json_t **vm,
           Error *error) {
    _cleanup_(run_free) Run run = {
        .home = home, .operation = operation, .kind = attached ? CREATE_FOR_CLIENT : CREATE_TO_RUN};
    _cleanup_config_disk_ Home *held = config_disk_hold(home, spec->config_disk);
    int r;
    operation_enter(operation, "plan");
    r = run_it(&run, spec, error);
    if (r >= 0 && !run.row.remove && run.cached)
        home_sync_later(home);
    if (r >= 0)
        r = vm_answer(home, &run.row, vm, error);
    if (run.cached)
        home_pools_changed(home);
    return r;
}
