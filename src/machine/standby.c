/* SPDX-License-Identifier: Apache-2.0 */

/* Standby: a VM whose memory is a snapshot of its own and that has no process; it keeps name,
 * address and disk.
 *
 *   running ─ row says `standing_by` ─ snapshot, VM stays paused ─ row `standby` ─ end the
 * processes
 *
 * Until the row says `standby` the VM is running or paused: after a crash the next daemon lets it
 * go on. From then on the saved memory counts, and whatever process is left is ended.
 *
 * The saved memory fits only the disk as it was. The overlay's stamp is kept, and a VM whose disk
 * was written to since is not resumed; a resume that fails before the guest wrote anything leaves
 * the VM in standby. */

#include "machine/standby.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "frozen/disks.h"
#include "frozen/layers.h"
#include "frozen/pins.h"
#include "frozen/snapshot_files.h"
#include "home/admission.h"
#include "home/home.h"
#include "home/inside.h"
#include "home/op_lock.h"
#include "home/operation.h"
#include "home/policy.h"
#include "home/row.h"
#include "lineage/lineage.h"
#include "machine/clone.h"
#include "machine/look/describe.h"
#include "machine/machine.h"
#include "machine/snapshot/snapshot_create.h"
#include "machine/start.h"
#include "network/sleep.h"
#include "run/keeper_call.h"
#include "run/restore.h"
#include "run/run_end.h"
#include "store/snapshots.h"
#include "store/store.h"
#include "store/vms.h"

#define CALL_TIMEOUT_USEC (60 * USEC_PER_SEC)

/* ---- going to standby ---- */

static int call_resume(Home *home, const VmRow *row, Error *error) {
    _cleanup_json_ json_t *request = json_pack("{s:s}", "op", "resume");
    return vm_call_keeper(home, row, request, CALL_TIMEOUT_USEC, -1, error);
}

/* The keeper's own failures let it run on; ours (a full disk) came after it had paused. */
static void go_on(Home *home, VmRow *row) {
    _cleanup_error_ Error error = ERROR_INIT;
    if (row->state == STATE_RUNNING && call_resume(home, row, &error) < 0)
        log_debug("%s: %s", row->name, error_message(&error));
    row->runtime.standing_by = false;
    (void)vms_update(home->store, row, NULL);
}

/* What is left of the run; the saved memory counts already. */
static int end_run(Home *home, VmRow *row, Error *error) {
    int r = run_end_processes(home, row, error);
    if (r >= 0)
        r = standby_disks_remember(home, row, error);
    if (r < 0)
        return r;
    row_clear_processes(row);
    return vms_update(home->store, row, error);
}

static int enter_standby(Home *home, VmRow *row, const SnapshotRow *snapshot, Error *error) {
    int r;
    str_set(row->runtime.standby, snapshot->id);
    row->runtime.standing_by = false;
    r = row_set_state(home, row, STATE_STANDBY, NULL, error);
    if (r >= 0)
        r = store_sync(home->store, error);
    return r < 0 ? r : end_run(home, row, error);
}

static int check_runs(const VmRow *row, Error *error) {
    if (row->state == STATE_RUNNING || row->state == STATE_PAUSED)
        return 0;
    (void)error_set(error, ERROR_CONFLICT, EBUSY, "%s does not run: it is %s", row->name,
                    vm_state_name(row->state));
    return vm_state_hint(row->state, row->name, error);
}

static int standby_locked(Home *home, Operation *operation, VmRow *row, Error *error) {
    const SnapshotOptions options = {.purpose = PURPOSE_STANDBY, .standby = true};
    _cleanup_snapshot_row_ SnapshotRow snapshot = {0};
    int r;
    row->runtime.standing_by = true;
    r = vms_update(home->store, row, error);
    if (r < 0)
        return r;
    r = snapshot_create_locked(home, operation, row, &options, &snapshot, error);
    if (r < 0) {
        go_on(home, row);
        return error_add_context(error, "cannot put %s into standby", row->name);
    }
    operation_enter(operation, "end");
    r = enter_standby(home, row, &snapshot, error);
    snapshot_unpin(home, snapshot.id);
    lineage_collect(home);
    return r;
}

/* ---- by itself ---- */

static int mark_standing_by(Home *home, VmRow *row, bool standing_by, Error *error) {
    row->runtime.standing_by = row->runtime.timers.dozing = standing_by;
    return vms_update(home->store, row, error);
}

static void wake_at_once(Home *home, VmRow *row) {
    (void)mark_standing_by(home, row, false, NULL);
    network_open_doors(home, row);
}

int vm_doze_locked(Home *home, Operation *operation, VmRow *row, StillIdle still_idle,
                   Error *error) {
    int r;
    if (row->state != STATE_RUNNING)
        return 0;
    r = mark_standing_by(home, row, true, error);
    if (r < 0)
        return r;
    network_shut_doors(home, row);
    if (!still_idle(home, row)) {
        wake_at_once(home, row);
        return 0;
    }
    home_event(home, "vm.idle", row->id, row->name, NULL);
    r = standby_locked(home, operation, row, error);
    if (r < 0 && row->state == STATE_RUNNING)
        wake_at_once(home, row);
    else if (r >= 0)
        network_shut_doors(home, row); /* of a port that QEMU had until now, too */
    return r;
}

/* ---- asked for ---- */

int vm_standby(Home *home, Operation *operation, const char *reference, json_t **vm, Error *error) {
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_vm_row_ VmRow row = {0};
    int r;
    operation_enter(operation, "plan");
    r = row_lock(home, reference, "being put into standby", operation->cancel_fd, &lock, &row,
                 error);
    if (r >= 0)
        r = check_runs(&row, error);
    if (r >= 0)
        r = standby_locked(home, operation, &row, error);
    return r < 0 ? r : vm_answer(home, &row, vm, error);
}

/* ---- coming back ---- */

static int restore(Home *home, Operation *operation, OpLock *lock, VmRow *row,
                   const SnapshotRow *snapshot, Error *error) {
    const Restore how = {.snapshot = snapshot, .boot = "restored"};
    _cleanup_close_ int cancel_fd = operation_join_cancel(operation, op_lock_abort_fd(lock), error);
    int r;
    if (cancel_fd < 0)
        return cancel_fd;
    json_replace(&row->runtime.stages, NULL);
    json_replace(&row->runtime.error, NULL);
    r = row_set_state(home, row, STATE_STARTING, NULL, error);
    return r < 0 ? r : clone_restore(home, operation, row, &how, cancel_fd, error);
}

static void record_failure(Home *home, VmRow *row, const Error *failure) {
    _cleanup_json_ json_t *wrapped = json_from_error(failure);
    json_t *error = json_object_get(wrapped, "error");
    bool again = standby_disks_are_unchanged(home, row);
    row->runtime.memory_snapshot[0] = '\0';
    row->runtime.memory_owner[0] = '\0';
    if (!again) {
        row->runtime.standby[0] = '\0';
        standby_disks_forget(row);
        network_close_doors(home, row);
        row->runtime.timers.dozing = false;
        json_replace(&row->runtime.error, json_incref(error));
    }
    (void)row_set_state(home, row, again ? STATE_STANDBY : STATE_FAILED, error, NULL);
}

int vm_resume_locked(Home *home, Operation *operation, OpLock *lock, VmRow *row, Error *error) {
    _cleanup_snapshot_row_ SnapshotRow snapshot = {0};
    _cleanup_error_ Error failure = ERROR_INIT;
    int r;
    if (row->state != STATE_STANDBY) {
        (void)error_set(error, ERROR_CONFLICT, EBUSY, "%s is not in standby: it is %s", row->name,
                        vm_state_name(row->state));
        return vm_state_hint(row->state, row->name, error);
    }
    r = row->runtime.timers.dozing ? 0 /* its doors have them */
                                   : admission_check_ports(&row->spec, &row->spec.forwards, error);
    if (r < 0)
        return error_add_context(error, "cannot resume %s", row->name);
    r = standby_disks_check(home, row, &failure);
    if (r >= 0)
        r = snapshot_pin(home, row->runtime.standby, &snapshot, &failure);
    if (r >= 0) {
        r = layer_use_flattened(home, row, &failure);
        if (r >= 0)
            r = standby_disks_remember(home, row, &failure); /* whose header may have changed */
        if (r >= 0)
            r = restore(home, operation, lock, row, &snapshot, &failure);
        if (r < 0)
            record_failure(home, row, &failure);
        snapshot_unpin(home, snapshot.id);
    }
    if (r < 0) {
        (void)error_move(error, &failure);
        return error_add_context(error, "cannot resume %s", row->name);
    }
    row->runtime.standby[0] = '\0';
    standby_disks_forget(row);
    if (row->runtime.timers.dozing)
        network_open_doors(home, row);
    return vm_become_running(home, row, error);
}

int vm_resume(Home *home, Operation *operation, const char *reference, json_t **vm, Error *error) {
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_vm_row_ VmRow row = {0};
    int r;
    operation_enter(operation, "plan");
    r = row_lock(home, reference, "being resumed", operation->cancel_fd, &lock, &row, error);
    if (r >= 0)
        r = vm_resume_locked(home, operation, lock, &row, error);
    return r < 0 ? r : vm_answer(home, &row, vm, error);
}

int vm_discard_standby(Home *home, VmRow *row, Error *error) {
    int r;
    row->runtime.standby[0] = '\0';
    standby_disks_forget(row);
    network_close_doors(home, row);
    policy_begin(row);
    row->runtime.timers.dozing = false;
    r = row_set_state(home, row, STATE_STOPPED, NULL, error);
    if (r >= 0)
        lineage_collect(home);
    return r;
}

/* ---- after a crash ---- */

/* A VM in standby whose daemon died before its processes were ended. */
int vm_reconcile_standby(Home *home, VmRow *row, Error *error) {
    if (row->runtime.keeper.pid > 0 || row->runtime.qemu.pid > 0)
        return end_run(home, row, error);
    return 0;
}
