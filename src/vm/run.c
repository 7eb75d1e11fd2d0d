/* SPDX-License-Identifier: Apache-2.0 */

/* `run`, and the first start of a VM that was made before: from a pool when a warm clone waits
 * there, else forked from the boot cache, else cold. What happened is the VM's "boot"; a way that
 * failed is told of, and is its "fallback".
 *
 * A VM that has never run has an empty overlay, so the overlay may be replaced by one over another
 * layer: that is done by a rename, before the row says so. Until then both say the same, nothing.
 */

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/log.h"
#include "vm/boot_cache.h"
#include "vm/pool_internal.h"
#include "vm/vm.h"

#define NEW_OVERLAY "disk.new"

/* --- the disk ----------------------------------------------------------------------------------
 */

static int replace_overlay(Ramet *ramet, const VmRow *row, const char *layer, Error *error) {
    uint64_t bytes = (uint64_t)json_integer_value(json_object_get(row->spec, "disk_bytes"));
    _cleanup_close_ int dir_fd = -1;
    int r = vm_folder_open(ramet, row->id, &dir_fd, error);

    if (r < 0)
        return r;
    if (unlinkat(dir_fd, NEW_OVERLAY, 0) < 0 && errno != ENOENT)
        return error_set_errno(error, errno, "cannot remove an old %s", NEW_OVERLAY);
    r = layer_make_overlay(ramet, row, dir_fd, NEW_OVERLAY, layer, row_text(row, "base"), bytes,
                           false, error);
    if (r >= 0 && renameat(dir_fd, NEW_OVERLAY, dir_fd, vm_disk_file(row)) < 0)
        r = error_set_errno(error, errno, "cannot name the new overlay");
    return r;
}

/* Lets a VM without content of its own stand on a snapshot; NULL: on its image. */
static int stand_on(Ramet *ramet, VmRow *row, const SnapshotRow *snapshot, Error *error) {
    const char *layer = snapshot ? snapshot->layer : "";
    int r = replace_overlay(ramet, row, layer, error);

    if (r < 0)
        return r;
    row_set(row, "layer", *layer ? json_string(layer) : NULL);
    (void)snprintf(row->snapshot, sizeof(row->snapshot), "%s", snapshot ? snapshot->id : "");
    r = vms_update(ramet->store, row, error);
    return r < 0 ? r : vms_set_snapshot(ramet->store, row->id, row->snapshot, error);
}

/* --- forking -----------------------------------------------------------------------------------
 */

static int restore(Ramet *ramet, Operation *operation, OpLock *lock, VmRow *row,
                   const SnapshotRow *snapshot, Error *error) {
    const Restore how = {.snapshot = snapshot, .boot = "forked", .clone = true};
    _cleanup_close_ int cancel_fd = operation_join_cancel(operation, op_lock_abort_fd(lock), error);
    int r;

    if (cancel_fd < 0)
        return cancel_fd;
    row_clear_run(row);
    r = row_set_state(ramet, row, STATE_STARTING, NULL, error);
    if (r >= 0)
        r = vm_restore(ramet, operation, row, &how, cancel_fd, error);
    if (r == -ECANCELED && op_lock_aborted(lock))
        return error_set(error, ERROR_CANCELLED, ECANCELED, "it was killed while it started");
    return r;
}

static int become_running(Ramet *ramet, VmRow *row, Error *error) {
    int r =
        row_set_state(ramet, row, STATE_RUNNING, json_object_get(row->runtime, "stages"), error);

    if (r >= 0)
        vm_watch(ramet, row);
    return r;
}

/* The entry is given up, the VM boots cold, and says so. */
static int fall_back(Ramet *ramet, Operation *operation, OpLock *lock, VmRow *row,
                     const SnapshotRow *snapshot, const Error *trouble, Error *error) {
    json_t *failure =
        boot_cache_tell(ramet, operation, row, "it could not be restored; booting cold", trouble);
    int r;

    boot_cache_discard(ramet, snapshot);
    (void)snprintf(row->state, sizeof(row->state), STATE_CREATED);
    row_clear_run(row);
    operation_enter(operation, "overlay");
    r = stand_on(ramet, row, NULL, error);
    if (r >= 0)
        r = vm_start_locked(ramet, operation, lock, row, error);
    row_set(row, "fallback", failure);
    if (r >= 0)
        r = vms_update(ramet->store, row, error);
    return r;
}

/* The VM stands on the snapshot already. */
static int start_forked(Ramet *ramet, Operation *operation, OpLock *lock, VmRow *row,
                        const SnapshotRow *snapshot, Error *error) {
    _cleanup_error_ Error trouble = ERROR_INIT;
    int r = restore(ramet, operation, lock, row, snapshot, &trouble);

    if (r >= 0)
        return become_running(ramet, row, error);
    if (boot_cache_may_fall_back(&trouble))
        return fall_back(ramet, operation, lock, row, snapshot, &trouble, error);
    vm_record_failure(ramet, row, &trouble);
    (void)error_move(error, &trouble);
    return error_add_context(error, "cannot start %s", row->name);
}

/* --- a VM that was made before -----------------------------------------------------------------
 */

static int start_cached(Ramet *ramet, Operation *operation, OpLock *lock, VmRow *row,
                        const SnapshotRow *snapshot, Error *error) {
    int r;

    operation_enter(operation, "overlay");
    r = stand_on(ramet, row, snapshot, error);
    return r < 0 ? r : start_forked(ramet, operation, lock, row, snapshot, error);
}

static int note_fallback(Ramet *ramet, VmRow *row, json_t *failure, Error *error) {
    if (!failure)
        return 0;
    row_set(row, "fallback", json_incref(failure));
    return vms_update(ramet->store, row, error);
}

/* As boot_cache_open, and ended by a kill of the VM, too. */
static int open_cache(Ramet *ramet, Operation *operation, OpLock *lock, VmRow *row,
                      SnapshotRow *snapshot, json_t **failure, Error *error) {
    _cleanup_close_ int cancel_fd = operation_join_cancel(operation, op_lock_abort_fd(lock), error);
    int client_fd = operation->cancel_fd, r;

    if (cancel_fd < 0)
        return cancel_fd;
    operation->cancel_fd = cancel_fd;
    r = boot_cache_open(ramet, operation, row, snapshot, failure, error);
    operation->cancel_fd = client_fd;
    if (r == -ECANCELED && op_lock_aborted(lock))
        return error_set(error, ERROR_CANCELLED, ECANCELED, "it was killed while it started");
    return r;
}

int vm_start_first(Ramet *ramet, Operation *operation, OpLock *lock, VmRow *row, Error *error) {
    _cleanup_snapshot_row_ SnapshotRow snapshot = {0};
    _cleanup_error_ Error trouble = ERROR_INIT;
    _cleanup_json_ json_t *failure = NULL;
    int r = admission_check_ports(json_object_get(row->spec, "forwards"), error);

    if (r < 0)
        return error_add_context(error, "cannot start %s", row->name);
    r = open_cache(ramet, operation, lock, row, &snapshot, &failure, &trouble);
    if (r < 0) {
        vm_record_failure(ramet, row, &trouble);
        (void)error_move(error, &trouble);
        return error_add_context(error, "cannot start %s", row->name);
    }
    if (r > 0) {
        r = start_cached(ramet, operation, lock, row, &snapshot, error);
        snapshot_unpin(ramet, snapshot.id);
        return r;
    }
    r = vm_start_locked(ramet, operation, lock, row, error);
    return r < 0 ? r : note_fallback(ramet, row, failure, error);
}

/* --- run ---------------------------------------------------------------------------------------
 */

typedef struct Run {
    Ramet *ramet;         /* borrowed */
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
        snapshot_unpin(run->ramet, run->snapshot.id);
        if (!*run->row.snapshot)
            lineage_collect(run->ramet);
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
        row_set(planned, "layer", *run->snapshot.layer ? json_string(run->snapshot.layer) : NULL);
    }
    r = vm_make_planned(run->ramet, run->operation, planned, run->kind, &run->lock, &run->row,
                        error);
    if (r < 0)
        return r;
    if (run->cached)
        r = start_forked(run->ramet, run->operation, run->lock, &run->row, &run->snapshot, error);
    else
        r = vm_start_locked(run->ramet, run->operation, run->lock, &run->row, error);
    if (r >= 0)
        r = note_fallback(run->ramet, &run->row, run->failure, error);
    if (r < 0 && vm_remove_locked(run->ramet, &run->row, &undo) < 0)
        log_warning("cannot undo the run of %s: %s", run->row.name, error_message(&undo));
    return r;
}

/* 1: done; 0: there was none, or it failed and that was told. */
static int claim(Run *run, Error *error) {
    _cleanup_error_ Error undo = ERROR_INIT;
    int r = pool_claim(run->ramet, run->operation, &run->snapshot, &run->planned, &run->lock,
                       &run->row, &run->failure, error);

    if (r <= 0)
        return r;
    r = become_running(run->ramet, &run->row, error);
    if (r < 0 && vm_remove_locked(run->ramet, &run->row, &undo) < 0)
        log_warning("cannot undo the run of %s: %s", run->row.name, error_message(&undo));
    return r < 0 ? r : 1;
}

static int run_it(Run *run, const VmSpec *spec, Error *error) {
    int r = vm_plan_row(run->ramet, run->operation, spec, run->kind, &run->planned, error);

    if (r >= 0)
        r = boot_cache_open(run->ramet, run->operation, &run->planned, &run->snapshot,
                            &run->failure, error);
    if (r < 0)
        return r;
    run->cached = r > 0;
    r = run->cached ? claim(run, error) : 0;
    return r != 0 ? MIN_OF(r, 0) : make_and_start(run, error);
}

int vm_run(Ramet *ramet, Operation *operation, const VmSpec *spec, bool attached, json_t **vm,
           Error *error) {
    _cleanup_(run_free) Run run = {.ramet = ramet,
                                   .operation = operation,
                                   .kind = attached ? CREATE_FOR_CLIENT : CREATE_TO_RUN};
    int r;

    operation_enter(operation, "plan");
    r = run_it(&run, spec, error);
    if (r >= 0 && !run.row.remove && run.cached)
        vm_sync_later(ramet);
    if (r >= 0)
        r = vm_answer(ramet, &run.row, vm, error);
    if (run.cached)
        pools_kick(ramet);
    return r;
}
