/* SPDX-License-Identifier: Apache-2.0 */

/* Copies of labs' snapshots that are made ahead: a lab's row, its networks with their switches, and
 * its VMs, restored, and paused before any of their programs ran. Nobody waits for them, so their
 * VMs are made one after the other. */

#include "lab/lab_warm.h"

#include "base/digest.h"
#include "base/log.h"
#include "base/str.h"
#include "home/admission.h"
#include "home/inside.h"
#include "lab/lab_copy.h"
#include "lab/lab_freeze.h"
#include "lab/lab_lock.h"
#include "lab/lab_remove.h"
#include "pool/pool_clone.h"
#include "pool/pool_lab.h"
#include "store/lab/lab_snapshots.h"

static int check_room(Home *home, const FrozenLab *lab, Error *error) {
    int r = admission_check_disk(home, error);
    return r < 0 ? r
                 : admission_check_memory(frozen_lab_count_running(lab) * POOL_CLONE_BYTES, error);
}

static int make_copy(LabCopy *copy, const Operation *operation, Error *error) {
    int r = lab_copy_begin(copy, operation, error);
    for (size_t i = 0; r >= 0 && i < copy->frozen->n_vms; i++)
        r = lab_copy_vm(copy, i, operation, error);
    return r < 0 ? r : lab_copy_finish(copy, error);
}

static int make_pinned(Home *home, const LabSnapshotRow *snapshot, const SnapshotRow *snapshots,
                       int cancel_fd, Error *error) {
    _cleanup_free_ char *tail = random_hex(8), *name = str_format("warm-%s", tail);
    Operation operation;
    LabCopy copy;
    operation_init(&operation, 0, cancel_fd);
    lab_copy_init(home, &snapshot->data, snapshots, name, snapshot->id, &copy);
    copy.to_be_warm = true;
    int r = make_copy(&copy, &operation, error);
    if (r < 0)
        lab_copy_undo(&copy);
    lab_copy_free(&copy);
    return r;
}

static int make(Home *home, const LabSnapshotRow *snapshot, int cancel_fd, Error *error) {
    SnapshotRow *snapshots = NULL;
    int r = check_room(home, &snapshot->data, error);
    if (r >= 0)
        r = lab_pin(home, &snapshot->data, error);
    if (r < 0)
        return r;
    r = lab_read_snapshots(home, &snapshot->data, &snapshots, error);
    if (r >= 0)
        r = make_pinned(home, snapshot, snapshots, cancel_fd, error);
    if (snapshots)
        snapshot_rows_free(snapshots, snapshot->data.n_vms);
    lab_unpin(home, &snapshot->data);
    return r;
}

static int remove_taken(Home *home, const LabRow *lab, Error *error) {
    _cleanup_op_lock_ OpLock *lock = NULL;
    int r = lab_lock(home, lab->name, "being removed", -1, &lock, error);
    return r < 0 ? r : lab_remove_locked(home, lab, error);
}

void lab_warm_register(Home *home) {
    static const WarmLabs labs = {.make = make, .remove = remove_taken};
    pool_lab_register(home, &labs);
}
