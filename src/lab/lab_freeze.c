/* SPDX-License-Identifier: Apache-2.0 */

#include "lab/lab_freeze.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/path.h"
#include "base/str.h"
#include "frozen/pins.h"
#include "home/inside.h"
#include "home/op_lock.h"
#include "home/row.h"
#include "lab/lab_lock.h"
#include "lineage/lineage.h"
#include "machine/snapshot/snapshot_create.h"
#include "machine/snapshot/snapshot_group.h"
#include "store/networks.h"
#include "store/snapshots.h"
#include "store/vms.h"

/* ---- what is frozen ---- */

typedef struct HeldVm {
    OpLock *lock; /* owned */
} HeldVm;

/* All of a lab, and nobody else changes it. */
typedef struct Held {
    LabRow lab;   /* owned */
    OpLock *lock; /* owned */
    size_t n_networks, n_vms, n_running;
    NetworkRow *networks; /* owned */
    VmRow *vms;           /* owned; those that run come first */
    HeldVm *held;         /* owned: as many */
} Held;

static void held_free(Held *held) {
    for (size_t i = 0; held->held && i < held->n_vms; i++)
        (void)op_unlock(held->held[i].lock);
    free(held->held);
    vm_rows_free(held->vms, held->n_vms);
    network_rows_free(held->networks, held->n_networks);
    (void)op_unlock(held->lock);
    lab_row_free(&held->lab);
}

static int hold_lab(Home *home, const Operation *operation, const char *reference, Held *held,
                    Error *error) {
    _cleanup_lab_row_ LabRow found = {0};
    int r = labs_find(home->store, reference, &found, error);
    if (r >= 0)
        r = lab_lock(home, found.name, "being saved", operation->cancel_fd, &held->lock, error);
    if (r >= 0)
        r = labs_get(home->store, found.id, &held->lab, error);
    if (r >= 0 && held->lab.state != LAB_READY)
        r = error_set(error, ERROR_CONFLICT, EBUSY, "it is half removed; ramet lab down %s",
                      found.name);
    return r;
}

/* As they are once their locks are ours. */
static int hold_vm(Home *home, const Operation *operation, Held *held, size_t index, Error *error) {
    VmRow now = {0};
    int r = row_lock(home, held->vms[index].id, "being saved", operation->cancel_fd,
                     &held->held[index].lock, &now, error);
    if (r < 0)
        return r;
    vm_row_free(&held->vms[index]);
    held->vms[index] = now;
    return 0;
}

/* One that is stopped is stopped in copies, too. What stands still in another way is neither. */
static int check_state(const VmRow *vm, Error *error) {
    static const VmState fit[] = {STATE_RUNNING, STATE_STOPPED, STATE_CREATED, STATE_FAILED};
    for (size_t i = 0; i < ARRAY_SIZE(fit); i++)
        if (vm->state == fit[i])
            return 0;
    error_set(error, ERROR_CONFLICT, EBUSY, "%s is %s, and each VM must either run or be stopped",
              vm->name, vm_state_name(vm->state));
    if (vm->state == STATE_PAUSED || vm->state == STATE_STANDBY)
        error_set_hint(error, "ramet %s %s", vm->state == STATE_PAUSED ? "unpause" : "resume",
                       vm->name);
    return -EBUSY;
}

static void swap(Held *held, size_t a, size_t b) {
    VmRow vm = held->vms[a];
    HeldVm lock = held->held[a];
    held->vms[a] = held->vms[b];
    held->held[a] = held->held[b];
    held->vms[b] = vm;
    held->held[b] = lock;
}

static int sort(Held *held, Error *error) {
    int r = 0;
    for (size_t i = 0; r >= 0 && i < held->n_vms; i++) {
        r = check_state(&held->vms[i], error);
        if (held->vms[i].state == STATE_RUNNING)
            swap(held, i, held->n_running++);
    }
    return r;
}

static int hold_all(Home *home, const Operation *operation, const char *reference, Held *held,
                    Error *error) {
    int r = hold_lab(home, operation, reference, held, error);
    if (r >= 0)
        r = networks_list_of_lab(home->store, held->lab.id, &held->networks, &held->n_networks,
                                 error);
    if (r >= 0)
        r = vms_list_of_lab(home->store, held->lab.id, &held->vms, &held->n_vms, error);
    if (r < 0)
        return r;
    held->held = calloc(held->n_vms + 1, sizeof(*held->held));
    if (!held->held)
        abort();
    for (size_t i = 0; r >= 0 && i < held->n_vms; i++)
        r = hold_vm(home, operation, held, i, error);
    return r < 0 ? r : sort(held, error);
}

/* ---- what is kept of it ---- */

static void note_network(const NetworkRow *row, NetworkRow *network) {
    _cleanup_json_ json_t *data = network_data_to_json(&row->data);
    *network = (NetworkRow){.created_at_usec = row->created_at_usec};
    str_set(network->id, row->id);
    str_set(network->name, name_within_lab(row->name));
    network_data_from_json(data, &network->data);
    network->data.process = (ProcessIdentity){0};
    network->data.uid = 0;
}

/* A card as it was asked for, and with the address that it got. */
static void note_card(const VmRow *row, size_t index, VmCard *card) {
    const char *network = row->spec.cards.items[index].network;
    VmAddress address = vm_address(row, index);
    *card = (VmCard){.network = ""};
    str_set(card->network, name_within_lab(network));
    if (!vm_network_is_named(network))
        return;
    str_set(card->ip, address.ip);
    str_set(card->mac, address.mac);
}

static void note_vm(const VmRow *row, const SnapshotRow *snapshot, FrozenVm *vm) {
    const char *machine_id = *row->runtime.machine_id ? row->runtime.machine_id : row->id;
    *vm = (FrozenVm){.impair = row->runtime.impair, .stopped = row->state != STATE_RUNNING};
    str_set(vm->name, name_within_lab(row->name));
    str_set(vm->snapshot, snapshot->id);
    str_set(vm->hostname, row->runtime.hostname);
    str_set(vm->machine_id, machine_id);
    vm->cards.count = row->spec.cards.count;
    for (size_t i = 0; i < vm->cards.count; i++)
        note_card(row, i, &vm->cards.items[i]);
}

static void note_lab(const Held *held, const SnapshotRow *snapshots,
                     const SnapshotGroupTimes *times, LabSnapshotRow *row) {
    _cleanup_free_ char *id = random_hex(16);
    FrozenLab *lab = &row->data;
    *row = (LabSnapshotRow){.created_at_usec = clock_realtime_usec()};
    str_set(row->id, id);
    str_set(row->lab, held->lab.name);
    str_set(row->lab_id, held->lab.id);
    frozen_lab_make_room(lab, held->n_networks, held->n_vms);
    lab->description = json_deep_copy(held->lab.description);
    lab->spread_us = times->spread_us;
    lab->held_us = times->held_us;
    for (size_t i = 0; i < held->n_networks; i++)
        note_network(&held->networks[i], &lab->networks[lab->n_networks++]);
    for (size_t i = 0; i < held->n_vms; i++)
        note_vm(&held->vms[i], &snapshots[i], &lab->vms[lab->n_vms++]);
}

/* ---- freezing ---- */

/* Of those that do not run only the disks, which nobody writes to. */
static int freeze_stopped(Home *home, const Operation *operation, Held *held,
                          const SnapshotOptions *options, SnapshotRow *rows, Error *error) {
    int r = 0;
    for (size_t i = held->n_running; r >= 0 && i < held->n_vms; i++) {
        Operation own;
        operation_init(&own, operation->origin_usec, -1);
        r = snapshot_create_locked(home, &own, &held->vms[i], options, &rows[i], error);
    }
    return r;
}

static void drop_stopped(Home *home, const Held *held, const SnapshotRow *rows) {
    for (size_t i = held->n_running; i < held->n_vms; i++)
        if (*rows[i].id)
            snapshot_unpin(home, rows[i].id);
    lineage_collect(home);
}

static int freeze_all(Home *home, Operation *operation, Held *held, const SnapshotOptions *options,
                      SnapshotRow *rows, SnapshotGroupTimes *times, Error *error) {
    int r = freeze_stopped(home, operation, held, options, rows, error);
    if (r >= 0 && held->n_running > 0)
        r = snapshot_group_create(home, operation, held->vms, held->n_running, options->purpose,
                                  options->clone_volumes, rows, times, error);
    if (r < 0)
        drop_stopped(home, held, rows);
    return r;
}

int lab_freeze(Home *home, Operation *operation, const char *reference, const char *purpose,
               bool clone_volumes, LabSnapshotRow *row, Error *error) {
    const SnapshotOptions options = {.purpose = purpose, .clone_volumes = clone_volumes};
    _cleanup_(held_free) Held held = {.lock = NULL};
    SnapshotGroupTimes times = {0};
    int r = hold_all(home, operation, reference, &held, error);
    if (r < 0)
        return r;
    SnapshotRow *snapshots = calloc(held.n_vms + 1, sizeof(*snapshots));
    if (!snapshots)
        abort();
    r = freeze_all(home, operation, &held, &options, snapshots, &times, error);
    if (r >= 0)
        note_lab(&held, snapshots, &times, row);
    snapshot_rows_free(snapshots, held.n_vms);
    return r;
}

/* ---- pins ---- */

static void unpin(Home *home, const FrozenLab *lab, size_t count) {
    for (size_t i = 0; i < count; i++)
        snapshot_unpin(home, lab->vms[i].snapshot);
}

int lab_pin(Home *home, const FrozenLab *lab, Error *error) {
    for (size_t i = 0; i < lab->n_vms; i++) {
        _cleanup_snapshot_row_ SnapshotRow row = {0};
        int r = snapshot_pin(home, lab->vms[i].snapshot, &row, error);
        if (r >= 0)
            continue;
        unpin(home, lab, i);
        return r;
    }
    return 0;
}

void lab_unpin(Home *home, const FrozenLab *lab) {
    unpin(home, lab, lab->n_vms);
}

void lab_drop(Home *home, const FrozenLab *lab) {
    lab_unpin(home, lab);
    lineage_collect(home);
}

int lab_read_snapshots(Home *home, const FrozenLab *lab, SnapshotRow **rows, Error *error) {
    SnapshotRow *found = calloc(lab->n_vms + 1, sizeof(*found));
    int r = 0;
    if (!found)
        abort();
    for (size_t i = 0; r >= 0 && i < lab->n_vms; i++)
        r = snapshots_get(home->store, lab->vms[i].snapshot, &found[i], error);
    if (r < 0)
        snapshot_rows_free(found, lab->n_vms);
    else
        *rows = found;
    return r;
}
