/* SPDX-License-Identifier: Apache-2.0 */

/* Snapshots, forks and standby with a scripted keeper: rows, files, what is refused, what is left.
 */

#include "vm/snapshot.h"

#include <errno.h>
#include <unistd.h>

#include "base/path.h"
#include "base/str.h"
#include "check.h"
#include "home.h"
#include "vm/snapshot_internal.h"

static Home home;

static void must(int r, const Error *error) {
    if (r < 0) {
        fprintf(stderr, "failed: %s\n", error_message(error));
        exit(1);
    }
}

static int take(const char *vm, const char *name, json_t **snapshot, Error *error) {
    Operation op;

    operation_init(&op, 0, -1);
    return snapshot_create(home.ramet, &op, vm, name, NULL, snapshot, error);
}

static int fork_source(const char *source, const char *name, unsigned count, Error *error) {
    const ForkOptions options = {.source = source, .name = name, .count = count};
    _cleanup_json_ json_t *answer = NULL;
    Operation op;

    operation_init(&op, 0, -1);
    return vm_fork(home.ramet, &op, &options, &answer, error);
}

static int remove_snapshot(const char *name, bool cascade, Error *error) {
    Operation op;

    operation_init(&op, 0, -1);
    return snapshot_remove(home.ramet, &op, name, cascade, NULL, error);
}

static void remove_vm(const char *name) {
    _cleanup_error_ Error error = ERROR_INIT;
    Operation op;

    operation_init(&op, 0, -1);
    must(vm_remove(home.ramet, &op, name, true, &error), &error);
}

static size_t count_snapshots(void) {
    _cleanup_json_ json_t *list = NULL;

    CHECK_INT(snapshot_list(home.ramet, true, &list, NULL), 0);
    return json_array_size(list);
}

static size_t count_vms(void) {
    _cleanup_json_ json_t *list = NULL;

    CHECK_INT(vm_list(home.ramet, true, &list, NULL), 0);
    return json_array_size(list);
}

/* rmdir(2) fails for a folder that holds anything. */
static void check_empty(const char *name) {
    _cleanup_free_ char *path = path_join(home.path, name);

    CHECK_INT(rmdir(path), 0);
    CHECK_INT(path_make_folders(path, 0700), 0);
}

static void test_take_and_fork(void) {
    _cleanup_error_ Error error = ERROR_INIT;

    must(home_run(&home, "ok", false, NULL, &error), &error);
    must(take("ok", "s", NULL, &error), &error);
    CHECK_INT(take("ok", "s", NULL, &error), -EEXIST);
    must(fork_source("s", "ok-f", 3, &error), &error);
    CHECK_INT(count_vms(), 4);
    CHECK_INT(remove_snapshot("s", false, &error), -EBUSY);
    must(fork_source("ok-f-1", "ok-g", 1, &error), &error);
    CHECK_INT(count_snapshots(), 2);
    remove_vm("ok-g");
    CHECK_INT(count_snapshots(), 1);
    must(remove_snapshot("s", true, &error), &error);
    CHECK_INT(count_vms(), 1);
    remove_vm("ok");
    check_empty("snapshots");
    check_empty("layers");
}

/* One clone that fails takes the others with it. */
static void test_all_or_nothing(void) {
    _cleanup_error_ Error error = ERROR_INIT;

    must(home_run(&home, "ok", false, NULL, &error), &error);
    must(take("ok", "s", NULL, &error), &error);
    CHECK(fork_source("s", "fail", 4, &error) < 0);
    CHECK_INT(count_vms(), 1);
    must(home_create(&home, "taken-2", NULL, &error), &error);
    CHECK_INT(fork_source("s", "taken", 4, &error), -EEXIST);
    CHECK_INT(count_vms(), 2);
    remove_vm("taken-2");
    remove_vm("ok");
    must(remove_snapshot("s", false, &error), &error);
    check_empty("snapshots");
    check_empty("layers");
}

/* The disk was switched already: it stays so, and the VM runs on. */
static void test_full_disk(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_json_ json_t *vm = NULL;

    must(home_run(&home, "full", false, NULL, &error), &error);
    CHECK(take("full", "s", NULL, &error) < 0);
    CHECK_INT(error.kind, ERROR_NO_SPACE);
    CHECK_INT(count_snapshots(), 0);
    check_empty("snapshots");
    must(vm_inspect(home.ramet, "full", &vm, &error), &error);
    CHECK_STR(vm_text(vm, "state"), "running");
    CHECK(str_has_suffix(vm_text(json_object_get(vm, "disk"), "path"), "/disk-1.qcow2"));
    remove_vm("full");
    check_empty("layers");
}

static void test_standby(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_json_ json_t *vm = NULL;
    Operation op;

    operation_init(&op, 0, -1);
    must(home_run(&home, "ok", false, NULL, &error), &error);
    must(vm_standby(home.ramet, &op, "ok", NULL, &error), &error);
    home_close(&home);
    home_open(&home);
    CHECK_INT(ramet_reconcile(home.ramet), 0);
    must(vm_resume(home.ramet, &op, "ok", &vm, &error), &error);
    CHECK_STR(vm_text(vm, "boot"), "restored");
    CHECK_INT(vm_resume(home.ramet, &op, "ok", NULL, &error), -EBUSY);
    must(vm_standby(home.ramet, &op, "ok", NULL, &error), &error);
    must(vm_stop(home.ramet, &op, "ok", 0, NULL, &error), &error);
    CHECK_INT(count_snapshots(), 0);
    remove_vm("ok");
    check_empty("snapshots");
}

/* What a daemon that died in the middle left: a row that nobody saw, and files without a row. */
static void test_half_made(void) {
    _cleanup_free_ char *stray = path_join(home.path, "snapshots", "0123456789abcdef");
    SnapshotRow row = {.id = "00000000000000000000000000000001",
                       .name = "half",
                       .state = SNAPSHOT_CREATING,
                       .vm = "x",
                       .image = "test"};

    CHECK_INT(snapshots_insert(ramet_store(home.ramet), &row, NULL), 0);
    CHECK_INT(path_make_folders(stray, 0700), 0);
    CHECK_INT(snapshot_inspect(home.ramet, "half", NULL, NULL), -ENOENT);
    home_close(&home);
    home_open(&home);
    CHECK_INT(ramet_reconcile(home.ramet), 0);
    CHECK_INT(count_snapshots(), 0);
    check_empty("snapshots");
}

int main(void) {
    home_make(&home);
    RUN(test_take_and_fork);
    RUN(test_all_or_nothing);
    RUN(test_full_disk);
    RUN(test_standby);
    RUN(test_half_made);
    home_remove(&home);
    return 0;
}
