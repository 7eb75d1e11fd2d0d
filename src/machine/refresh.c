/* SPDX-License-Identifier: Apache-2.0 */

/* Acting on what a look at a VM's keeper found. */

#include "machine/refresh.h"
#include "machine/program.h"

#include <errno.h>
#include <pthread.h>

#include "base/log.h"
#include "base/str.h"
#include "home/home.h"
#include "home/inside.h"
#include "home/op_lock.h"
#include "home/operation.h"
#include "home/row.h"
#include "lineage/lineage.h"
#include "machine/remove.h"
#include "machine/start.h"
#include "run/keeper_status.h"
#include "run/run_end.h"
#include "store/vms.h"

int vm_finish_run(Home *home, VmRow *row, RunEnd *end, Error *error) {
    bool hidden = *row->runtime.hidden != '\0', remove;
    int r = 0;
    if (*end == RUN_GOES_ON)
        return 0;
    remove = (row->remove || row->runtime.half_run) && row->state != STATE_STANDBY;
    if (hidden || (remove && *end == RUN_ENDED)) {
        r = vm_remove_locked(home, row, error);
        *end = r < 0 ? RUN_ENDED : RUN_REMOVED;
    } else {
        lineage_collect(home);
    }
    if (hidden)
        home_pools_changed(home);
    return r;
}

int vm_refresh_locked(Home *home, VmRow *row, RunEnd *end, Error *error) {
    int r = run_refresh(home, row, end, error);
    return r < 0 ? r : vm_finish_run(home, row, end, error);
}

int vm_start_after_reboot(Home *home, OpLock *lock, VmRow *row, Error *error) {
    _cleanup_error_ Error undo = ERROR_INIT;
    Operation operation;
    int r;
    operation_init(&operation, 0, -1);
    operation_enter(&operation, "plan");
    r = vm_start_locked(home, &operation, lock, row, error);
    if (r >= 0 && program_start(home, row, &undo) < 0)
        log_warning("%s: %s", row->name, error_message(&undo));
    if (r < 0 && row->remove && vm_remove_locked(home, row, &undo) < 0)
        log_warning("cannot remove %s: %s", row->name, error_message(&undo));
    return r;
}

void vm_refresh(Home *home, const char *id) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_vm_row_ VmRow row = {0};
    RunEnd end = RUN_GOES_ON;
    int r;
    /* What is not looked at before the daemon ends is looked at when the next one starts. */
    r = row_lock(home, id, "being looked at", home->closing_fd, &lock, &row, &error);
    if (r >= 0)
        r = vm_refresh_locked(home, &row, &end, &error);
    if (r >= 0 && end == RUN_REBOOTS && !home_is_closing(home))
        r = vm_start_after_reboot(home, lock, &row, &error);
    if (r < 0 && r != -ENOENT && r != -ECANCELED)
        log_warning("cannot refresh VM %s: %s", id, error_message(&error));
}

typedef struct Refreshing {
    char id[VM_ID_SIZE];
    struct Refreshing *next;
} Refreshing;

static void unlink_refreshing(Home *home, const Refreshing *refreshing) {
    Refreshing **link = &home->refreshing;
    (void)pthread_mutex_lock(&home->mutex);
    while (*link && *link != refreshing)
        link = &(*link)->next;
    if (*link)
        *link = refreshing->next;
    (void)pthread_mutex_unlock(&home->mutex);
}

static void refresh(Home *home, void *data) {
    Refreshing *refreshing = data;
    unlink_refreshing(home, refreshing); /* from here on another change needs another look */
    vm_refresh(home, refreshing->id);
    free(refreshing);
}

/* NULL: one is on its way already. */
static Refreshing *link_refreshing(Home *home, const char *id) {
    Refreshing *refreshing;
    (void)pthread_mutex_lock(&home->mutex);
    for (refreshing = home->refreshing; refreshing; refreshing = refreshing->next)
        if (str_equal(refreshing->id, id))
            break;
    if (refreshing) {
        (void)pthread_mutex_unlock(&home->mutex);
        return NULL;
    }
    refreshing = calloc(1, sizeof(*refreshing));
    if (!refreshing)
        abort();
    (void)snprintf(refreshing->id, sizeof(refreshing->id), "%s", id);
    refreshing->next = home->refreshing;
    home->refreshing = refreshing;
    (void)pthread_mutex_unlock(&home->mutex);
    return refreshing;
}

void vm_refresh_later(Home *home, const char *id) {
    Refreshing *refreshing = link_refreshing(home, id);
    if (!refreshing || home_work(home, refresh, refreshing) >= 0)
        return;
    log_error("nobody looks at VM %s", id);
    unlink_refreshing(home, refreshing);
    free(refreshing);
}
