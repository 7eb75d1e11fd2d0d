/* SPDX-License-Identifier: Apache-2.0 */

/* Several VMs saved at one moment, with a scripted keeper: all or none. */

#include "machine/snapshot/snapshot_group.h"

#include <errno.h>

#include "base/str.h"
#include "frozen/pins.h"
#include "home/inside.h"
#include "home/op_lock.h"
#include "home/row.h"
#include "lineage/lineage.h"
#include "machine/machine.h"
#include "verbs/verbs.h"

#include "check.h"
#include "test_home.h"

#define VMS 3

static TestHome home;

typedef struct Taken {
    VmRow vms[VMS];
    OpLock *locks[VMS];
    SnapshotRow rows[VMS];
    SnapshotGroupTimes times;
    Error error;
    int result;
} Taken;

static void must(int r, const Error *error) {
    if (r < 0) {
        fprintf(stderr, "failed: %s\n", error_message(error));
        exit(1);
    }
}

static void run_all(const char *const *names) {
    for (size_t i = 0; i < VMS; i++) {
        _cleanup_error_ Error error = ERROR_INIT;
        must(test_home_run(&home, names[i], false, NULL, &error), &error);
    }
}

static void remove_all(const char *const *names) {
    for (size_t i = 0; i < VMS; i++) {
        _cleanup_error_ Error error = ERROR_INIT;
        Operation operation;
        operation_init(&operation, 0, -1);
        must(vm_remove(home.opened, &operation, names[i], true, NULL, &error), &error);
    }
}

static void take(const char *const *names, Taken *taken) {
    Operation operation;
    *taken = (Taken){.error = ERROR_INIT};
    operation_init(&operation, 0, -1);
    for (size_t i = 0; i < VMS; i++)
        must(row_lock(home.opened, names[i], "being saved", -1, &taken->locks[i], &taken->vms[i],
                      &taken->error),
             &taken->error);
    taken->result = snapshot_group_create(home.opened, &operation, taken->vms, VMS, "lab", false,
                                          taken->rows, &taken->times, &taken->error);
}

static void taken_free(Taken *taken) {
    for (size_t i = 0; i < VMS; i++) {
        (void)op_unlock(taken->locks[i]);
        vm_row_free(&taken->vms[i]);
        snapshot_row_free(&taken->rows[i]);
    }
    error_clear(&taken->error);
}

static size_t count_snapshots(void) {
    SnapshotRow *rows = NULL;
    size_t count = 0;
    CHECK_INT(snapshots_list(home.opened->store, &rows, &count, NULL), 0);
    snapshot_rows_free(rows, count);
    return count;
}

/* Pinned until somebody needs them, and then gone. */
static void test_all(void) {
    static const char *const names[VMS] = {"ok-a", "ok-b", "ok-c"};
    Taken taken;
    run_all(names);
    take(names, &taken);
    must(taken.result, &taken.error);
    CHECK_INT(count_snapshots(), VMS);
    CHECK(taken.times.held_us >= taken.times.spread_us);
    for (size_t i = 0; i < VMS; i++) {
        CHECK_STR(taken.rows[i].vm, names[i]);
        CHECK_STR(taken.rows[i].purpose, "lab");
        CHECK(snapshot_is_pinned(home.opened, taken.rows[i].id));
        snapshot_unpin(home.opened, taken.rows[i].id);
    }
    taken_free(&taken);
    lineage_collect(home.opened);
    CHECK_INT(count_snapshots(), 0);
    remove_all(names);
}

/* The last one fails: its own reason is told, nothing stays, and the others run on. */
static void check_fails(const char *last, const char *message) {
    const char *const names[VMS] = {"ok-a", "ok-b", last};
    Taken taken;
    run_all(names);
    take(names, &taken);
    CHECK(taken.result < 0);
    CHECK_CONTAINS(error_message(&taken.error), message);
    taken_free(&taken);
    CHECK_INT(count_snapshots(), 0);
    for (size_t i = 0; i + 1 < VMS; i++)
        test_home_await(&home, names[i], "running");
    remove_all(names);
}

static void test_one_fails(void) {
    check_fails("alone", "its agent does not freeze");
    check_fails("lost", "keeper is gone");
    check_fails("full", "no space left");
}

static void test_one_does_not_run(void) {
    static const char *const names[VMS] = {"ok-a", "ok-b", "ok-c"};
    _cleanup_error_ Error error = ERROR_INIT;
    Operation operation;
    Taken taken;
    operation_init(&operation, 0, -1);
    run_all(names);
    must(vm_pause(home.opened, &operation, "ok-b", NULL, &error), &error);
    take(names, &taken);
    CHECK_INT(taken.error.kind, ERROR_CONFLICT);
    CHECK_CONTAINS(error_message(&taken.error), "ok-b is paused");
    taken_free(&taken);
    remove_all(names);
}

int main(void) {
    test_home_make(&home);
    RUN(test_all);
    RUN(test_one_fails);
    RUN(test_one_does_not_run);
    test_home_remove(&home);
    return 0;
}
