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

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "proto/keeper.h"
#include "vm/snapshot_internal.h"
#include "vm/vm.h"

#define CALL_TIMEOUT_USEC (60 * USEC_PER_SEC)

/* --- the disk of a VM in standby ---------------------------------------------------------------
 */

static int open_overlay(Ramet *ramet, const VmRow *row, Error *error) {
    _cleanup_close_ int dir_fd = -1;
    int fd, r = vm_folder_open(ramet, row->id, &dir_fd, error);

    if (r < 0)
        return r;
    fd = openat(dir_fd, vm_disk_file(row), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    return fd < 0 ? error_set_errno(error, errno, "cannot open %s", vm_disk_file(row)) : fd;
}

static int remember_disk(Ramet *ramet, VmRow *row, Error *error) {
    _cleanup_close_ int fd = open_overlay(ramet, row, error);
    json_t *stamp;
    int r = fd < 0 ? fd : stamp_make(fd, &stamp, error);

    if (r >= 0)
        row_set(row, "standby_disk", stamp);
    return r;
}

static int check_disk(Ramet *ramet, const VmRow *row, Error *error) {
    const json_t *stamp = json_object_get(row->runtime, "standby_disk");
    _cleanup_close_ int fd = open_overlay(ramet, row, error);

    if (fd < 0 || !stamp)
        return fd < 0 ? fd : 0;
    if (stamp_check(fd, stamp, "", vm_disk_file(row), error) >= 0)
        return 0;
    error_set(error, ERROR_CORRUPT, EBADMSG, "its disk was written to since it is in standby");
    error_set_hint(error, "ramet stop discards the saved memory, and start boots it anew");
    return -EBADMSG;
}

bool vm_standby_survives(Ramet *ramet, const VmRow *row) {
    return *row_text(row, "standby") && check_disk(ramet, row, NULL) >= 0;
}

/* --- going to standby --------------------------------------------------------------------------
 */

static int call_resume(Ramet *ramet, const VmRow *row, Error *error) {
    _cleanup_json_ json_t *request = json_pack("{s:s}", "op", "resume");

    return vm_call_keeper(ramet, row, request, CALL_TIMEOUT_USEC, -1, error);
}

/* The keeper's own failures let it run on; ours (a full disk) came after it had paused. */
static void go_on(Ramet *ramet, VmRow *row) {
    _cleanup_error_ Error error = ERROR_INIT;

    if (str_equal(row->state, STATE_RUNNING) && call_resume(ramet, row, &error) < 0)
        log_debug("%s: %s", row->name, error_message(&error));
    row_set(row, "standing_by", NULL);
    (void)vms_update(ramet->store, row, NULL);
}

/* What is left of the run; the saved memory counts already. */
static int end_run(Ramet *ramet, VmRow *row, Error *error) {
    int r = vm_end_processes(ramet, row, error);

    if (r >= 0)
        r = remember_disk(ramet, row, error);
    if (r < 0)
        return r;
    row_set_process(row, "keeper", NULL);
    row_set_process(row, "qemu", NULL);
    row_set(row, "memory_snapshot", NULL);
    row_set(row, "memory_owner", NULL);
    return vms_update(ramet->store, row, error);
}

static int enter_standby(Ramet *ramet, VmRow *row, const SnapshotRow *snapshot, Error *error) {
    int r;

    row_set(row, "standby", json_string(snapshot->id));
    row_set(row, "standing_by", NULL);
    r = row_set_state(ramet, row, STATE_STANDBY, NULL, error);
    if (r >= 0)
        r = store_sync(ramet->store, error);
    return r < 0 ? r : end_run(ramet, row, error);
}

static int check_runs(const VmRow *row, Error *error) {
    if (str_equal(row->state, STATE_RUNNING) || str_equal(row->state, STATE_PAUSED))
        return 0;
    return error_set(error, ERROR_CONFLICT, EBUSY, "%s does not run: it is %s", row->name,
                     row->state);
}

static int standby_locked(Ramet *ramet, Operation *operation, VmRow *row, Error *error) {
    const TakeOptions options = {.purpose = PURPOSE_STANDBY, .standby = true};
    _cleanup_snapshot_row_ SnapshotRow snapshot = {0};
    int r;

    row_set(row, "standing_by", json_true());
    r = vms_update(ramet->store, row, error);
    if (r < 0)
        return r;
    r = snapshot_take(ramet, operation, row, &options, &snapshot, error);
    if (r < 0) {
        go_on(ramet, row);
        return error_add_context(error, "cannot put %s into standby", row->name);
    }
    operation_enter(operation, "end");
    r = enter_standby(ramet, row, &snapshot, error);
    snapshot_unpin(ramet, snapshot.id);
    lineage_collect(ramet);
    return r;
}

int vm_standby(Ramet *ramet, Operation *operation, const char *reference, json_t **vm,
               Error *error) {
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_vm_row_ VmRow row = {0};
    int r;

    operation_enter(operation, "plan");
    r = row_lock(ramet, reference, "being put into standby", operation->cancel_fd, &lock, &row,
                 error);
    if (r >= 0)
        r = check_runs(&row, error);
    if (r >= 0)
        r = standby_locked(ramet, operation, &row, error);
    return r < 0 ? r : vm_answer(ramet, &row, vm, error);
}

/* --- coming back -------------------------------------------------------------------------------
 */

static int restore(Ramet *ramet, Operation *operation, OpLock *lock, VmRow *row,
                   const SnapshotRow *snapshot, Error *error) {
    const Restore how = {.snapshot = snapshot, .boot = "restored"};
    _cleanup_close_ int cancel_fd = operation_join_cancel(operation, op_lock_abort_fd(lock), error);
    int r;

    if (cancel_fd < 0)
        return cancel_fd;
    row_set(row, "stages", NULL);
    row_set(row, "error", NULL);
    r = row_set_state(ramet, row, STATE_STARTING, NULL, error);
    return r < 0 ? r : vm_restore(ramet, operation, row, &how, cancel_fd, error);
}

static void record_failure(Ramet *ramet, VmRow *row, const Error *failure) {
    _cleanup_json_ json_t *wrapped = json_from_error(failure);
    json_t *error = json_object_get(wrapped, "error");
    bool again = vm_standby_survives(ramet, row);

    row_set(row, "memory_snapshot", NULL);
    row_set(row, "memory_owner", NULL);
    if (!again) {
        row_set(row, "standby", NULL);
        row_set(row, "standby_disk", NULL);
        row_set(row, "error", json_incref(error));
    }
    (void)row_set_state(ramet, row, again ? STATE_STANDBY : STATE_FAILED, error, NULL);
}

int vm_resume_locked(Ramet *ramet, Operation *operation, OpLock *lock, VmRow *row, Error *error) {
    _cleanup_snapshot_row_ SnapshotRow snapshot = {0};
    _cleanup_error_ Error failure = ERROR_INIT;
    int r;

    if (!str_equal(row->state, STATE_STANDBY))
        return error_set(error, ERROR_CONFLICT, EBUSY, "%s is not in standby: it is %s", row->name,
                         row->state);
    r = check_disk(ramet, row, &failure);
    if (r >= 0)
        r = snapshot_pin(ramet, row_text(row, "standby"), &snapshot, &failure);
    if (r >= 0) {
        r = layer_take_flat(ramet, row, &failure);
        if (r >= 0)
            r = remember_disk(ramet, row, &failure); /* whose header may have changed */
        if (r >= 0)
            r = restore(ramet, operation, lock, row, &snapshot, &failure);
        if (r < 0)
            record_failure(ramet, row, &failure);
        snapshot_unpin(ramet, snapshot.id);
    }
    if (r < 0) {
        (void)error_move(error, &failure);
        return error_add_context(error, "cannot resume %s", row->name);
    }
    row_set(row, "standby", NULL);
    row_set(row, "standby_disk", NULL);
    r = row_set_state(ramet, row, STATE_RUNNING, json_object_get(row->runtime, "stages"), error);
    if (r >= 0)
        vm_watch(ramet, row);
    return r;
}

int vm_resume(Ramet *ramet, Operation *operation, const char *reference, json_t **vm,
              Error *error) {
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_vm_row_ VmRow row = {0};
    int r;

    operation_enter(operation, "plan");
    r = row_lock(ramet, reference, "being resumed", operation->cancel_fd, &lock, &row, error);
    if (r >= 0)
        r = vm_resume_locked(ramet, operation, lock, &row, error);
    return r < 0 ? r : vm_answer(ramet, &row, vm, error);
}

int vm_discard_standby(Ramet *ramet, VmRow *row, Error *error) {
    int r;

    row_set(row, "standby", NULL);
    row_set(row, "standby_disk", NULL);
    r = row_set_state(ramet, row, STATE_STOPPED, NULL, error);
    if (r >= 0)
        lineage_collect(ramet);
    return r;
}

/* --- after a crash -----------------------------------------------------------------------------
 */

/* Is the file that the VM writes to the new overlay? */
static bool has_switched(Ramet *ramet, const VmRow *row, const json_t *status) {
    const json_t *disk = json_array_get(json_object_get(status, "disks"), 0);
    _cleanup_close_ int dir_fd = -1;
    struct stat info;

    if (!status)
        return layer_freezing_has_content(ramet, row);
    if (vm_folder_open(ramet, row->id, &dir_fd, NULL) < 0 ||
        fstatat(dir_fd, layer_freezing_file(row), &info, AT_SYMLINK_NOFOLLOW) < 0)
        return false;
    return json_integer_value(json_object_get(disk, "inode")) == (json_int_t)info.st_ino;
}

int vm_settle_snapshot(Ramet *ramet, VmRow *row, const json_t *status, bool *go_on_paused,
                       Error *error) {
    int r = 0;

    if (*layer_freezing_file(row))
        r = layer_freeze_settle(ramet, row, has_switched(ramet, row, status), error);
    if (json_object_get(row->runtime, "standing_by")) {
        *go_on_paused = status && str_equal(row->state, STATE_RUNNING);
        row_set(row, "standing_by", NULL);
        if (r >= 0)
            r = vms_update(ramet->store, row, error);
    }
    return r;
}

/* A VM in standby whose daemon died before its processes were ended. */
int vm_reconcile_standby(Ramet *ramet, VmRow *row, Error *error) {
    if (row_process(row, "keeper").pid > 0 || row_process(row, "qemu").pid > 0)
        return end_run(ramet, row, error);
    return 0;
}
