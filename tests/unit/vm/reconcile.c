/* SPDX-License-Identifier: Apache-2.0 */

/* A daemon that ends and comes again, in every state that it can find. */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "base/process/process.h"
#include "base/process/spawn.h"
#include "base/str.h"
#include "catalog/images.h"
#include "disk/base_file.h"
#include "home/home.h"
#include "home/operation.h"
#include "home/row.h"
#include "home/spec.h"
#include "machine/machine.h"
#include "run/hand_over.h"
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

static void come_again(void) {
    test_home_open(&home);
    CHECK_INT(home_reconcile(home.opened), 0);
}

static void restart_daemon(void) {
    test_home_close(&home);
    come_again();
}

static void remove_vm(const char *name) {
    _cleanup_error_ Error error = ERROR_INIT;
    Operation op;
    operation_init(&op, 0, -1);
    must(vm_remove(home.opened, &op, name, true, NULL, &error), &error);
}

static void check_state(const char *vm, const char *state) {
    _cleanup_free_ char *now = test_home_state(&home, vm);
    if (state)
        CHECK_STR(now, state);
    else
        CHECK(!now);
}

/* Changes a row behind everybody's back. */
static void set_row(const char *vm, VmState state, const ProcessIdentity *keeper,
                    const ProcessIdentity *qemu) {
    _cleanup_vm_row_ VmRow row = {0};

    CHECK_INT(vms_find(home_store(home.opened), vm, &row, NULL), 0);
    row.state = state;
    row.runtime.keeper = keeper ? *keeper : (ProcessIdentity){0};
    row.runtime.qemu = qemu ? *qemu : (ProcessIdentity){0};
    CHECK_INT(vms_update(home_store(home.opened), &row, NULL), 0);
}

static void test_running_is_taken_over(void) {
    _cleanup_json_ json_t *before = NULL, *after = NULL;
    _cleanup_error_ Error error = ERROR_INIT;
    Operation op;
    must(test_home_run(&home, "ok1", false, &before, &error), &error);
    restart_daemon();
    must(vm_inspect(home.opened, "ok1", &after, &error), &error);
    CHECK_STR(vm_text(after, "state"), "running");
    CHECK_INT(vm_pid(after, "qemu_pid"), vm_pid(before, "qemu_pid"));
    CHECK_INT(vm_pid(after, "keeper_pid"), vm_pid(before, "keeper_pid"));
    CHECK(json_equal(json_object_get(after, "stages"), json_object_get(before, "stages")));
    operation_init(&op, 0, -1);
    must(vm_pause(home.opened, &op, "ok1", NULL, &error), &error);
    restart_daemon();
    check_state("ok1", "paused");
    must(vm_unpause(home.opened, &op, "ok1", NULL, &error), &error);
    test_home_write(&home, "ok1", "cause", "poweroff"); /* it is watched again */
    test_home_await(&home, "ok1", "stopped");
    restart_daemon();
    check_state("ok1", "stopped");
    remove_vm("ok1");
}

static void test_ended_meanwhile(void) {
    _cleanup_json_ json_t *vm = NULL;
    ProcessIdentity keeper;
    CHECK_INT(test_home_run(&home, "ok2", false, &vm, NULL), 0);
    CHECK_INT(process_identify(vm_pid(vm, "keeper_pid"), &keeper), 0);
    test_home_write(&home, "ok2", "cause", "poweroff");
    test_home_close(&home);
    (void)process_wait_gone(&keeper, clock_monotonic_usec() + 60 * USEC_PER_SEC);
    come_again();
    check_state("ok2", "stopped");
    remove_vm("ok2");
}

static void test_keeper_killed_meanwhile(void) {
    _cleanup_json_ json_t *vm = NULL;
    pid_t pid;
    CHECK_INT(test_home_run(&home, "ok3", false, &vm, NULL), 0);
    pid = vm_pid(vm, "keeper_pid");
    test_home_close(&home);
    CHECK_INT(kill(pid, SIGKILL), 0);
    come_again();
    check_state("ok3", "failed");
    remove_vm("ok3");
}

static pid_t sleeper(void) {
    char *argv[] = {(char *)"sleep", (char *)"1000", NULL};
    const SpawnOptions options = {.program = "sleep", .argv = argv};
    pid_t pid;
    CHECK_INT(spawn_process(&options, &pid, NULL), 0);
    return pid;
}

/* The pid in the store belongs to another process now: it is left alone. */
static void test_stale_pid(void) {
    ProcessIdentity stale, other;
    pid_t pid = sleeper();
    CHECK_INT(test_home_create(&home, "ok4", NULL, NULL), 0);
    CHECK_INT(process_identify(pid, &other), 0);
    stale = other;
    stale.start_ticks -= 1;
    set_row("ok4", STATE_RUNNING, &stale, &stale);
    restart_daemon();
    check_state("ok4", "failed");
    CHECK_INT(kill(pid, 0), 0);
    CHECK_INT(process_signal(&other, SIGKILL), 0);
    remove_vm("ok4");
}

/* A QEMU whose keeper died is ended. */
static void test_orphan(void) {
    ProcessIdentity orphan;
    pid_t pid = sleeper();
    CHECK_INT(test_home_create(&home, "ok5", NULL, NULL), 0);
    CHECK_INT(process_identify(pid, &orphan), 0);
    set_row("ok5", STATE_RUNNING, NULL, &orphan);
    restart_daemon();
    check_state("ok5", "failed");
    CHECK_INT(process_wait_gone(&orphan, clock_monotonic_usec() + 60 * USEC_PER_SEC), 0);
    remove_vm("ok5");
}

static void test_half_made(void) {
    _cleanup_json_ json_t *vm = NULL;
    _cleanup_free_ char *folder = NULL;
    CHECK_INT(test_home_create(&home, "ok6", &vm, NULL), 0);
    folder = path_join(home.path, "vms", vm_text(vm, "id"));
    set_row("ok6", STATE_CREATING, NULL, NULL);
    restart_daemon();
    check_state("ok6", NULL);
    CHECK(access(folder, F_OK) < 0);
    CHECK_INT(test_home_create(&home, "ok6", NULL, NULL), 0);
    set_row("ok6", STATE_REMOVING, NULL, NULL);
    restart_daemon();
    check_state("ok6", NULL);
}

static void test_leftovers(void) {
    _cleanup_free_ char *scratch = path_join(home.path, "tmp", "scratch");
    _cleanup_free_ char *inner = path_join(scratch, "a");
    _cleanup_free_ char *stray = path_join(home.path, "vms", "0123456789abcdef0123456789abcdef");
    CHECK_INT(mkdir(scratch, 0700), 0);
    CHECK_INT(mkdir(inner, 0700), 0);
    CHECK_INT(mkdir(stray, 0700), 0);
    restart_daemon();
    CHECK(access(scratch, F_OK) < 0);
    CHECK(access(stray, F_OK) < 0);
}

#define SHA_8(digit) digit digit digit digit digit digit digit digit
#define SHA_OF(digit) \
    SHA_8(digit)      \
    SHA_8(digit) SHA_8(digit) SHA_8(digit) SHA_8(digit) SHA_8(digit) SHA_8(digit) SHA_8(digit)

static void make_file(const char *path) {
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
    CHECK(fd >= 0);
    CHECK_INT(close(fd), 0);
}

/* Bases that were published just before a daemon died, also such as have a name of earlier versions
 * beside theirs. What is no base stays, and such a name of what has another one elsewhere. */
static void test_stray_bases(void) {
    _cleanup_free_ char *stray = base_path(home.path, "tree1:" SHA_OF("a")),
                        *linked = base_path(home.path, "sha256:" SHA_OF("b")),
                        *twin = path_join(home.path, "images", "src-" SHA_OF("c") ".raw"),
                        *elsewhere = path_join(home.path, "images", "src-" SHA_OF("d") ".raw"),
                        *other = path_join(home.path, "images", "notes.txt");
    _cleanup_json_ json_t *list = NULL;
    make_file(stray);
    make_file(linked);
    make_file(other);
    CHECK_INT(link(linked, twin) | link(other, elsewhere), 0);
    restart_daemon();
    CHECK(access(stray, F_OK) < 0);
    CHECK(access(linked, F_OK) < 0);
    CHECK(access(twin, F_OK) < 0);
    CHECK_INT(unlink(elsewhere) | unlink(other), 0);
    CHECK_INT(image_op_list(home.opened, &list, NULL), 0);
    for (size_t i = 0; i < json_array_size(list); i++) /* those that images stand for are there */
        CHECK_INT(access(vm_text(json_array_get(list, i), "path"), F_OK), 0);
}

static void tell_agent_stage(void *data, const json_t *event) {
    if (str_equal(vm_text(event, "name"), "agent"))
        (void)!write(*(int *)data, "x", 1);
}

/* In a process of its own: a daemon that starts a VM which does not get ready. */
static void start_slow(int told) {
    Operation op;
    VmSpec spec;
    test_home_open(&home);
    vm_spec_init(&spec);
    (void)snprintf(spec.name, sizeof(spec.name), "slow1");
    (void)snprintf(spec.image, sizeof(spec.image), "test");
    operation_init(&op, 0, -1);
    op.on_event = tell_agent_stage;
    op.data = &told;
    (void)vm_run(home.opened, &op, &spec, false, NULL, NULL);
    _exit(1);
}

/* kill -9 of a daemon that starts a VM: the keeper goes on, and the next daemon takes it over. */
static void test_starting_is_taken_over(void) {
    int pipe_fds[2];
    pid_t pid;
    char byte;
    test_home_close(&home);
    CHECK_INT(pipe2(pipe_fds, O_CLOEXEC), 0);
    pid = fork();
    if (pid == 0)
        start_slow(pipe_fds[1]);
    CHECK_INT(read(pipe_fds[0], &byte, 1), 1);
    CHECK_INT(kill(pid, SIGKILL), 0);
    CHECK_INT(waitpid(pid, NULL, 0), pid);
    come_again();
    check_state("slow1", "starting");
    test_home_write(&home, "slow1", "go", "");
    test_home_await(&home, "slow1", "running");
    remove_vm("slow1");
    (void)close(pipe_fds[0]);
    (void)close(pipe_fds[1]);
}

static void test_rm_without_owner(void) {
    CHECK_INT(test_home_run(&home, "ok-rm", true, NULL, NULL), 0);
    restart_daemon();
    check_state("ok-rm", NULL);
}

static void test_rm_that_does_not_run(void) {
    _cleanup_vm_row_ VmRow row = {0};
    CHECK_INT(test_home_create(&home, "ok7", NULL, NULL), 0);
    CHECK_INT(vms_find(home_store(home.opened), "ok7", &row, NULL), 0);
    row.remove = true;
    CHECK_INT(vms_update(home_store(home.opened), &row, NULL), 0);
    restart_daemon();
    check_state("ok7", NULL);
}

static void *reconcile(void *data) {
    (void)home_reconcile(home.opened);
    return data;
}

/* Somebody answers at the keeper's socket and makes no sense: nothing is ended. */
static void test_unknown(void) {
    _cleanup_close_ int dir_fd = -1, listener = -1;
    ProcessIdentity process;
    pid_t pid = sleeper();
    char id[33];
    CHECK_INT(test_home_create(&home, "ok8", NULL, NULL), 0);
    CHECK_INT(process_identify(pid, &process), 0);
    set_row("ok8", STATE_RUNNING, &process, &process);
    CHECK_INT(vm_open_folder(home.opened, "ok8", id, &dir_fd, NULL), 0);
    test_home_close(&home);
    listener = fd_unix_listen_at(dir_fd, "keeper.sock", SOCK_SEQPACKET, 0600, 4);
    CHECK(listener >= 0);
    {
        pthread_t thread;
        test_home_open(&home);
        CHECK_INT(pthread_create(&thread, NULL, reconcile, NULL), 0);
        {
            int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
            char text[4096];
            CHECK(read(client, text, sizeof(text)) > 0);
            CHECK(write(client, "{\"error\":{\"code\":\"failed\"}}", 27) == 27);
            CHECK_INT(pthread_join(thread, NULL), 0);
            (void)close(client);
        }
    }
    check_state("ok8", "unknown");
    CHECK_INT(kill(pid, 0), 0);
    (void)unlinkat(dir_fd, "keeper.sock", 0);
    remove_vm("ok8");
    CHECK_INT(process_wait_gone(&process, clock_monotonic_usec() + 60 * USEC_PER_SEC), 0);
}

static void test_second_daemon(void) {
    const HomeOptions options = {.path = home.path, .keeper = "/bin/true", .agent = "/bin/true"};
    _cleanup_error_ Error error = ERROR_INIT;
    Home *second = NULL;
    CHECK_INT(home_open(&options, &second, &error), -EBUSY);
    CHECK_INT(error.kind, ERROR_CONFLICT);
}

static void *stop_vm(void *data) {
    _cleanup_error_ Error error = ERROR_INIT;
    Operation op;
    operation_init(&op, 0, -1);
    must(vm_stop(home.opened, &op, data, USEC_PER_SEC, NULL, &error), &error);
    return NULL;
}

static void *finish(void *data) {
    *(size_t *)data = home_reconcile_finish(home.opened);
    return NULL;
}

/* A keeper that does not answer holds up nobody but those who want its VM. */
static void test_served_before_all_is_settled(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_json_ json_t *vm = NULL, *list = NULL;
    pthread_t refreshing, stopping;
    size_t failures = 1;
    pid_t keeper;
    must(test_home_run(&home, "ok-late", false, &vm, &error), &error);
    keeper = vm_pid(vm, "keeper_pid");
    test_home_close(&home);
    CHECK_INT(kill(keeper, SIGSTOP), 0);
    test_home_open(&home);
    home_reconcile_begin(home.opened);
    CHECK_INT(pthread_create(&refreshing, NULL, finish, &failures), 0);
    home_await_reconciled(home.opened, 1000); /* in vain */
    check_state("ok-late", "unknown");
    must(vm_list(home.opened, false, NULL, &list, &error), &error);
    CHECK_INT(json_array_size(list), 1);
    must(test_home_run(&home, "ok-other", false, NULL, &error), &error); /* is served */
    remove_vm("ok-other");
    CHECK_INT(pthread_create(&stopping, NULL, stop_vm, (void *)"ok-late"), 0);
    check_state("ok-late", "unknown"); /* waits */
    CHECK_INT(kill(keeper, SIGCONT), 0);
    CHECK_INT(pthread_join(refreshing, NULL), 0);
    CHECK_INT(failures, 0);
    home_await_reconciled(home.opened, 60 * USEC_PER_SEC);
    CHECK_INT(pthread_join(stopping, NULL), 0);
    check_state("ok-late", "stopped");
    remove_vm("ok-late");
}

int main(void) {
    test_home_make(&home);
    RUN(test_running_is_taken_over);
    RUN(test_ended_meanwhile);
    RUN(test_keeper_killed_meanwhile);
    RUN(test_stale_pid);
    RUN(test_orphan);
    RUN(test_half_made);
    RUN(test_leftovers);
    RUN(test_stray_bases);
    RUN(test_starting_is_taken_over);
    RUN(test_rm_without_owner);
    RUN(test_rm_that_does_not_run);
    RUN(test_unknown);
    RUN(test_second_daemon);
    RUN(test_served_before_all_is_settled);
    test_home_remove(&home);
    return 0;
}
