/* SPDX-License-Identifier: Apache-2.0 */

#include "lab/lab_remove.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/parallel.h"
#include "base/str.h"
#include "home/inside.h"
#include "home/op_lock.h"
#include "home/row.h"
#include "lab/lab.h"
#include "lab/lab_lock.h"
#include "machine/remove.h"
#include "machine/stop.h"
#include "network/network.h"
#include "run/run_end.h"
#include "store/networks.h"
#include "store/vms.h"

#define REMOVE_THREADS 8 /* each waits for the end of a QEMU, mostly */

/* ---- its VMs ---- */

typedef struct Removal {
    Home *home;
    VmRow *vms; /* owned */
    size_t count;
    pthread_mutex_t mutex; /* guards what follows */
    size_t next;
    Error failures; /* of all */
} Removal;

static int remove_vm(Home *home, const char *id, Error *error) {
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_vm_row_ VmRow row = {0};
    RunEnd end = RUN_GOES_ON;
    int r;
    op_lock_abort(home->locks, id);
    r = row_lock(home, id, "being removed", -1, &lock, &row, error);
    if (r >= 0 && vm_state_is_active(row.state))
        r = vm_stop_locked(home, &row, "abandon", 0, -1, &end, error);
    if (r < 0 || end == RUN_REMOVED)
        return r;
    return vm_remove_locked(home, &row, error);
}

static const VmRow *next_vm(Removal *removal) {
    const VmRow *vm = NULL;
    (void)pthread_mutex_lock(&removal->mutex);
    if (removal->next < removal->count)
        vm = &removal->vms[removal->next++];
    (void)pthread_mutex_unlock(&removal->mutex);
    return vm;
}

static void note_failure(Removal *removal, Error *failure) {
    (void)pthread_mutex_lock(&removal->mutex);
    error_join(&removal->failures, failure);
    (void)pthread_mutex_unlock(&removal->mutex);
}

static void remove_some(void *data) {
    Removal *removal = data;
    const VmRow *vm;
    while ((vm = next_vm(removal))) {
        _cleanup_error_ Error failure = ERROR_INIT;
        int r = remove_vm(removal->home, vm->id, &failure);
        if (r < 0 && r != -ENOENT) /* it went by itself */
            note_failure(removal, &failure);
    }
}

static void remove_vms(Home *home, const LabRow *lab, Error *failures) {
    Removal removal = {.home = home, .mutex = PTHREAD_MUTEX_INITIALIZER, .failures = ERROR_INIT};
    if (vms_list_of_lab(home->store, lab->id, &removal.vms, &removal.count, &removal.failures) >= 0)
        parallel_run(MIN_OF(removal.count, (size_t)REMOVE_THREADS), remove_some, &removal);
    vm_rows_free(removal.vms, removal.count);
    (void)pthread_mutex_destroy(&removal.mutex);
    if (removal.failures.kind != ERROR_NONE)
        error_join(failures, &removal.failures);
}

/* ---- its networks ---- */

static void remove_networks(Home *home, const LabRow *lab, Error *failures) {
    _cleanup_error_ Error failure = ERROR_INIT;
    NetworkRow *rows = NULL;
    size_t count = 0;
    if (networks_list_of_lab(home->store, lab->id, &rows, &count, &failure) < 0)
        error_join(failures, &failure);
    for (size_t i = 0; i < count; i++) {
        int r = network_remove_with_lab(home, rows[i].name, &failure);
        if (r < 0 && failure.kind != ERROR_NOT_FOUND)
            error_join(failures, &failure);
        error_clear(&failure);
    }
    network_rows_free(rows, count);
}

/* ---- all of it ---- */

/* What fails does not stop the rest, but the lab stays as long as anything of it does. */
int lab_remove_locked(Home *home, const LabRow *lab, Error *error) {
    _cleanup_error_ Error failures = ERROR_INIT, step = ERROR_INIT;
    LabState state = lab_state_is_seen(lab->state) ? LAB_REMOVING : LAB_DISCARDING;
    if (labs_set_state(home->store, lab->id, state, &step) < 0)
        error_join(&failures, &step);
    remove_vms(home, lab, &failures);
    remove_networks(home, lab, &failures);
    if (failures.kind == ERROR_NONE && labs_delete(home->store, lab, &step) < 0)
        error_join(&failures, &step);
    if (failures.kind != ERROR_NONE) {
        (void)error_add_context(&failures, "cannot remove all of lab %s", lab->name);
        return error_move(error, &failures);
    }
    if (lab->state != LAB_WARM)
        home_event(home, "lab.removed", NULL, lab->name, NULL);
    return 0;
}

/* One that is coming up is seen here, too. */
static int find(Home *home, const char *reference, LabRow *lab, Error *error) {
    int r = labs_find(home->store, reference, lab, error);
    LabRow *rows = NULL;
    size_t count = 0;
    if (r != -ENOENT || labs_list(home->store, &rows, &count, NULL) < 0)
        return r;
    for (size_t i = 0; r < 0 && i < count; i++) {
        if (!str_equal(rows[i].name, reference) || rows[i].state == LAB_WARM)
            continue;
        error_clear(error);
        r = labs_get(home->store, rows[i].id, lab, error);
    }
    lab_rows_free(rows, count);
    return r;
}

int lab_down(Home *home, Operation *operation, const char *reference, json_t **removed,
             Error *error) {
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_lab_row_ LabRow lab = {0}, now = {0};
    int r;
    operation_enter(operation, "remove");
    r = find(home, reference, &lab, error);
    if (r < 0)
        return r;
    lab_lock_abort(home, lab.name);
    r = lab_lock(home, lab.name, "being removed", operation->cancel_fd, &lock, error);
    if (r < 0)
        return r;
    if (labs_get(home->store, lab.id, &now, NULL) >= 0) /* else who had the lock removed it */
        r = lab_remove_locked(home, &now, error);
    if (r >= 0 && removed)
        *removed = json_pack("{s:s, s:s}", "id", lab.id, "name", lab.name);
    return r;
}

/* ---- after a crash ---- */

typedef struct HalfMade {
    LabRow lab;   /* owned */
    OpLock *lock; /* owned */
} HalfMade;

static void finish(Home *home, void *data) {
    HalfMade *half = data;
    _cleanup_error_ Error error = ERROR_INIT;
    if (lab_remove_locked(home, &half->lab, &error) < 0)
        log_warning("reconcile: %s", error_message(&error));
    (void)op_unlock(half->lock);
    lab_row_free(&half->lab);
    free(half);
}

static void finish_later(Home *home, LabRow *lab) {
    HalfMade *half = calloc(1, sizeof(*half));
    _cleanup_error_ Error error = ERROR_INIT;
    if (!half)
        abort();
    half->lab = *lab;
    *lab = (LabRow){0};
    log_info("reconcile: removing lab %s, which is %s", half->lab.name,
             lab_state_name(half->lab.state));
    if (lab_lock(home, half->lab.name, "being removed", -1, &half->lock, &error) < 0)
        log_warning("reconcile: %s", error_message(&error));
    if (home_work(home, finish, half) < 0)
        finish(home, half);
}

void labs_reconcile_later(Home *home) {
    _cleanup_error_ Error error = ERROR_INIT;
    LabRow *rows = NULL;
    size_t count = 0;
    if (labs_list(home->store, &rows, &count, &error) < 0)
        log_warning("reconcile: the labs: %s", error_message(&error));
    for (size_t i = 0; i < count; i++)
        if (rows[i].state != LAB_READY && rows[i].state != LAB_WARM)
            finish_later(home, &rows[i]);
    lab_rows_free(rows, count);
}
