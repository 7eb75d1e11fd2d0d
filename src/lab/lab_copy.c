/* SPDX-License-Identifier: Apache-2.0 */

/* A copy's row is `creating`, which nobody sees, until all of it is there; a daemon that dies
 * before leaves that row, and the next one removes all that is of it (lab_remove.c). */

#include "lab/lab_copy.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "home/inside.h"
#include "home/row.h"
#include "lab/lab_lock.h"
#include "lab/lab_remove.h"
#include "machine/clone.h"
#include "machine/create.h"
#include "network/network.h"
#include "pool/pool_claim.h"
#include "pool/pool_clone.h"
#include "run/nice.h"
#include "run/restore.h"
#include "run/watcher.h"
#include "store/store.h"

void lab_copy_init(Home *home, const FrozenLab *frozen, const SnapshotRow *snapshots,
                   const char *name, const char *snapshot, LabCopy *copy) {
    _cleanup_free_ char *id = random_hex(16);
    *copy = (LabCopy){.home = home, .frozen = frozen, .snapshots = snapshots};
    copy->lab = (LabRow){.state = LAB_CREATING,
                         .created_at_usec = clock_realtime_usec(),
                         .description = json_deep_copy(frozen->description)};
    str_set(copy->lab.id, id);
    str_set(copy->lab.name, name);
    str_set(copy->lab.snapshot, snapshot);
    copy->vms = calloc(frozen->n_vms + 1, sizeof(*copy->vms));
    if (!copy->vms)
        abort();
}

static void release_locks(LabCopy *copy) {
    for (size_t i = 0; i < copy->frozen->n_vms; i++)
        copy->vms[i].lock = op_unlock(copy->vms[i].lock);
}

void lab_copy_free(LabCopy *copy) {
    network_holds_end(&copy->holds);
    for (size_t i = 0; copy->vms && i < copy->frozen->n_vms; i++) {
        vm_row_free(&copy->vms[i].planned);
        vm_row_free(&copy->vms[i].row);
        error_clear(&copy->vms[i].error);
    }
    if (copy->vms)
        release_locks(copy);
    free(copy->vms);
    copy->lock = op_unlock(copy->lock);
    lab_row_free(&copy->lab);
    error_clear(&copy->error);
}

/* ---- its networks ---- */

static void name_in(const LabCopy *copy, const char *name, char full[NAME_SIZE]) {
    (void)snprintf(full, NAME_SIZE, "%.63s/%.63s", copy->lab.name, name);
}

static int make_networks(LabCopy *copy, Error *error) {
    const FrozenLab *frozen = copy->frozen;
    int r = 0;
    for (size_t i = 0; r >= 0 && i < frozen->n_networks; i++) {
        char name[NAME_SIZE];
        name_in(copy, frozen->networks[i].name, name);
        r = network_create_copy(copy->home, &frozen->networks[i], name, copy->lab.id, error);
    }
    return r;
}

/* ---- one that is warm ---- */

/* Its rows, in the order of the frozen VMs. Which ones there are was looked at as it was claimed.
 */
static int read_warm_vms(LabCopy *copy, Error *error) {
    VmRow *rows = NULL;
    size_t count = 0;
    int r = vms_list_of_lab(copy->home->store, copy->lab.id, &rows, &count, error);
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < copy->frozen->n_vms; k++)
            if (str_equal(name_within_lab(rows[i].name), copy->frozen->vms[k].name)) {
                copy->vms[k].row = rows[i];
                rows[i] = (VmRow){0};
            }
    vm_rows_free(rows, count);
    return r;
}

/* 1: it is what this copy becomes; 0: there is none. */
static int claim(LabCopy *copy, Error *error) {
    LabRow row = {0};
    int r = labs_claim_warm(copy->home->store, copy->lab.snapshot,
                            frozen_lab_count_running(copy->frozen), copy->lab.name, &row, error);
    if (r <= 0)
        return r;
    lab_row_free(&copy->lab);
    copy->lab = row;
    copy->claimed = copy->begun = true;
    r = read_warm_vms(copy, error);
    return r < 0 ? r : 1;
}

/* ---- what its VMs will be ---- */

static VmCards cards_in(const LabCopy *copy, const VmCards *frozen) {
    VmCards cards = *frozen;
    for (size_t i = 0; i < cards.count; i++)
        if (vm_network_is_named(frozen->items[i].network))
            name_in(copy, frozen->items[i].network, cards.items[i].network);
    return cards;
}

static void tell_event(void *data, const json_t *event) {
    const LabCopyVm *vm = data;
    const char *name = *vm->row.name ? vm->row.name : vm->planned.name;
    _cleanup_json_ json_t *named = json_copy((json_t *)event);
    (void)json_object_set_new(named, "vm", json_string(name));
    vm->copy->on_event(vm->copy->data, named);
}

static int plan_vm(LabCopy *copy, size_t index, const Operation *operation, Error *error) {
    const FrozenVm *frozen = &copy->frozen->vms[index];
    VmCards cards = cards_in(copy, &frozen->cards);
    const CloneKeep keep = {.lab = copy->lab.id,
                            .hostname = frozen->hostname,
                            .machine_id = frozen->machine_id,
                            .cards = &cards};
    const CloneShape shape = {.keep = &keep};
    LabCopyVm *vm = &copy->vms[index];
    char name[NAME_SIZE];
    name_in(copy, frozen->name, name);
    vm->copy = copy;
    operation_init(&vm->operation, operation->origin_usec, operation->cancel_fd);
    vm->operation.on_event = copy->on_event ? tell_event : NULL;
    vm->operation.data = vm;
    operation_enter(&vm->operation, "plan");
    int r = clone_plan(&copy->snapshots[index], name, &shape, &vm->planned, error);
    if (r < 0)
        return r;
    vm->planned.runtime.impair = frozen->impair;
    if (copy->to_be_warm)
        str_set(vm->planned.runtime.hidden, "pool"); /* so it gets no address yet */
    return 0;
}

/* The networks that hold are found by the cards of its VMs. */
static int hold_networks(LabCopy *copy, Error *error) {
    size_t count = copy->frozen->n_vms;
    VmRow *rows = calloc(count, sizeof(*rows));
    int r;
    if (!rows)
        abort();
    for (size_t i = 0; i < count; i++)
        rows[i].spec.cards = copy->vms[i].planned.spec.cards;
    r = network_holds_begin(copy->home, rows, count, &copy->holds, error);
    free(rows);
    return r;
}

static int make_lab(LabCopy *copy, Error *error) {
    int r = labs_insert(copy->home->store, &copy->lab, error);
    copy->begun = r >= 0;
    return r < 0 ? r : make_networks(copy, error);
}

int lab_copy_begin(LabCopy *copy, const Operation *operation, Error *error) {
    int r = lab_lock(copy->home, copy->lab.name, "being forked", operation->cancel_fd, &copy->lock,
                     error);
    if (r >= 0 && copy->may_claim)
        r = claim(copy, error);
    if (r == 0)
        r = make_lab(copy, error);
    for (size_t i = 0; r >= 0 && i < copy->frozen->n_vms; i++)
        r = plan_vm(copy, i, operation, error);
    return r < 0 ? r : hold_networks(copy, error);
}

/* ---- one VM ---- */

static int restore_vm(LabCopy *copy, size_t index, int cancel_fd, Error *error) {
    LabCopyVm *vm = &copy->vms[index];
    const Restore restore = {.snapshot = &copy->snapshots[index],
                             .boot = "forked",
                             .clone = true,
                             .keep = true,
                             .in_group = true};
    if (copy->to_be_warm)
        return pool_make_warm(copy->home, &vm->operation, restore.snapshot, true, &vm->row, error);
    return clone_restore(copy->home, &vm->operation, &vm->row, &restore, cancel_fd, error);
}

static int claim_vm(LabCopy *copy, size_t index, int cancel_fd, Error *error) {
    LabCopyVm *vm = &copy->vms[index];
    int r = op_lock(copy->home->locks, vm->row.id, "being claimed", cancel_fd, &vm->lock, error);
    return r < 0 ? r
                 : pool_claim_row(copy->home, &vm->operation, &vm->planned, true, &vm->row, error);
}

/* Of a VM that does not run only the row and the disk are made, and a warm copy has none yet. */
static int make_vm(LabCopy *copy, size_t index, int cancel_fd, Error *error) {
    LabCopyVm *vm = &copy->vms[index];
    bool stopped = copy->frozen->vms[index].stopped;
    if (stopped && copy->to_be_warm)
        return 0;
    int r = vm_create_planned(copy->home, &vm->operation, &vm->planned, CREATE_TO_RUN, &vm->lock,
                              &vm->row, error);
    return r < 0 || stopped ? r : restore_vm(copy, index, cancel_fd, error);
}

int lab_copy_vm(LabCopy *copy, size_t index, const Operation *operation, Error *error) {
    LabCopyVm *vm = &copy->vms[index];
    int r = *vm->row.id ? claim_vm(copy, index, operation->cancel_fd, error)
                        : make_vm(copy, index, operation->cancel_fd, error);
    vm->ready = r >= 0;
    return MIN_OF(r, 0);
}

/* ---- all of it ---- */

static int record_vm(const LabCopy *copy, size_t index, Error *error) {
    VmRow *row = &copy->vms[index].row;
    VmState state = copy->frozen->vms[index].stopped ? STATE_STOPPED : STATE_RUNNING;
    return row_write_state(copy->home, row, state, error);
}

/* Those of one that is to be warm are. */
static int record(const LabCopy *copy, Error *error) {
    Store *store = copy->home->store;
    int r = store_begin(store, error);
    if (r < 0)
        return r;
    for (size_t i = 0; r >= 0 && !copy->to_be_warm && i < copy->frozen->n_vms; i++)
        r = record_vm(copy, i, error);
    if (r >= 0)
        r = labs_set_state(store, copy->lab.id, copy->to_be_warm ? LAB_WARM : LAB_READY, error);
    if (r < 0) {
        store_rollback(store);
        return r;
    }
    return store_commit(store, error);
}

/* Their rows are what they shall be already: everybody may know. */
static void announce(const LabCopy *copy) {
    for (size_t i = 0; i < copy->frozen->n_vms; i++) {
        const VmRow *row = &copy->vms[i].row;
        bool runs = row->state == STATE_RUNNING;
        if (runs || row->state == STATE_WARM)
            vm_watch(copy->home, row);
        if (runs)
            vm_set_nice(row, &row->runtime.keeper, NICE_RUNNING);
        if (!copy->to_be_warm)
            row_tell_state(copy->home, row, row->runtime.stages);
    }
    if (!copy->to_be_warm)
        home_event(copy->home, "lab.forked", NULL, copy->lab.name, NULL);
}

int lab_copy_finish(LabCopy *copy, Error *error) {
    network_holds_end(&copy->holds);
    int r = record(copy, error);
    copy->kept = r >= 0;
    if (r >= 0)
        announce(copy);
    return r;
}

void lab_copy_undo(LabCopy *copy) {
    _cleanup_error_ Error error = ERROR_INIT;
    release_locks(copy);
    network_holds_end(&copy->holds);
    if (copy->begun && lab_remove_locked(copy->home, &copy->lab, &error) < 0)
        log_warning("cannot undo the fork of lab %s: %s", copy->lab.name, error_message(&error));
}
