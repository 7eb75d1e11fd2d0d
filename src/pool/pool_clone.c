/* SPDX-License-Identifier: Apache-2.0 */

/* The clones of pools: making one, removing one, counting them.
 *
 * A clone is made as a fork is, but it stays nobody: row `creating` → its keeper restores it, waits
 * for the agent and pauses it → row `warm`, and watched. Nobody waits for it, so it has a low
 * priority until then (launch.c). */

#include "pool/pool_clone.h"

#include <errno.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/str.h"
#include "home/admission.h"
#include "home/home.h"
#include "home/inside.h"
#include "home/op_lock.h"
#include "home/operation.h"
#include "home/row.h"
#include "machine/clone.h"
#include "machine/create.h"
#include "machine/look/describe.h"
#include "machine/remove.h"
#include "run/launch.h"
#include "run/restore.h"
#include "run/watcher.h"
#include "store/snapshots.h"
#include "store/vms.h"

/* ---- making a clone ---- */

static int become_warm(Home *home, VmRow *row, Error *error) {
    uint64_t bytes = POOL_CLONE_BYTES;
    (void)row_private_bytes(row, &bytes);
    row->runtime.warm_bytes = bytes;
    row->remove = true; /* a clone that ends is of no use to anybody */
    row->state = STATE_WARM;
    return vms_update(home->store, row, error);
}

int pool_make_warm(Home *home, Operation *operation, const SnapshotRow *snapshot, bool keep,
                   VmRow *row, Error *error) {
    const Restore how = {.snapshot = snapshot,
                         .boot = "claimed",
                         .clone = true,
                         .keep = keep,
                         .paused = true,
                         .background = true};
    bool silent;
    int r;
    r = vm_launch_from(home, operation, row, &how, operation->cancel_fd, &silent, error);
    return r < 0 ? r : become_warm(home, row, error);
}

int pool_make_clone(Home *home, const SnapshotRow *snapshot, int cancel_fd, Error *error) {
    _cleanup_free_ char *id = random_hex(8), *name = str_format("warm-%s", id);
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_vm_row_ VmRow planned = {0}, row = {0};
    Operation operation;
    int r = admission_check_disk(home, error);
    if (r >= 0)
        r = admission_check_memory(POOL_CLONE_BYTES, error);
    if (r < 0)
        return r;
    operation_init(&operation, 0, cancel_fd);
    operation_enter(&operation, "plan");
    r = clone_plan(snapshot, name, NULL, &planned, error);
    str_set(planned.runtime.hidden, "pool"); /* so it gets no address yet */
    if (r >= 0)
        r = vm_create_planned(home, &operation, &planned, CREATE_TO_RUN, &lock, &row, error);
    if (r < 0)
        return r;
    r = pool_make_warm(home, &operation, snapshot, false, &row, error);
    if (r < 0) {
        (void)vm_remove_locked(home, &row, NULL);
        return r;
    }
    vm_watch(home, &row);
    return 0;
}

int pool_remove_clone(Home *home, const char *id, int cancel_fd, Error *error) {
    _cleanup_error_ Error failure = ERROR_INIT;
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_vm_row_ VmRow row = {0};
    int r = row_lock(home, id, "being removed", cancel_fd, &lock, &row, &failure);
    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return error_move(error, &failure);
    if (!str_equal(row.runtime.hidden, "pool") || row.state == STATE_CREATING)
        return 0; /* it was claimed meanwhile */
    return vm_remove_locked(home, &row, error);
}

/* ---- looking at clones ---- */

void clones_free(Clones *clones) {
    vm_rows_free(clones->rows, clones->count);
}

bool clone_is_warm(const VmRow *row, const char *snapshot) {
    return row->state == STATE_WARM && !*row->lab && str_equal(row->snapshot, snapshot);
}

uint64_t clones_count(const Clones *clones, const char *snapshot) {
    uint64_t n = 0;
    for (size_t i = 0; i < clones->count; i++)
        n += clone_is_warm(&clones->rows[i], snapshot);
    return n;
}

uint64_t clones_sum_bytes(const Clones *clones) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < clones->count; i++)
        if (clones->rows[i].state == STATE_WARM)
            bytes += clones->rows[i].runtime.warm_bytes;
    return bytes;
}

int pool_trim(Home *home, const char *snapshot, uint64_t keep, int cancel_fd, Error *error) {
    _cleanup_(clones_free) Clones clones = {0};
    uint64_t warm;
    int r = vms_list(home->store, &clones.rows, &clones.count, error);
    if (r < 0)
        return r;
    warm = clones_count(&clones, snapshot);
    for (size_t i = clones.count; r >= 0 && i-- > 0 && warm > keep;)
        if (clone_is_warm(&clones.rows[i], snapshot)) {
            r = pool_remove_clone(home, clones.rows[i].id, cancel_fd, error);
            warm--;
        }
    return r;
}
