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

#include <errno.h>

#include "base/log.h"
#include "vm/boot_cache.h"
#include "vm/pool_internal.h"

static bool same_disk(const SnapshotRow *snapshot, const VmRow *planned) {
    const json_t *spec = json_object_get(snapshot->data, "spec");

    return json_equal(json_object_get(spec, "disk_bytes"),
                      json_object_get(planned->spec, "disk_bytes"));
}

/* It is what was planned, but for what it was born with: id, MAC, user, folder. */
static void take_over(VmRow *row, const VmRow *planned) {
    static const char *const keys[] = {"hostname", "half_run"};

    json_decref(row->spec);
    row->spec = json_deep_copy(planned->spec);
    row->remove = planned->remove;
    row->attached = planned->attached;
    row_set(row, "hidden", NULL);
    row_set(row, "warm_bytes", NULL);
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        json_t *value = json_object_get(planned->runtime, keys[i]);

        row_set(row, keys[i], value ? json_incref(value) : NULL);
    }
}

static void give_up(Ramet *ramet, VmRow *row) {
    _cleanup_error_ Error error = ERROR_INIT;

    if (vm_remove_locked(ramet, row, &error) < 0)
        log_warning("cannot remove the clone %s: %s", row->name, error_message(&error));
}

static int claim_locked(Ramet *ramet, Operation *operation, VmRow *row, json_t **failure,
                        Error *error) {
    _cleanup_error_ Error trouble = ERROR_INIT;
    int r = vm_claim(ramet, operation, row, operation->cancel_fd, &trouble);

    if (r >= 0)
        return 1;
    give_up(ramet, row);
    if (!boot_cache_may_fall_back(&trouble)) {
        (void)error_move(error, &trouble);
        return error_add_context(error, "cannot start %s", row->name);
    }
    json_decref(*failure);
    *failure = boot_cache_tell(ramet, operation, row, "a warm clone could not be claimed; forking",
                               &trouble);
    return 0;
}

/* Nothing was done to it yet. Whoever has its lock may have passed it over, as one that was
 * claimed, so it is looked at once more. */
static void give_back(Ramet *ramet, const VmRow *row) {
    _cleanup_error_ Error error = ERROR_INIT;

    if (vms_release_warm(ramet->store, row->id, &error) < 0)
        log_warning("cannot give the clone %s back: %s", row->id, error_message(&error));
    settle_later(ramet, row->id);
    pools_kick(ramet);
}

int pool_claim(Ramet *ramet, Operation *operation, const SnapshotRow *snapshot,
               const VmRow *planned, OpLock **lock, VmRow *row, json_t **failure, Error *error) {
    _cleanup_op_lock_ OpLock *taken = NULL;
    _cleanup_vm_row_ VmRow found = {0};
    int r;

    if (!same_disk(snapshot, planned))
        return 0;
    r = vms_claim_warm(ramet->store, snapshot->id, planned->name, planned->image, &found, error);
    if (r <= 0)
        return r;
    r = op_lock(ramet->locks, found.id, "being claimed", operation->cancel_fd, &taken, error);
    if (r < 0) {
        give_back(ramet, &found);
        return error_add_context(error, "cannot start %s", planned->name);
    }
    take_over(&found, planned);
    r = claim_locked(ramet, operation, &found, failure, error);
    if (r <= 0)
        return r;
    *row = found;
    found = (VmRow){0};
    *lock = TAKE_PTR(taken);
    return 1;
}
