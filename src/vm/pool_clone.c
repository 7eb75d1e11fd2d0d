/* SPDX-License-Identifier: Apache-2.0 */

/* The clones of pools: making one, removing one, counting them.
 *
 * A clone is made as a fork is, but it stays nobody: row `creating` → its keeper restores it, waits
 * for the agent and pauses it → row `warm`, and watched. Nobody waits for it, so it has a low
 * priority until then (launch.c). */

#include <errno.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/log.h"
#include "vm/pool_internal.h"

/* --- making a clone ----------------------------------------------------------------------------
 */

static int become_warm(Ramet *ramet, VmRow *row, Error *error) {
    uint64_t bytes = POOL_CLONE_BYTES;

    (void)row_private_bytes(row, &bytes);
    row_set(row, "warm_bytes", json_integer((json_int_t)bytes));
    row->remove = true; /* a clone that ends is of no use to anybody */
    (void)snprintf(row->state, sizeof(row->state), STATE_WARM);
    return vms_update(ramet->store, row, error);
}

static int make_warm(Ramet *ramet, Operation *operation, const SnapshotRow *snapshot, VmRow *row,
                     Error *error) {
    const Restore how = {
        .snapshot = snapshot, .boot = "claimed", .clone = true, .paused = true, .background = true};
    bool silent;
    int r;

    row_set(row, "hidden", json_string("pool"));
    r = vm_launch_from(ramet, operation, row, &how, operation->cancel_fd, &silent, error);
    return r < 0 ? r : become_warm(ramet, row, error);
}

int pool_make_clone(Ramet *ramet, const SnapshotRow *snapshot, int cancel_fd, Error *error) {
    _cleanup_free_ char *id = random_hex(8), *name = str_format("warm-%s", id);
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_vm_row_ VmRow row = {0};
    Operation operation;
    int r = admission_check_disk(ramet, error);

    if (r >= 0)
        r = admission_check_memory(POOL_CLONE_BYTES, error);
    if (r < 0)
        return r;
    operation_init(&operation, 0, cancel_fd);
    operation_enter(&operation, "plan");
    r = vm_grow(ramet, &operation, snapshot, name, 0, &lock, &row, error);
    if (r < 0)
        return r;
    r = make_warm(ramet, &operation, snapshot, &row, error);
    if (r < 0) {
        (void)vm_remove_locked(ramet, &row, NULL);
        return r;
    }
    vm_watch(ramet, &row);
    return 0;
}

int pool_remove_clone(Ramet *ramet, const char *id, int cancel_fd, Error *error) {
    _cleanup_error_ Error failure = ERROR_INIT;
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_vm_row_ VmRow row = {0};
    int r = row_lock(ramet, id, "being removed", cancel_fd, &lock, &row, &failure);

    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return error_move(error, &failure);
    if (!str_equal(row_text(&row, "hidden"), "pool") || str_equal(row.state, STATE_CREATING))
        return 0; /* it was claimed meanwhile */
    return vm_remove_locked(ramet, &row, error);
}

/* --- looking at clones -------------------------------------------------------------------------
 */

void clones_free(Clones *clones) {
    vm_rows_free(clones->rows, clones->count);
}

static bool is_warm(const VmRow *row, const char *snapshot) {
    return str_equal(row->state, STATE_WARM) && str_equal(row->snapshot, snapshot);
}

uint64_t clones_count(const Clones *clones, const char *snapshot) {
    uint64_t n = 0;

    for (size_t i = 0; i < clones->count; i++)
        n += is_warm(&clones->rows[i], snapshot);
    return n;
}

uint64_t clones_sum_bytes(const Clones *clones) {
    uint64_t bytes = 0;

    for (size_t i = 0; i < clones->count; i++)
        if (str_equal(clones->rows[i].state, STATE_WARM))
            bytes += row_u64(&clones->rows[i], "warm_bytes");
    return bytes;
}

int pool_trim(Ramet *ramet, const char *snapshot, uint64_t keep, int cancel_fd, Error *error) {
    _cleanup_(clones_free) Clones clones = {0};
    uint64_t warm;
    int r = vms_list(ramet->store, &clones.rows, &clones.count, error);

    if (r < 0)
        return r;
    warm = clones_count(&clones, snapshot);
    for (size_t i = clones.count; r >= 0 && i-- > 0 && warm > keep;)
        if (is_warm(&clones.rows[i], snapshot)) {
            r = pool_remove_clone(ramet, clones.rows[i].id, cancel_fd, error);
            warm--;
        }
    return r;
}
