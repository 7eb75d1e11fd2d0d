/* SPDX-License-Identifier: Apache-2.0 */

/* Snapshots, forks and standby with a scripted keeper: rows, files, what is refused, what is left.
 */

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "base/str.h"
#include "frozen/behind.h"
#include "frozen/hot_memory.h"
#include "frozen/hot_of_clone.h"
#include "frozen/memory_digest.h"
#include "frozen/snapshot_files.h"
#include "home/home.h"
#include "home/inside.h"
#include "home/operation.h"
#include "home/spec.h"
#include "lineage/snapshot_describe.h"
#include "machine/machine.h"
#include "store/query.h"
#include "store/snapshots.h"
#include "store/store.h"
#include "usage/df.h"
#include "usage/prune.h"
#include "verbs/reconcile.h"
#include "verbs/verbs.h"

#include "check.h"
#include "test_home.h"

static TestHome home;

static void must(int r, const Error *error) {
    if (r < 0) {
        fprintf(stderr, "failed: %s\n", error_message(error));
        exit(1);
    }
}

static int take(const char *vm, const char *name, json_t **snapshot, Error *error) {
    Operation op;
    operation_init(&op, 0, -1);
    return snapshot_create(home.opened, &op, vm, name, NULL, false, snapshot, error);
}

static int fork_source(const char *source, const char *name, unsigned count, Error *error) {
    const ForkOptions options = {.source = source, .name = name, .count = count};
    _cleanup_json_ json_t *answer = NULL;
    Operation op;
    operation_init(&op, 0, -1);
    return vm_fork(home.opened, &op, &options, &answer, error);
}

static int inspect(const char *name, json_t **snapshot, Error *error) {
    Operation op;
    operation_init(&op, 0, -1);
    return snapshot_inspect(home.opened, &op, name, snapshot, error);
}

static int remove_snapshot(const char *name, bool cascade, Error *error) {
    Operation op;
    operation_init(&op, 0, -1);
    return snapshot_remove(home.opened, &op, name, cascade, NULL, error);
}

static void remove_vm(const char *name) {
    _cleanup_error_ Error error = ERROR_INIT;
    Operation op;
    operation_init(&op, 0, -1);
    must(vm_remove(home.opened, &op, name, true, NULL, &error), &error);
}

static size_t count_snapshots(void) {
    _cleanup_json_ json_t *list = NULL;
    CHECK_INT(snapshot_list(home.opened, true, &list, NULL), 0);
    return json_array_size(list);
}

static size_t count_vms(void) {
    _cleanup_json_ json_t *list = NULL;
    CHECK_INT(vm_list(home.opened, true, NULL, &list, NULL), 0);
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
    must(test_home_run(&home, "ok", false, NULL, &error), &error);
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
    must(test_home_run(&home, "ok", false, NULL, &error), &error);
    must(take("ok", "s", NULL, &error), &error);
    CHECK(fork_source("s", "fail", 4, &error) < 0);
    CHECK_INT(count_vms(), 1);
    must(test_home_create(&home, "taken-2", NULL, &error), &error);
    CHECK_INT(fork_source("s", "taken", 4, &error), -EEXIST);
    CHECK_INT(count_vms(), 2);
    remove_vm("taken-2");
    remove_vm("ok");
    must(remove_snapshot("s", false, &error), &error);
    check_empty("snapshots");
    check_empty("layers");
}

/* A child of this test that has not ended: a keeper, whatever the store knows of it. */
static bool is_keeper(const char *pid) {
    _cleanup_free_ char *path = path_join("/proc", pid, "stat"), *text = NULL;
    const char *end;
    char state;
    int parent;
    if (fd_read_file_at(AT_FDCWD, path, 4096, &text, NULL) < 0)
        return false;
    end = strrchr(text, ')');
    return end && sscanf(end + 1, " %c %d", &state, &parent) == 2 && parent == getpid() &&
           state != 'Z' && state != 'X' && !strstr(text, "(ramet-switch)");
}

static size_t count_processes(void) {
    DIR *dir = opendir("/proc");
    struct dirent *entry;
    size_t count = 0;
    CHECK(dir);
    while ((entry = readdir(dir)))
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
            count += is_keeper(entry->d_name);
    (void)closedir(dir);
    return count;
}

/* From now on the store fails when it is told that this VM is in this state. */
static void break_store(const char *state, const char *name) {
    _cleanup_free_ char *sql =
        str_format("CREATE TRIGGER broken BEFORE UPDATE ON vms WHEN NEW.state = '%s' AND"
                   " NEW.name = '%s' BEGIN SELECT RAISE(ABORT, 'injected'); END",
                   state, name);
    CHECK_INT(store_execute(home_store(home.opened), sql, NULL), 0);
}

static void mend_store(void) {
    CHECK_INT(store_execute(home_store(home.opened), "DROP TRIGGER broken", NULL), 0);
}

static size_t count_events(const char *type) {
    _cleanup_json_ json_t *events = NULL;
    size_t i, count = 0;
    json_t *event;
    CHECK_INT(home_events(home.opened, 0, 100000, &events, NULL), 0);
    json_array_foreach(events, i, event) count += str_equal(vm_text(event, "type"), type);
    return count;
}

/* The store fails at the last of them: none is left, with or without memory, and nobody was told
 * that one ran. */
static void check_store_error(const char *source, bool keep_going) {
    size_t vms = count_vms(), processes = count_processes(), told = count_events("vm.running");
    const ForkOptions options = {
        .source = source, .name = "ok-c", .count = 4, .keep_going = keep_going};
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_json_ json_t *answer = NULL;
    Operation op;
    operation_init(&op, 0, -1);
    break_store("running", "ok-c-4");
    CHECK(vm_fork(home.opened, &op, &options, &answer, &error) < 0);
    CHECK_CONTAINS(error_message(&error), "injected");
    mend_store();
    CHECK_INT(count_vms(), vms);
    CHECK_INT(count_processes(), processes);
    CHECK_INT(count_events("vm.running"), told);
    must(fork_source(source, "ok-c", 4, &error), &error);
    CHECK_INT(count_vms(), vms + 4);
    for (unsigned i = 1; i <= 4; i++) {
        _cleanup_free_ char *name = str_format("ok-c-%u", i);
        remove_vm(name);
    }
}

static void test_store_error_undoes_all(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    Operation op;
    operation_init(&op, 0, -1);
    must(test_home_run(&home, "ok", false, NULL, &error), &error);
    must(take("ok", "s", NULL, &error), &error);
    check_store_error("s", false);
    check_store_error("s", true);
    must(vm_stop(home.opened, &op, "ok", USEC_PER_SEC, NULL, &error), &error);
    must(take("ok", "disk", NULL, &error), &error);
    check_store_error("disk", false);
    remove_vm("ok");
    must(remove_snapshot("s", false, &error), &error);
    must(remove_snapshot("disk", false, &error), &error);
    check_empty("snapshots");
    check_empty("layers");
}

/* The same for one VM, each way that it starts: no QEMU is left that nobody knows of. */
static void test_store_error_ends_a_start(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_free_ char *started = NULL, *resumed = NULL;
    Operation op;
    operation_init(&op, 0, -1);
    must(test_home_create(&home, "ok", NULL, &error), &error);
    break_store("running", "ok");
    CHECK(vm_start(home.opened, &op, "ok", true, NULL, &error) < 0);
    started = test_home_state(&home, "ok");
    CHECK_STR(started, "failed");
    CHECK_INT(count_processes(), 0);
    mend_store();
    error_clear(&error);
    must(vm_start(home.opened, &op, "ok", true, NULL, &error), &error);
    must(vm_standby(home.opened, &op, "ok", NULL, &error), &error);
    break_store("running", "ok");
    CHECK(vm_resume(home.opened, &op, "ok", NULL, &error) < 0);
    resumed = test_home_state(&home, "ok");
    CHECK_STR(resumed, "failed");
    CHECK_INT(count_processes(), 0);
    mend_store();
    remove_vm("ok");
    check_empty("snapshots");
}

/* A removal of which one step fails does the rest, says what failed, and can be done again. */
static void test_removal_goes_on(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_free_ char *state = NULL, *folder = NULL;
    _cleanup_json_ json_t *vm = NULL;
    Operation op;
    operation_init(&op, 0, -1);
    must(test_home_run(&home, "ok", false, &vm, &error), &error);
    folder = path_join(home.path, "vms", vm_text(vm, "id"));
    CHECK_INT(access(folder, F_OK), 0);
    break_store("removing", "ok");
    CHECK(vm_remove(home.opened, &op, "ok", true, NULL, &error) < 0);
    CHECK_CONTAINS(error_message(&error), "cannot remove all of ok");
    CHECK_CONTAINS(error_message(&error), "injected");
    CHECK_INT(count_processes(), 0);
    CHECK(access(folder, F_OK) < 0);
    state = test_home_state(&home, "ok");
    CHECK_STR(state, "failed");
    mend_store();
    remove_vm("ok");
    CHECK_INT(count_vms(), 0);
}

/* The disk was switched already: it stays so, and the VM runs on. */
static void test_full_disk(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_json_ json_t *vm = NULL;
    must(test_home_run(&home, "full", false, NULL, &error), &error);
    CHECK(take("full", "s", NULL, &error) < 0);
    CHECK_INT(error.kind, ERROR_NO_SPACE);
    CHECK_INT(count_snapshots(), 0);
    check_empty("snapshots");
    must(vm_inspect(home.opened, "full", &vm, &error), &error);
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
    must(test_home_run(&home, "ok", false, NULL, &error), &error);
    must(vm_standby(home.opened, &op, "ok", NULL, &error), &error);
    test_home_close(&home);
    test_home_open(&home);
    CHECK_INT(home_reconcile(home.opened), 0);
    must(vm_resume(home.opened, &op, "ok", &vm, &error), &error);
    CHECK_STR(vm_text(vm, "boot"), "restored");
    CHECK_INT(vm_resume(home.opened, &op, "ok", NULL, &error), -EBUSY);
    must(vm_standby(home.opened, &op, "ok", NULL, &error), &error);
    must(vm_stop(home.opened, &op, "ok", 0, NULL, &error), &error);
    CHECK_INT(count_snapshots(), 0);
    remove_vm("ok");
    check_empty("snapshots");
}

static int run_with_port(const char *name, uint16_t port, Error *error) {
    _cleanup_vm_spec_ VmSpec spec;
    Operation op;
    operation_init(&op, 0, -1);
    vm_spec_init(&spec);
    (void)snprintf(spec.name, sizeof(spec.name), "%s", name);
    (void)snprintf(spec.image, sizeof(spec.image), "test");
    spec.forwards.items[0] =
        (PortForward){.host_ip = "127.0.0.1", .host_port = port, .guest_port = 80};
    spec.forwards.count = 1;
    return vm_run(home.opened, &op, &spec, false, NULL, error);
}

/* Without a port: takes one that is free. The caller's. */
static int listen_at(uint16_t *port) {
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_port = htons(*port)};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    CHECK_INT(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
    CHECK_INT(bind(fd, (struct sockaddr *)&address, size), 0);
    CHECK_INT(listen(fd, 1), 0);
    CHECK_INT(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

/* It stays in standby, and goes on once the port is free. */
static void test_resume_onto_a_taken_port(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_free_ char *state = NULL;
    uint16_t port = 0;
    int fd = listen_at(&port);
    Operation op;
    operation_init(&op, 0, -1);
    (void)close(fd);
    must(run_with_port("ok", port, &error), &error);
    must(vm_standby(home.opened, &op, "ok", NULL, &error), &error);
    fd = listen_at(&port);
    CHECK_INT(vm_resume(home.opened, &op, "ok", NULL, &error), -EADDRINUSE);
    CHECK_INT(error.kind, ERROR_CONFLICT);
    CHECK_CONTAINS(error_message(&error), "cannot resume ok: host port 127.0.0.1:");
    state = test_home_state(&home, "ok");
    CHECK_STR(state, "standby");
    (void)close(fd);
    error_clear(&error);
    must(vm_resume(home.opened, &op, "ok", NULL, &error), &error);
    remove_vm("ok");
}

/* A VM that is saved again and again: it is told in time what to do, and that helps. */
static void test_long_chain(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    unsigned taken = 0;
    Operation op;
    operation_init(&op, 0, -1);
    must(test_home_run(&home, "ok", false, NULL, &error), &error);
    must(take("ok", NULL, NULL, &error), &error);
    /* as if it had been saved often: each further one would be made flat for its snapshot */
    CHECK_INT(store_execute(home_store(home.opened), "UPDATE layers SET depth = 56", NULL), 0);
    for (taken = 1; take("ok", NULL, NULL, &error) >= 0; taken++)
        CHECK(taken < 20);
    CHECK(taken > 2);
    CHECK_INT(error.kind, ERROR_CONFLICT);
    CHECK_CONTAINS(error_message(&error), "layers");
    CHECK_CONTAINS(error.hint, "ramet standby ok and ramet resume ok");
    error_clear(&error);
    must(vm_standby(home.opened, &op, "ok", NULL, &error), &error);
    must(vm_resume(home.opened, &op, "ok", NULL, &error), &error);
    must(take("ok", NULL, NULL, &error), &error);
    remove_vm("ok");
    {
        _cleanup_json_ json_t *report = NULL;
        must(home_prune(home.opened, &op, &(PruneOptions){0}, &report, &error), &error);
        CHECK_INT(json_array_size(json_object_get(report, "snapshots")), taken + 1);
    }
    check_empty("snapshots");
    check_empty("layers");
}

/* What a daemon that died in the middle left: a row that nobody saw, and files without a row. */
static void test_half_made(void) {
    _cleanup_free_ char *stray = path_join(home.path, "snapshots", "0123456789abcdef");
    SnapshotRow row = {.id = "00000000000000000000000000000001",
                       .name = "half",
                       .state = SNAPSHOT_CREATING,
                       .vm = "x",
                       .image = "test"};
    CHECK_INT(snapshots_insert(home_store(home.opened), &row, NULL), 0);
    CHECK_INT(path_make_folders(stray, 0700), 0);
    CHECK_INT(inspect("half", NULL, NULL), -ENOENT);
    test_home_close(&home);
    test_home_open(&home);
    CHECK_INT(home_reconcile(home.opened), 0);
    CHECK_INT(count_snapshots(), 0);
    check_empty("snapshots");
}

/* What reconcile cannot finish is counted, stays, and is finished the next time. */
static void test_half_made_that_stays(void) {
    SnapshotRow row = {.id = "00000000000000000000000000000002",
                       .name = "half",
                       .state = SNAPSHOT_REMOVING,
                       .vm = "x",
                       .image = "test"};
    Store *store;
    CHECK_INT(snapshots_insert(home_store(home.opened), &row, NULL), 0);
    test_home_close(&home);
    test_home_open(&home);
    store = home_store(home.opened);
    CHECK_INT(store_execute(store,
                            "CREATE TRIGGER broken BEFORE DELETE ON snapshots BEGIN"
                            " SELECT RAISE(ABORT, 'injected'); END",
                            NULL),
              0);
    CHECK_INT(home_reconcile(home.opened), 1);
    mend_store();
    test_home_close(&home);
    test_home_open(&home);
    CHECK_INT(home_reconcile(home.opened), 0);
    CHECK_INT(snapshots_get(home_store(home.opened), row.id, &row, NULL), -ENOENT);
}

/* --- the digests of a memory base ---
 */

static void get_row(const char *name, SnapshotRow *row) {
    CHECK_INT(snapshots_find(home_store(home.opened), name, row, NULL), 0);
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
    CHECK_INT(snapshot_list(home.opened, true, &list, NULL), 0);
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
    hot_memory_drop(home.opened, row.id);
}

static bool verifies(const char *name) {
    _cleanup_json_ json_t *report = NULL;
    json_t *check;
    Operation op;
    size_t i;
    operation_init(&op, 0, -1);
    CHECK_INT(snapshot_verify(home.opened, &op, name, &report, NULL), 0);
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
    CHECK_INT(snapshot_inspect(home.opened, &op, "s", &one, &error), -ECANCELED);
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

/* As after a crash before it was hashed: the fork trusts the stamp, and the digest comes. */
static void check_digest_comes_behind(const char *name) {
    _cleanup_snapshot_row_ SnapshotRow row = {0};
    _cleanup_error_ Error error = ERROR_INIT;
    char tree[TREE_DIGEST_SIZE];
    get_row(name, &row);
    must(snapshot_await_digest(home.opened, -1, &row, &error), &error);
    CHECK(row.data.verified_at_usec > 0);
    str_set(tree, row.data.files.memory.tree);
    CHECK(*tree);
    row.data.files.memory.tree[0] = '\0';
    must(snapshots_set_digests(home.opened->store, row.id, &row.data.files.memory, 0, &error),
         &error);
    check_fork(name);
    snapshots_finish_later(home.opened);
    do {
        snapshot_row_free(&row);
        get_row(name, &row);
    } while (!row.data.verified_at_usec);
    CHECK_STR(row.data.files.memory.tree, tree);
}

static void test_memory_digest(void) {
    _cleanup_json_ json_t *left = NULL;
    const json_t *memory;
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_free_ char *none = NULL;
    must(test_home_run(&home, "ok", false, NULL, &error), &error);
    must(take("ok", "s", NULL, &error), &error);
    check_digest_comes_behind("s");
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
    return hot_memory_inode(home.opened, row.id);
}

/* Hot from the start, while a half of the budget is free; the fake's memory has one page. */
static void test_hot_from_the_start(void) {
    uint64_t budget = home.opened->hot_budget_bytes, inode;
    _cleanup_error_ Error error = ERROR_INIT;
    home.opened->hot_budget_bytes = 8192;
    must(test_home_run(&home, "ok", false, NULL, &error), &error);
    must(take("ok", "s", NULL, &error), &error);
    must(take("ok", "later", NULL, &error), &error);
    inode = hot_inode("s");
    CHECK(inode != 0);
    CHECK_INT(hot_inode("later"), 0);
    must(fork_source("s", "ok-f", 1, &error), &error);
    CHECK_INT(hot_inode("s"), inode);
    remove_vm("ok-f");
    must(fork_source("ok", "ok-f", 1, &error), &error); /* of the VM: an automatic one */
    CHECK(home.opened->hot && home.opened->hot->next && !home.opened->hot->next->next);
    remove_vm("ok-f");
    remove_vm("ok");
    must(remove_snapshot("s", false, &error), &error);
    must(remove_snapshot("later", false, &error), &error);
    CHECK(!home.opened->hot);
    home.opened->hot_budget_bytes = budget;
}

static int take_number(int fd) {
    _cleanup_free_ char *path = str_format("/proc/self/fd/%d", fd);
    return hot_memory_open_sealed(path);
}

/* What a process that was taken over may have put in the place of its memory. */
static void test_only_sealed_memory_is_taken(void) {
    _cleanup_close_ int memfd = memfd_create("ramet-mem-x", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    _cleanup_free_ char *fifo = path_join(home.path, "tmp", "fifo");
    _cleanup_close_ int folder = open(home.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), taken = -1;
    int ends[2];
    CHECK_INT(mkfifo(fifo, 0600), 0);
    CHECK_INT(hot_memory_open_sealed(fifo), -EINVAL);
    CHECK_INT(pipe2(ends, O_CLOEXEC), 0);
    CHECK_INT(take_number(ends[0]), -EINVAL);
    CHECK_INT(take_number(folder), -EINVAL);
    CHECK_INT(hot_memory_open_sealed("/dev/tty"), -EINVAL);
    CHECK_INT(hot_memory_open_sealed("/proc/self/fd/9999"), -ENOENT);
    CHECK_INT(take_number(memfd), -EINVAL); /* not sealed */
    CHECK_INT(fcntl(memfd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW), 0);
    taken = take_number(memfd);
    CHECK(taken >= 0);
    CHECK_INT(fcntl(taken, F_GETFL) & O_ACCMODE, O_RDONLY);
    CHECK_INT(unlink(fifo), 0);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

static void test_standby_is_not_hot(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    Operation op;
    operation_init(&op, 0, -1);
    must(test_home_run(&home, "ok", false, NULL, &error), &error);
    must(vm_standby(home.opened, &op, "ok", NULL, &error), &error);
    CHECK(!home.opened->hot);
    remove_vm("ok");
    check_empty("snapshots");
}

/* Saved by a version that had no tree digests. */
static void test_older_snapshot(void) {
    _cleanup_snapshot_row_ SnapshotRow row = {0};
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_json_ json_t *snapshot = NULL;
    _cleanup_free_ char *sha256 = NULL;
    must(test_home_run(&home, "ok", false, NULL, &error), &error);
    must(take("ok", "s", NULL, &error), &error);
    must(inspect("s", &snapshot, &error), &error);
    get_row("s", &row);
    CHECK(*row.data.files.memory.tree);
    row.data.files.memory.tree[0] = '\0';
    must(snapshots_update(home_store(home.opened), &row, &error), &error);
    check_flips_are_refused("s");
    sha256 = listed_sha256();
    CHECK_STR(sha256, vm_text(json_object_get(snapshot, "memory"), "sha256"));
    remove_vm("ok");
    must(remove_snapshot("s", false, &error), &error);
}

int main(void) {
    test_home_make(&home);
    RUN(test_take_and_fork);
    RUN(test_all_or_nothing);
    RUN(test_store_error_undoes_all);
    RUN(test_store_error_ends_a_start);
    RUN(test_removal_goes_on);
    RUN(test_full_disk);
    RUN(test_standby);
    RUN(test_resume_onto_a_taken_port);
    RUN(test_long_chain);
    RUN(test_half_made);
    RUN(test_half_made_that_stays);
    RUN(test_memory_digest);
    RUN(test_older_snapshot);
    RUN(test_hot_from_the_start);
    RUN(test_standby_is_not_hot);
    RUN(test_only_sealed_memory_is_taken);
    test_home_remove(&home);
    return 0;
}
