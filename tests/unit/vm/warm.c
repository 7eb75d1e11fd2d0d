/* SPDX-License-Identifier: Apache-2.0 */

/* The boot cache and pools, with a scripted keeper: what is prepared, found, claimed and left. */

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "base/process/priority.h"
#include "base/str.h"
#include "catalog/images.h"
#include "frozen/snapshot_files.h"
#include "home/home.h"
#include "home/inside.h"
#include "home/op_lock.h"
#include "home/operation.h"
#include "home/row.h"
#include "home/spec.h"
#include "lineage/lineage.h"
#include "machine/machine.h"
#include "machine/remove.h"
#include "pool/booted_kernel.h"
#include "pool/pool.h"
#include "pool/pool_fill.h"
#include "run/keeper_status.h"
#include "run/launch.h"
#include "run/nice.h"
#include "store/pools.h"
#include "store/snapshots.h"
#include "store/vms.h"
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

static Operation operation(void) {
    Operation made;
    operation_init(&made, 0, -1);
    return made;
}

static void remove_vm(const char *name) {
    _cleanup_error_ Error error = ERROR_INIT;
    Operation op = operation();
    must(vm_remove(home.opened, &op, name, true, NULL, &error), &error);
}

static size_t count_events(const char *type) {
    _cleanup_json_ json_t *events = NULL;
    size_t i, count = 0;
    json_t *event;
    CHECK_INT(home_events(home.opened, 0, 100000, &events, NULL), 0);
    json_array_foreach(events, i, event) count += str_equal(vm_text(event, "type"), type);
    return count;
}

static size_t count_shown(void) {
    _cleanup_json_ json_t *list = NULL;
    CHECK_INT(vm_list(home.opened, true, NULL, &list, NULL), 0);
    return json_array_size(list);
}

/* The ids of ready snapshots of the boot cache: of images, or booted kernels. */
static size_t find_cached(bool kernels, char ids[8][VM_ID_SIZE]) {
    SnapshotRow *rows = NULL;
    size_t count = 0, n = 0;
    CHECK_INT(snapshots_list(home_store(home.opened), &rows, &count, NULL), 0);
    for (size_t i = 0; i < count && n < 8; i++)
        if (str_equal(rows[i].purpose, PURPOSE_CACHE) &&
            snapshot_is_booted_kernel(&rows[i]) == kernels)
            (void)snprintf(ids[n++], VM_ID_SIZE, "%s", rows[i].id);
    snapshot_rows_free(rows, count);
    return n;
}

static size_t find_entries(char ids[8][VM_ID_SIZE]) {
    return find_cached(false, ids);
}

static int run_with(const char *name, uint64_t memory_bytes, unsigned cpus, bool cold, json_t **vm,
                    Error *error) {
    _cleanup_vm_spec_ VmSpec spec;
    Operation op = operation();
    vm_spec_init(&spec);
    (void)snprintf(spec.name, sizeof(spec.name), "%s", name);
    (void)snprintf(spec.image, sizeof(spec.image), "test");
    spec.memory_bytes = memory_bytes;
    spec.cpus = cpus;
    spec.cold = cold;
    return vm_run(home.opened, &op, &spec, false, vm, error);
}

static void check_boot(const char *name, uint64_t memory_bytes, unsigned cpus, bool cold,
                       const char *boot) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_json_ json_t *vm = NULL;

    must(run_with(name, memory_bytes, cpus, cold, &vm, &error), &error);
    CHECK_STR(vm_text(vm, "boot"), boot);
    CHECK(json_is_null(json_object_get(vm, "fallback")));
    CHECK_STR(vm_text(vm, "hostname"), name);
    remove_vm(name);
}

/* ---- the boot cache ---- */

static void *run_one(void *data) {
    check_boot(data, 0, 1, false, "forked");
    return NULL;
}

static void test_prepared_once(void) {
    static const char *const names[] = {"ok1", "ok2", "ok3", "ok4"};
    char ids[8][VM_ID_SIZE];
    pthread_t threads[4];
    check_boot("ok-cold", 0, 1, true, "cold");
    CHECK_INT(find_entries(ids), 0);
    for (size_t i = 0; i < 4; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, run_one, (void *)names[i]), 0);
    for (size_t i = 0; i < 4; i++)
        (void)pthread_join(threads[i], NULL);
    CHECK_INT(count_events("cache.prepared"), 1);
    CHECK_INT(find_entries(ids), 1);
    CHECK_INT(count_shown(), 0);
    CHECK_INT(test_home_count_vm_folders(&home), 0);
}

/* As if it had been booted with an earlier agent. */
static void make_stale(const char *id) {
    _cleanup_snapshot_row_ SnapshotRow row = {0};
    _cleanup_error_ Error error = ERROR_INIT;
    must(snapshots_get(home_store(home.opened), id, &row, &error), &error);
    str_set(row.key, "of an earlier agent");
    str_replace(&row.data.facts.initramfs_key, "of an earlier agent");
    must(snapshots_update(home_store(home.opened), &row, &error), &error);
}

/* Other sizes are other entries, and none of them makes another one stale. One of another agent
 * goes, with its files, once that of today's is there. */
static void test_keys(void) {
    char before[8][VM_ID_SIZE], after[8][VM_ID_SIZE];
    _cleanup_free_ char *files = NULL;
    check_boot("ok", 128 * MIB, 1, false, "forked");
    check_boot("ok", 0, 2, false, "forked");
    check_boot("ok", 0, 1, false, "forked");
    CHECK_INT(count_events("cache.prepared"), 3);
    CHECK_INT(find_entries(before), 3);
    make_stale(before[0]);
    files = path_join(home.path, "snapshots", before[0]);
    CHECK_INT(access(files, F_OK), 0);
    check_boot("ok", 0, 1, false, "forked");
    check_boot("ok", 128 * MIB, 1, false, "forked");
    check_boot("ok", 0, 2, false, "forked");
    CHECK_INT(count_events("cache.prepared"), 4);
    CHECK_INT(find_entries(after), 3);
    for (size_t i = 0; i < 3; i++)
        CHECK(!str_equal(after[i], before[0]));
    CHECK(access(files, F_OK) < 0);
}

/* Of a keeper, as it is beside our own. */
static int priority_of(pid_t keeper) {
    return getpriority(PRIO_PROCESS, (id_t)keeper) - priority_base();
}

static void await_priority(const char *name, int priority) {
    for (;;) {
        _cleanup_json_ json_t *vm = NULL;
        pid_t keeper;
        (void)vm_inspect(home.opened, name, &vm, NULL);
        keeper = vm ? (pid_t)json_integer_value(json_object_get(vm, "keeper_pid")) : 0;
        if (keeper > 0 && priority_of(keeper) == priority)
            return;
        (void)usleep(10000);
    }
}

/* A guest that does not get ready has its priority for a moment only. */
static void test_slow_start_is_not_preferred(void) {
    pthread_t thread;
    if (!priority_may_raise())
        return;
    check_boot("ok", 0, 1, false, "forked");
    CHECK_INT(pthread_create(&thread, NULL, run_one, (void *)"slow"), 0);
    await_priority("slow", NICE_STARTING);
    await_priority("slow", NICE_RUNNING);
    test_home_write(&home, "slow", "go", "");
    (void)pthread_join(thread, NULL);
}

static void test_created_vm(void) {
    _cleanup_json_ json_t *vm = NULL, *again = NULL;
    _cleanup_error_ Error error = ERROR_INIT;
    Operation op = operation();
    must(test_home_create(&home, "ok", NULL, &error), &error);
    must(vm_start(home.opened, &op, "ok", false, &vm, &error), &error);
    CHECK_STR(vm_text(vm, "boot"), "forked");
    must(vm_stop(home.opened, &op, "ok", USEC_PER_SEC, NULL, &error), &error);
    must(vm_start(home.opened, &op, "ok", false, &again, &error), &error);
    CHECK_STR(vm_text(again, "boot"), "cold");
    remove_vm("ok");
}

static void damage(const char *id) {
    _cleanup_free_ char *path = path_join(home.path, "snapshots", id, "state");
    FILE *file;
    CHECK_INT(chmod(path, 0600), 0);
    file = fopen(path, "we");
    CHECK(file);
    (void)fputs("other", file);
    (void)fclose(file);
}

static void test_damage_is_told(void) {
    char before[8][VM_ID_SIZE], after[8][VM_ID_SIZE];
    size_t prepared = count_events("cache.prepared"), n = find_entries(before);
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_json_ json_t *vm = NULL;
    const json_t *fallback;
    for (size_t i = 0; i < n; i++)
        damage(before[i]);
    must(run_with("ok", 0, 1, false, &vm, &error), &error);
    CHECK_STR(vm_text(vm, "boot"), "cold");
    fallback = json_object_get(vm, "fallback");
    CHECK_STR(vm_text(fallback, "code"), error_kind_code(ERROR_CORRUPT));
    CHECK_INT(count_events("vm.fallback"), 1);
    remove_vm("ok");
    check_boot("ok", 0, 1, false, "forked");
    CHECK_INT(count_events("cache.prepared"), prepared + 1);
    CHECK_INT(find_entries(after), n); /* the damaged one went */
}

static void forget(const char *id) {
    _cleanup_snapshot_row_ SnapshotRow row = {0};
    _cleanup_error_ Error error = ERROR_INIT;
    must(snapshots_get(home_store(home.opened), id, &row, &error), &error);
    must(snapshot_delete(home.opened, &row, &error), &error);
}

/* Three shapes were booted by now, some of them twice. One that is damaged costs a cold boot, goes,
 * and is made anew by the next image that wants it. */
static void test_booted_kernels(void) {
    char kernels[8][VM_ID_SIZE], entries[8][VM_ID_SIZE];
    size_t n = find_cached(true, kernels);
    CHECK_INT(n, 3);
    for (size_t i = 0; i < n; i++)
        damage(kernels[i]);
    for (size_t i = find_entries(entries); i-- > 0;)
        forget(entries[i]);
    check_boot("ok", 0, 1, false, "forked");
    CHECK_INT(find_cached(true, kernels), n - 1);
}

static int listen_somewhere(uint16_t *port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_INT(bind(fd, (struct sockaddr *)&address, size), 0);
    CHECK_INT(listen(fd, 1), 0);
    CHECK_INT(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

static int run_with_port(const char *name, uint16_t port, Error *error) {
    _cleanup_vm_spec_ VmSpec spec;
    Operation op = operation();
    vm_spec_init(&spec);
    (void)snprintf(spec.name, sizeof(spec.name), "%s", name);
    (void)snprintf(spec.image, sizeof(spec.image), "test");
    spec.forwards.items[0] =
        (PortForward){.host_ip = "127.0.0.1", .host_port = port, .guest_port = 80};
    spec.forwards.count = 1;
    return vm_run(home.opened, &op, &spec, false, NULL, error);
}

/* It is not the entry's fault, so that stays. */
static void test_taken_port_is_told(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_close_ int fd = -1;
    char ids[8][VM_ID_SIZE];
    uint16_t port;
    size_t n = find_entries(ids);
    fd = listen_somewhere(&port);
    CHECK_INT(run_with_port("ok", port, &error), -EADDRINUSE);
    CHECK_INT(error.kind, ERROR_CONFLICT);
    CHECK_CONTAINS(error.hint, "-p");
    if (geteuid() != 0) {
        CHECK_INT(run_with_port("ok", 1, &error), -EACCES);
        CHECK_CONTAINS(error_message(&error), "needs privileges");
    }
    CHECK_INT(find_entries(ids), n);
    CHECK_INT(count_shown(), 0);
    fd = fd_close(fd);
    must(run_with_port("ok", port, &error), &error);
    remove_vm("ok");
}

/* A hidden VM that a dead daemon left, in whatever state. */
static void test_crash_while_preparing(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    OpLock *lock = NULL;
    _cleanup_vm_row_ VmRow row = {0};
    must(run_with("cache-x", 0, 1, true, NULL, &error), &error);
    must(row_lock(home.opened, "cache-x", "being hidden", -1, &lock, &row, &error), &error);
    str_set(row.runtime.hidden, "cache");
    must(vms_update(home_store(home.opened), &row, &error), &error);
    lock = op_unlock(lock);
    CHECK_INT(count_shown(), 0);
    test_home_close(&home);
    test_home_open(&home);
    CHECK_INT(home_reconcile(home.opened), 0);
    CHECK_INT(test_home_count_vm_folders(&home), 0);
}

/* ---- pools ---- */

static int set_pool(const char *source, unsigned count, json_t **pool, Error *error) {
    Operation op = operation();
    return pool_set(home.opened, &op, source, count, true, pool, error);
}

static void check_warm(const char *source, unsigned count) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_json_ json_t *pool = NULL;
    must(set_pool(source, count, &pool, &error), &error);
    CHECK_INT(json_integer_value(json_object_get(pool, "warm")), count);
    CHECK_INT(json_integer_value(json_object_get(pool, "wanted")), count);
}

static void test_image_pool(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    Operation op = operation();
    check_warm("test", 2);
    CHECK_INT(count_shown(), 0);
    CHECK_INT(test_home_count_vm_folders(&home), 2);
    check_boot("ok1", 0, 1, false, "claimed");
    check_boot("ok2", 160 * MIB, 1, false, "forked"); /* of another size */
    check_warm("test", 2);
    CHECK_INT(image_op_remove(home.opened, &op, "test", &error), -EBUSY);
    CHECK_CONTAINS(error.hint, "pool set test 0");
}

static void test_failed_claim_is_told(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_json_ json_t *vm = NULL;
    check_warm("test", 2);
    must(run_with("noclaim", 0, 1, false, &vm, &error), &error);
    CHECK_STR(vm_text(vm, "boot"), "forked");
    CHECK_CONTAINS(vm_text(json_object_get(vm, "fallback"), "message"), "cannot be claimed");
    remove_vm("noclaim");
    check_warm("test", 2);
    CHECK_INT(test_home_count_vm_folders(&home), 2);
}

static size_t list_keepers(pid_t pids[8]) {
    VmRow *rows = NULL;
    size_t count = 0, n = 0;
    CHECK_INT(vms_list(home_store(home.opened), &rows, &count, NULL), 0);
    for (size_t i = 0; i < count && n < 8; i++)
        if (rows[i].state == STATE_WARM)
            pids[n++] = rows[i].runtime.keeper.pid;
    vm_rows_free(rows, count);
    return n;
}

/* Who looks at a warm clone while it is claimed has read its row before. */
static void test_claim_is_not_undone(void) {
    _cleanup_vm_row_ VmRow old = {0}, claimed = {0}, now = {0};
    _cleanup_error_ Error error = ERROR_INIT;
    VmRow *rows = NULL;
    size_t count = 0;
    check_warm("test", 2);
    CHECK_INT(vms_list(home_store(home.opened), &rows, &count, NULL), 0);
    for (size_t i = 0; i < count && !*old.id; i++)
        if (rows[i].state == STATE_WARM)
            must(vms_get(home_store(home.opened), rows[i].id, &old, &error), &error);
    vm_rows_free(rows, count);
    CHECK_INT(
        vms_claim_warm(home_store(home.opened), old.snapshot, "claimed", "test", &claimed, &error),
        1);
    CHECK_STR(claimed.id, old.id);
    must(run_refresh(home.opened, &old, NULL, &error), &error);
    must(vms_get(home_store(home.opened), old.id, &now, &error), &error);
    CHECK_INT(now.state, STATE_CREATING);
    CHECK_STR(now.name, "claimed");
    must(vm_remove_locked(home.opened, &now, &error), &error);
    check_warm("test", 2);
}

/* ---- waits that end when the client leaves ---- */

typedef struct Leaver {
    int cancel_fd; /* owned: readable once the client is gone */
    Error error;
    int result;
} Leaver;

static void leave(Leaver *leaver, pthread_t thread) {
    CHECK_INT(eventfd_write(leaver->cancel_fd, 1), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    (void)fd_close(leaver->cancel_fd);
    CHECK_INT(leaver->result, -ECANCELED);
    CHECK_INT(leaver->error.kind, ERROR_CANCELLED);
    error_clear(&leaver->error);
}

static void *run_and_leave(void *data) {
    Leaver *leaver = data;
    _cleanup_vm_spec_ VmSpec spec;
    Operation op;
    operation_init(&op, 0, leaver->cancel_fd);
    vm_spec_init(&spec);
    (void)snprintf(spec.name, sizeof(spec.name), "ok-left");
    (void)snprintf(spec.image, sizeof(spec.image), "test");
    leaver->result = vm_run(home.opened, &op, &spec, false, NULL, &leaver->error);
    return NULL;
}

static void await_claim(void) {
    _cleanup_vm_row_ VmRow row = {0};
    while (vms_find(home_store(home.opened), "ok-left", &row, NULL) < 0)
        (void)usleep(10000); /* a claim tells no event */
}

/* Somebody looks at each of the warm clones. */
static size_t lock_clones(OpLock *locks[8]) {
    _cleanup_error_ Error error = ERROR_INIT;
    VmRow *rows = NULL;
    size_t count = 0, n = 0;
    must(vms_list(home_store(home.opened), &rows, &count, &error), &error);
    for (size_t i = 0; i < count && n < 8; i++)
        if (rows[i].state == STATE_WARM)
            must(
                op_lock(home.opened->locks, rows[i].id, "being looked at", -1, &locks[n++], &error),
                &error);
    vm_rows_free(rows, count);
    return n;
}

static void unlock_clones(OpLock *locks[8], size_t n) {
    for (size_t i = 0; i < n; i++)
        (void)op_unlock(locks[i]);
}

static void await_clones(size_t wanted) {
    pid_t pids[8];
    while (list_keepers(pids) != wanted || test_home_count_vm_folders(&home) != wanted)
        (void)usleep(10000); /* that a clone went tells no event */
}

/* The clone goes back to its pool; where another was made meanwhile, there is one too many. */
static void test_claim_ends_with_its_client(void) {
    Leaver leaver = {.cancel_fd = eventfd(0, EFD_CLOEXEC), .error = ERROR_INIT};
    OpLock *locks[8];
    pthread_t thread;
    size_t n;
    check_warm("test", 2);
    n = lock_clones(locks);
    CHECK_INT(pthread_create(&thread, NULL, run_and_leave, &leaver), 0);
    await_claim();
    leave(&leaver, thread);
    unlock_clones(locks, n);
    await_clones(2);
    CHECK_INT(count_shown(), 0);
    check_boot("ok-left", 0, 1, false, "claimed");
    await_clones(2);
}

static void *set_and_leave(void *data) {
    Leaver *leaver = data;
    Operation op;
    operation_init(&op, 0, leaver->cancel_fd);
    leaver->result = pool_set(home.opened, &op, "test", 0, false, NULL, &leaver->error);
    return NULL;
}

/* The filler is at work. */
static void test_pool_set_ends_with_its_client(void) {
    Leaver leaver = {.cancel_fd = eventfd(0, EFD_CLOEXEC), .error = ERROR_INIT};
    _cleanup_error_ Error error = ERROR_INIT;
    OpLock *lock = NULL;
    pthread_t thread;
    check_warm("test", 2);
    must(pools_lock(home.opened, "being filled", -1, &lock, &error), &error);
    CHECK_INT(pthread_create(&thread, NULL, set_and_leave, &leaver), 0);
    leave(&leaver, thread);
    (void)op_unlock(lock);
    check_warm("test", 2);
}

/* The same for clones that are to go: the pool has ended then, and the filler removes the rest. */
static void test_end_of_pool_ends_with_its_client(void) {
    Leaver leaver = {.cancel_fd = eventfd(0, EFD_CLOEXEC), .error = ERROR_INIT};
    OpLock *locks[8];
    pthread_t thread;
    PoolRow pool;
    size_t n;
    check_warm("test", 2);
    n = lock_clones(locks);
    CHECK_INT(pthread_create(&thread, NULL, set_and_leave, &leaver), 0);
    while (pools_get(home_store(home.opened), "test", &pool, NULL) >= 0)
        (void)usleep(10000); /* the end of a pool tells no event */
    leave(&leaver, thread);
    unlock_clones(locks, n);
    await_clones(0);
}

static void test_pool_outlives_the_daemon(void) {
    pid_t before[8], after[8];
    check_warm("test", 2);
    CHECK_INT(list_keepers(before), 2);
    test_home_close(&home);
    test_home_open(&home);
    CHECK_INT(home_reconcile(home.opened), 0);
    CHECK_INT(list_keepers(after), 2);
    CHECK(before[0] == after[0] && before[1] == after[1]);
    CHECK_INT(kill(before[0], SIGKILL), 0);
    test_home_await_event(&home, "test", "pool.filled", 1);
    while (list_keepers(after) != 2 || after[0] == before[0])
        (void)usleep(10000); /* the event may be of before */
    check_boot("ok", 0, 1, false, "claimed");
}

/* Clones that cannot be made: who waits is told why, the filler tries again after a second, and
 * what it began is gone. */
static void check_backs_off(const char *snapshot) {
    _cleanup_snapshot_row_ SnapshotRow row = {0};
    _cleanup_error_ Error error = ERROR_INIT;
    size_t failed = count_events("pool.failed"), folders;
    uint64_t began;
    check_warm("test", 2);
    folders = test_home_count_vm_folders(&home);
    must(snapshots_find(home_store(home.opened), snapshot, &row, &error), &error);
    damage(row.id);
    began = clock_monotonic_usec();
    CHECK(set_pool(snapshot, 2, NULL, &error) < 0);
    CHECK_INT(error.kind, ERROR_CORRUPT);
    test_home_await_event(&home, snapshot, "pool.failed", failed + 2);
    CHECK(clock_monotonic_usec() - began >= USEC_PER_SEC);
    error_clear(&error);
    must(set_pool(snapshot, 0, NULL, &error), &error);
    CHECK_INT(test_home_count_vm_folders(&home), folders);
}

static void test_snapshot_pool(void) {
    const ForkOptions options = {.source = "s", .name = "ok-f", .count = 3};
    _cleanup_json_ json_t *answer = NULL;
    _cleanup_error_ Error error = ERROR_INIT;
    Operation op = operation();
    size_t claimed = 0;
    json_t *vm;
    size_t i;
    must(run_with("ok", 0, 1, true, NULL, &error), &error);
    must(snapshot_create(home.opened, &op, "ok", "s", NULL, false, NULL, &error), &error);
    check_warm("s", 2);
    must(vm_fork(home.opened, &op, &options, &answer, &error), &error);
    json_array_foreach(json_object_get(answer, "vms"), i, vm) {
        claimed += str_equal(vm_text(vm, "boot"), "claimed");
        remove_vm(vm_text(vm, "name"));
    }
    CHECK(claimed >= 2);
    CHECK_INT(snapshot_remove(home.opened, &op, "s", false, NULL, &error), -EBUSY);
    CHECK_CONTAINS(error.hint, "pool set s 0");
    error_clear(&error);
    must(set_pool("s", 0, NULL, &error), &error);
    check_backs_off("s");
    must(snapshot_remove(home.opened, &op, "s", false, NULL, &error), &error);
    remove_vm("ok");
}

static void test_refusals(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    CHECK_INT(set_pool("nosuch", 1, NULL, &error), -ENOENT);
    CHECK_INT(set_pool("test", POOL_COUNT_MAX + 1, NULL, &error), -EINVAL);
    home.opened->pool_budget_bytes = 100 * MIB;
    CHECK_INT(set_pool("test", 200, NULL, &error), -ENOMEM);
    CHECK_CONTAINS(error_message(&error), "budget");
}

static void test_end(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_json_ json_t *list = NULL;
    char ids[8][VM_ID_SIZE];
    Operation op = operation();
    must(set_pool("test", 0, NULL, &error), &error);
    CHECK_INT(test_home_count_vm_folders(&home), 0);
    must(pool_list(home.opened, &list, &error), &error);
    CHECK_INT(json_array_size(list), 0);
    must(image_op_remove(home.opened, &op, "test", &error), &error);
    CHECK_INT(find_entries(ids), 0);
}

int main(void) {
    (void)setenv("RAMET_BOOT_CACHE", "on", 1);
    test_home_make(&home);
    RUN(test_prepared_once);
    RUN(test_keys);
    RUN(test_slow_start_is_not_preferred);
    RUN(test_created_vm);
    RUN(test_damage_is_told);
    RUN(test_booted_kernels);
    RUN(test_taken_port_is_told);
    RUN(test_crash_while_preparing);
    RUN(test_image_pool);
    RUN(test_failed_claim_is_told);
    RUN(test_claim_is_not_undone);
    RUN(test_claim_ends_with_its_client);
    RUN(test_pool_set_ends_with_its_client);
    RUN(test_end_of_pool_ends_with_its_client);
    RUN(test_pool_outlives_the_daemon);
    RUN(test_snapshot_pool);
    RUN(test_refusals);
    RUN(test_end);
    test_home_remove(&home);
    return 0;
}
