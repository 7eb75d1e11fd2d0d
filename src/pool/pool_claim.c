/* SPDX-License-Identifier: Apache-2.0 */

/* Claiming a warm clone.
 *
 * One statement in the store takes the oldest warm row of the snapshot and makes it `creating`
 * under its new name, so that no two requests get the same one and a crash from here on leaves
 * nothing. Then its keeper is told the identity and lets it go on. Nothing is spawned, synced or
 * made on this way: the clone has its folder, overlay, user and address already.
 *
 * A clone that cannot be claimed is removed; the request goes on without it and says so. One whose
 * lock did not come, since somebody looks at it and the client did not wait, goes back to its pool.
 */

#include "pool/pool_claim.h"

#include <errno.h>

#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "frozen/network_device.h"
#include "home/home.h"
#include "home/inside.h"
#include "home/op_lock.h"
#include "home/operation.h"
#include "home/row.h"
#include "machine/remove.h"
#include "network/attach.h"
#include "network/lease.h"
#include "pool/boot_cache.h"
#include "run/launch.h"
#include "run/watcher.h"
#include "store/snapshots.h"
#include "store/vms.h"

static bool same_user(const VmCards *then, const VmCards *now) {
    bool same = true;
    for (size_t i = 0; i < then->count && i < now->count; i++)
        same &=
            str_equal(then->items[i].network, "user") == str_equal(now->items[i].network, "user");
    return same;
}

/* Warm clones have the disk and the limits of their snapshot, and its kinds of networks: one with a
 * name is as good as another, but who is on user is plugged in already. */
static bool same_shape(const SnapshotRow *snapshot, const VmRow *planned) {
    char then[NETWORK_DEVICE_SIZE], now[NETWORK_DEVICE_SIZE];
    network_device_of(&snapshot->data.spec, then);
    network_device_of(&planned->spec, now);
    const VmLimits *limits = &snapshot->data.spec.limits;
    if (!vm_limits_are_none(limits) && !vm_limits_equal(limits, &planned->spec.limits))
        return false; /* it has them already, and they cannot all be taken off */
    return snapshot->data.spec.disk_bytes == planned->spec.disk_bytes && str_equal(then, now) &&
           same_user(&snapshot->data.spec.cards, &planned->spec.cards) &&
           vm_mounts_equal(&snapshot->data.spec.mounts, &planned->spec.mounts);
}

/* It is what was planned, but for what it was born with: id, MAC, user, folder. */
static void adopt_plan(VmRow *row, const VmRow *planned) {
    vm_spec_free(&row->spec);
    vm_spec_copy(&planned->spec, &row->spec);
    str_set(row->lab, planned->lab);
    str_set(row->runtime.machine_id, planned->runtime.machine_id);
    row->runtime.impair = planned->runtime.impair;
    row->remove = planned->remove;
    row->attached = planned->attached;
    row->runtime.hidden[0] = '\0';
    row->runtime.warm_bytes = 0;
    str_set(row->runtime.hostname, planned->runtime.hostname);
    row->runtime.half_run = planned->runtime.half_run;
}

/* It has no address until now. */
static int lease(Home *home, VmRow *row, Error *error) {
    int r = store_begin(home->store, error);
    if (r < 0)
        return r;
    r = network_lease(home->store, row, error);
    if (r >= 0)
        r = vms_update(home->store, row, error);
    if (r < 0) {
        store_rollback(home->store);
        return r;
    }
    return store_commit(home->store, error);
}

static void give_up(Home *home, VmRow *row) {
    _cleanup_error_ Error error = ERROR_INIT;
    if (vm_remove_locked(home, row, &error) < 0)
        log_warning("cannot remove the clone %s: %s", row->name, error_message(&error));
}

int pool_claim_row(Home *home, Operation *operation, const VmRow *planned, bool keep, VmRow *row,
                   Error *error) {
    adopt_plan(row, planned);
    int r = network_has_ports(row) ? lease(home, row, error) : 0;
    return r < 0 ? r : vm_claim(home, operation, row, keep, operation->cancel_fd, error);
}

static int claim_locked(Home *home, Operation *operation, const VmRow *planned, VmRow *row,
                        json_t **failure, Error *error) {
    _cleanup_error_ Error trouble = ERROR_INIT;
    if (pool_claim_row(home, operation, planned, false, row, &trouble) >= 0)
        return 1;
    give_up(home, row);
    if (!boot_cache_may_fall_back(&trouble)) {
        (void)error_move(error, &trouble);
        return error_add_context(error, "cannot start %s", row->name);
    }
    json_decref(*failure);
    *failure = row_tell_fallback(home, operation, row, "a warm clone could not be claimed; forking",
                                 &trouble);
    return 0;
}

/* Nothing was done to it yet. Whoever has its lock may have passed it over, as one that was
 * claimed, so it is looked at once more. */
static void give_back(Home *home, const VmRow *row) {
    _cleanup_error_ Error error = ERROR_INIT;
    if (vms_release_warm(home->store, row->id, &error) < 0)
        log_warning("cannot give the clone %s back: %s", row->id, error_message(&error));
    watcher_changed(home, row->id);
    home_pools_changed(home);
}

int pool_claim(Home *home, Operation *operation, const SnapshotRow *snapshot, const VmRow *planned,
               OpLock **lock, VmRow *row, json_t **failure, Error *error) {
    _cleanup_op_lock_ OpLock *taken = NULL;
    _cleanup_vm_row_ VmRow found = {0};
    int r;
    if (!same_shape(snapshot, planned))
        return 0;
    r = vms_claim_warm(home->store, snapshot->id, planned->name, planned->image, &found, error);
    if (r <= 0)
        return r;
    r = op_lock(home->locks, found.id, "being claimed", operation->cancel_fd, &taken, error);
    if (r < 0) {
        give_back(home, &found);
        return error_add_context(error, "cannot start %s", planned->name);
    }
    r = claim_locked(home, operation, planned, &found, failure, error);
    if (r <= 0)
        return r;
    *row = found;
    found = (VmRow){0};
    *lock = TAKE_PTR(taken);
    return 1;
}
