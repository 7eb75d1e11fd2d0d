/* SPDX-License-Identifier: Apache-2.0 */

/* Snapshots, forks and standby with a scripted keeper: rows, files, what is refused, what is left.
 */

#include "vm/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
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

static int inspect(const char *name, json_t **snapshot, Error *error) {
    Operation op;

    operation_init(&op, 0, -1);
    return snapshot_inspect(home.ramet, &op, name, snapshot, error);
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
    CHECK_INT(inspect("half", NULL, NULL), -ENOENT);
    home_close(&home);
    home_open(&home);
    CHECK_INT(ramet_reconcile(home.ramet), 0);
    CHECK_INT(count_snapshots(), 0);
    check_empty("snapshots");
}

/* --- the digests of a memory base ---
 */

static void get_row(const char *name, SnapshotRow *row) {
    CHECK_INT(snapshots_find(ramet_store(home.ramet), name, row, NULL), 0);
}

static char *memory_path(const char *name) {
    _cleanup_snapshot_row_ SnapshotRow row = {0};

    get_row(name, &row);
    return path_join(home.path, "snapshots", row.id, "memory.base");
}

/* NULL when it is not known. The caller owns it. */
static char *listed_sha256(void) {
    _cleanup_json_ json_t *list = NULL;
    const char *sha256;

    CHECK_INT(snapshot_list(home.ramet, true, &list, NULL), 0);
    sha256 = vm_text(json_object_get(json_array_get(list, 0), "memory"), "sha256");
    return sha256 ? str_copy(sha256) : NULL;
}

/* As it is on a disk that goes bad: the times stay. */
static void flip_bit(const char *name, uint64_t offset) {
    _cleanup_free_ char *path = memory_path(name);
    _cleanup_close_ int fd = -1;
    struct timespec times[2];
    struct stat info;
    uint8_t byte;

    CHECK_INT(chmod(path, 0600), 0);
    fd = open(path, O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0 && fstat(fd, &info) == 0);
    CHECK_INT(fd_pread_full(fd, &byte, 1, offset), 1);
    byte ^= 4;
    CHECK_INT(fd_pwrite_full(fd, &byte, 1, offset), 0);
    times[0] = info.st_atim;
    times[1] = info.st_mtim;
    CHECK_INT(futimens(fd, times), 0);
    CHECK_INT(fchmod(fd, 0444), 0);
}

/* What was read before is no longer at hand. */
static void forget_hot(const char *name) {
    _cleanup_snapshot_row_ SnapshotRow row = {0};

    get_row(name, &row);
    hot_memory_drop(home.ramet, row.id);
}

static bool verifies(const char *name) {
    _cleanup_json_ json_t *report = NULL;
    json_t *check;
    Operation op;
    size_t i;

    operation_init(&op, 0, -1);
    CHECK_INT(snapshot_verify(home.ramet, &op, name, &report, NULL), 0);
    json_array_foreach(json_object_get(report, "checks"), i, check) {
        if (str_equal(vm_text(check, "what"), "memory"))
            return json_is_true(json_object_get(check, "ok"));
    }
    return false;
}

static void check_fork_refused(const char *name) {
    _cleanup_error_ Error error = ERROR_INIT;

    forget_hot(name);
    CHECK(fork_source(name, "ok-bad", 1, &error) < 0);
    CHECK_INT(error.kind, ERROR_CORRUPT);
    CHECK_CONTAINS(error_message(&error), "SHA-256");
    CHECK_INT(count_vms(), 1);
    CHECK(!verifies(name));
}

static void check_fork(const char *name) {
    _cleanup_error_ Error error = ERROR_INIT;

    forget_hot(name);
    must(fork_source(name, "ok-good", 1, &error), &error);
    remove_vm("ok-good");
    CHECK(verifies(name));
}

/* In a page, and in what is a hole. */
static void check_flips_are_refused(const char *name) {
    static const uint64_t offsets[] = {4097, 20 * MIB + 5};

    for (size_t i = 0; i < ARRAY_SIZE(offsets); i++) {
        flip_bit(name, offsets[i]);
        check_fork_refused(name);
        flip_bit(name, offsets[i]);
        check_fork(name);
    }
}

static void *inspect_beside(void *data) {
    CHECK_INT(inspect("s", data, NULL), 0);
    return NULL;
}

/* By two at once; a client that went away gets nothing and stores nothing. */
static void check_sha256_when_asked(void) {
    _cleanup_free_ char *before = listed_sha256(), *after = NULL, *path = memory_path("s");
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC), gone = eventfd(1, EFD_CLOEXEC);
    _cleanup_json_ json_t *one = NULL, *other = NULL;
    _cleanup_error_ Error error = ERROR_INIT;
    char expected[SHA256_HEX_SIZE];
    pthread_t thread;
    Operation op;

    CHECK(!before);
    operation_init(&op, 0, gone);
    CHECK_INT(snapshot_inspect(home.ramet, &op, "s", &one, &error), -ECANCELED);
    CHECK_INT(error.kind, ERROR_CANCELLED);
    CHECK_INT(pthread_create(&thread, NULL, inspect_beside, &other), 0);
    CHECK_INT(inspect("s", &one, NULL), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_INT(sha256_file(fd, expected, NULL), 0);
    CHECK_STR(vm_text(json_object_get(one, "memory"), "sha256"), expected);
    CHECK_STR(vm_text(json_object_get(other, "memory"), "sha256"), expected);
    after = listed_sha256();
    CHECK_STR(after, expected);
}

static void test_memory_digest(void) {
    _cleanup_json_ json_t *left = NULL;
    const json_t *memory;
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_free_ char *none = NULL;

    must(home_run(&home, "ok", false, NULL, &error), &error);
    must(take("ok", "s", NULL, &error), &error);
    check_flips_are_refused("s");
    flip_bit("s", 4097);
    must(inspect("s", &left, &error), &error); /* it can be looked at */
    memory = json_object_get(left, "memory");
    CHECK(json_is_null(json_object_get(memory, "sha256")));
    CHECK_CONTAINS(vm_text(memory, "problem"), "SHA-256");
    none = listed_sha256();
    CHECK(!none);
    flip_bit("s", 4097);
    check_sha256_when_asked();
    check_fork("s");
    remove_vm("ok");
    must(remove_snapshot("s", false, &error), &error);
}

static uint64_t hot_inode(const char *name) {
    _cleanup_snapshot_row_ SnapshotRow row = {0};

    get_row(name, &row);
    return hot_memory_inode(home.ramet, row.id);
}

/* Hot from the start, while a half of the budget is free; the fake's memory has one page. */
static void test_hot_from_the_start(void) {
    uint64_t budget = home.ramet->hot_budget_bytes, inode;
    _cleanup_error_ Error error = ERROR_INIT;

    home.ramet->hot_budget_bytes = 8192;
    must(home_run(&home, "ok", false, NULL, &error), &error);
    must(take("ok", "s", NULL, &error), &error);
    must(take("ok", "later", NULL, &error), &error);
    inode = hot_inode("s");
    CHECK(inode != 0);
    CHECK_INT(hot_inode("later"), 0);
    must(fork_source("s", "ok-f", 1, &error), &error);
    CHECK_INT(hot_inode("s"), inode);
    remove_vm("ok-f");
    must(fork_source("ok", "ok-f", 1, &error), &error); /* of the VM: an automatic one */
    CHECK(home.ramet->hot && home.ramet->hot->next && !home.ramet->hot->next->next);
    remove_vm("ok-f");
    remove_vm("ok");
    must(remove_snapshot("s", false, &error), &error);
    must(remove_snapshot("later", false, &error), &error);
    CHECK(!home.ramet->hot);
    home.ramet->hot_budget_bytes = budget;
}

static void test_standby_is_not_hot(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    Operation op;

    operation_init(&op, 0, -1);
    must(home_run(&home, "ok", false, NULL, &error), &error);
    must(vm_standby(home.ramet, &op, "ok", NULL, &error), &error);
    CHECK(!home.ramet->hot);
    remove_vm("ok");
    check_empty("snapshots");
}

/* Saved by a version that had no tree digests. */
static void test_older_snapshot(void) {
    _cleanup_snapshot_row_ SnapshotRow row = {0};
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_json_ json_t *snapshot = NULL;
    _cleanup_free_ char *sha256 = NULL;

    must(home_run(&home, "ok", false, NULL, &error), &error);
    must(take("ok", "s", NULL, &error), &error);
    must(inspect("s", &snapshot, &error), &error);
    get_row("s", &row);
    CHECK_INT(json_object_del((json_t *)snapshot_file(&row, "memory"), "tree"), 0);
    must(snapshots_update(ramet_store(home.ramet), &row, &error), &error);
    check_flips_are_refused("s");
    sha256 = listed_sha256();
    CHECK_STR(sha256, vm_text(json_object_get(snapshot, "memory"), "sha256"));
    remove_vm("ok");
    must(remove_snapshot("s", false, &error), &error);
}

int main(void) {
    home_make(&home);
    RUN(test_take_and_fork);
    RUN(test_all_or_nothing);
    RUN(test_full_disk);
    RUN(test_standby);
    RUN(test_half_made);
    RUN(test_memory_digest);
    RUN(test_older_snapshot);
    RUN(test_hot_from_the_start);
    RUN(test_standby_is_not_hot);
    home_remove(&home);
    return 0;
}
