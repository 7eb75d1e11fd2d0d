/* SPDX-License-Identifier: Apache-2.0 */
#include "base/process/spawn_run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"
#include "check.h"

#define BOUND (60 * USEC_PER_SEC)

/* Runs `script` with sh to its end. */
static int run_shell(const char *script, SpawnOutput *output, Error *error) {
    const char *argv[] = {"sh", "-c", script, NULL};
    return spawn_run(&(SpawnOptions){.program = "sh", .argv = (char **)argv}, BOUND, -1, output,
                     error);
}

static char *shell_output(const char *script) {
    SpawnOutput output = {0};
    CHECK_INT(run_shell(script, &output, NULL), 0);
    char *out = TAKE_PTR(output.out);
    spawn_output_free(&output);
    return out;
}

static void output_is_captured(void) {
    _cleanup_(spawn_output_free) SpawnOutput output = {0};
    CHECK_INT(run_shell("echo out; echo err >&2; cat", &output, NULL), 0);
    CHECK_STR(output.out, "out\n");
    CHECK_STR(output.err, "err\n");
    CHECK_INT(output.out_size, 4);
    CHECK_INT(output.status, 0);
}

static void much_output_is_bounded(void) {
    _cleanup_(spawn_output_free) SpawnOutput output = {0};
    CHECK_INT(run_shell("head -c 3000000 /dev/zero; head -c 100000 /dev/zero >&2; echo end >&2",
                        &output, NULL),
              0);
    CHECK_INT(output.out_size, MIB);
    CHECK_INT(output.err_size, 16 * KIB);
    CHECK_STR(output.err + output.err_size - 4, "end\n");
}

static void failure_tells_the_last_line(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_(spawn_output_free) SpawnOutput output = {0};
    CHECK(run_shell("echo first >&2; printf 'it\\033 broke\\n\\n' >&2; exit 3", &output, &error) <
          0);
    CHECK_STR(error.message, "sh failed with status 3: it? broke");
    CHECK_INT(WEXITSTATUS(output.status), 3);
    CHECK(run_shell("exit 4", NULL, &error) < 0);
    CHECK_STR(error.message, "sh failed with status 4");
    CHECK(run_shell("kill -9 $$", NULL, &error) < 0);
    CHECK_STR(error.message, "sh was killed by signal 9");
}

static void start_failures(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    const char *argv[] = {"x", NULL};
    pid_t pid = -1;
    SpawnOptions missing = {.program = "no-such-program", .argv = (char **)argv};
    CHECK_INT(spawn_process(&missing, &pid, &error), -ENOENT);
    CHECK_INT(error.kind, ERROR_NOT_FOUND);
    SpawnFd bad = {.from = 9999, .to = 3};
    SpawnOptions bad_fd = {.program = "true", .argv = (char **)argv, .fds = &bad, .n_fds = 1};
    CHECK_INT(spawn_process(&bad_fd, &pid, &error), -EBADF);
    CHECK_STR(error.message,
              "cannot start true: cannot duplicate a descriptor: Bad file descriptor");
    CHECK_INT(pid, -1);
    CHECK_INT(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
}

static int memfd_with(const char *text) {
    int fd = memfd_create("x", 0); /* on purpose not O_CLOEXEC */
    CHECK_INT(fd_write_full(fd, text, strlen(text)), 0);
    CHECK_INT(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

/* The targets are the other's numbers here, so moves made one by one would lose one. */
static void descriptors_are_exactly_those_given(void) {
    int a = memfd_with("A"), b = memfd_with("B"), leaked = memfd_with("C"), last = leaked + 5;
    SpawnFd fds[] = {{a, b}, {b, a}, {-1, last}};
    _cleanup_free_ char *script =
        str_format("cd /proc/$$/fd; cat %d %d %d; echo; ls -v", a, b, last);
    const char *argv[] = {"sh", "-c", script, NULL};
    SpawnOptions options = {.program = "sh", .argv = (char **)argv, .fds = fds, .n_fds = 3};
    _cleanup_(spawn_output_free) SpawnOutput output = {0};
    CHECK_INT(spawn_run(&options, BOUND, -1, &output, NULL), 0);
    _cleanup_free_ char *expected = str_format("BA\n0\n1\n2\n%d\n%d\n%d\n", a, b, last);
    CHECK_STR(output.out, expected);
    fd_close(a);
    fd_close(b);
    fd_close(leaked);
}

static void signals_are_reset(void) {
    sigset_t blocked, old;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    signal(SIGPIPE, SIG_IGN);
    sigprocmask(SIG_BLOCK, &blocked, &old);
    _cleanup_free_ char *out = shell_output("grep -E '^Sig(Blk|Ign)' /proc/self/status");
    CHECK_STR(out, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
    sigset_t now;
    sigprocmask(SIG_SETMASK, &old, &now);
    CHECK(sigismember(&now, SIGUSR1)); /* and ours is as it was */
    CHECK(signal(SIGPIPE, SIG_DFL) == SIG_IGN);
}

static void environment_session_and_priority(void) {
    const char *argv[] = {
        "sh", "-c", "echo $X; cut -d' ' -f6 /proc/$$/stat; echo $$; cut -d' ' -f19 /proc/$$/stat",
        NULL};
    const char *environment[] = {"X=17", "PATH=/usr/bin:/bin", NULL};
    SpawnOptions options = {.program = "sh",
                            .argv = (char **)argv,
                            .environment = (char **)environment,
                            .new_session = true,
                            .die_with_parent = true,
                            .nice = 3};
    _cleanup_(spawn_output_free) SpawnOutput output = {0};
    CHECK_INT(spawn_run(&options, BOUND, -1, &output, NULL), 0);
    char *rest;
    CHECK_INT(strtol(output.out, &rest, 10), 17);
    long session = strtol(rest, &rest, 10), pid = strtol(rest, &rest, 10);
    CHECK_INT(session, pid);
    CHECK_INT(strtol(rest, NULL, 10), nice(0) + 3);
}

static void time_is_bounded(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    const char *argv[] = {"sh", "-c", "exec cat /dev/zero",
                          NULL}; /* never ends, and writes all along */
    SpawnOptions options = {.program = "sh", .argv = (char **)argv};
    CHECK_INT(spawn_run(&options, 20 * USEC_PER_MSEC, -1, NULL, &error), -ETIMEDOUT);
    CHECK_INT(error.kind, ERROR_TIMEOUT);
    CHECK_STR(error.message, "sh did not end within 20 ms");
    CHECK_INT(waitpid(-1, NULL, WNOHANG), -1);
}

static void cancel_kills(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    const char *argv[] = {"sleep", "1000", NULL};
    SpawnOptions options = {.program = "sleep", .argv = (char **)argv, .new_session = true};
    _cleanup_close_ int event = eventfd(1, EFD_CLOEXEC);
    CHECK_INT(spawn_run(&options, UINT64_MAX, event, NULL, &error), -ECANCELED);
    CHECK_INT(error.kind, ERROR_CANCELLED);
    int pair[2];
    CHECK_INT(pipe2(pair, O_CLOEXEC), 0);
    fd_close(pair[1]);
    CHECK_INT(spawn_run(&options, UINT64_MAX, pair[0], NULL, &error), -ECANCELED);
    fd_close(pair[0]);
    CHECK_INT(waitpid(-1, NULL, WNOHANG), -1);
}

/* A child that keeps the pipes open does not keep us waiting. */
static void grandchild_is_not_awaited(void) {
    _cleanup_free_ char *out = shell_output("sleep 1000 & echo $!");
    CHECK_INT(kill((pid_t)strtol(out, NULL, 10), SIGKILL), 0);
}

static pid_t start_sleeper(bool die_with_parent) {
    const char *argv[] = {"sleep", "1000", NULL};
    SpawnOptions options = {
        .program = "sleep", .argv = (char **)argv, .die_with_parent = die_with_parent};
    pid_t pid = -1;
    CHECK_INT(spawn_process(&options, &pid, NULL), 0);
    return pid;
}

static void identity_is_of_one_process(void) {
    pid_t pid = start_sleeper(false);
    ProcessIdentity identity;
    CHECK_INT(process_identify(pid, &identity), 0);
    CHECK_INT(identity.pid, pid);
    CHECK(identity.start_ticks > 0);
    ProcessIdentity other = {.pid = pid, .start_ticks = identity.start_ticks + 1};
    CHECK_INT(process_open(&other), -ESRCH);
    CHECK_INT(process_signal(&other, SIGKILL), -ESRCH);
    CHECK_INT(process_wait_gone(&other, UINT64_MAX), 0);
    CHECK_INT(process_wait_gone(&identity, clock_monotonic_usec() + 2000), -ETIMEDOUT);
    CHECK_INT(process_signal(&identity, SIGKILL), 0);
    CHECK_INT(process_wait_gone(&identity, UINT64_MAX), 0);
    CHECK_INT(process_signal(&identity, SIGKILL), -ESRCH); /* not yet reaped, but gone */
    CHECK_INT(waitpid(pid, NULL, 0), pid);
    CHECK_INT(process_identify(pid, &identity), -ESRCH);
    CHECK_INT(process_open(&(ProcessIdentity){0}), -ESRCH);
}

static void *tell_number(void *data) {
    int *socket = data;
    pid_t number = gettid();
    CHECK_INT(write(socket[1], &number, sizeof(number)), (ssize_t)sizeof(number));
    CHECK_INT(read(socket[1], &number, 1), 1); /* stays until it is told */
    return NULL;
}

/* A process that ended long ago may be remembered by a number that a thread has now. */
static void number_of_a_thread_is_no_process(void) {
    ProcessIdentity identity = {0};
    int ends[2];
    pthread_t thread;
    CHECK_INT(fd_socketpair(SOCK_STREAM, ends), 0);
    CHECK_INT(pthread_create(&thread, NULL, tell_number, ends), 0);
    CHECK_INT(read(ends[0], &identity.pid, sizeof(identity.pid)), (ssize_t)sizeof(identity.pid));
    identity.start_ticks = 1;
    CHECK_INT(process_open(&identity), -ESRCH);
    CHECK_INT(process_signal(&identity, SIGKILL), -ESRCH);
    CHECK_INT(process_wait_gone(&identity, UINT64_MAX), 0);
    CHECK_INT(write(ends[0], "", 1), 1);
    CHECK_INT(pthread_join(thread, NULL), 0);
    (void)fd_close(ends[0]);
    (void)fd_close(ends[1]);
}

static void identity_of_an_odd_name(void) {
    ProcessIdentity plain, odd;
    CHECK_INT(process_identify(getpid(), &plain), 0);
    CHECK_INT(prctl(PR_SET_NAME, "a) R 1 (b) 2 3"), 0);
    CHECK_INT(process_identify(getpid(), &odd), 0);
    CHECK_INT(odd.start_ticks, plain.start_ticks);
}

/* Runs in a child: starts a sleeper that shall die with it, tells who, and ends. */
static void middle_process(int pipe_fd) {
    ProcessIdentity sleeper;
    CHECK_INT(process_identify(start_sleeper(true), &sleeper), 0);
    CHECK_INT(fd_write_full(pipe_fd, &sleeper, sizeof(sleeper)), 0);
    _exit(0);
}

static void child_dies_with_its_parent(void) {
    int ends[2];
    CHECK_INT(pipe2(ends, O_CLOEXEC), 0);
    pid_t middle = fork();
    if (middle == 0)
        middle_process(ends[1]);
    fd_close(ends[1]);
    ProcessIdentity sleeper;
    CHECK_INT(fd_read_full(ends[0], &sleeper, sizeof(sleeper)), sizeof(sleeper));
    CHECK_INT(process_wait_gone(&sleeper, clock_monotonic_usec() + BOUND), 0);
    CHECK_INT(waitpid(middle, NULL, 0), middle);
    fd_close(ends[0]);
}

int main(void) {
    RUN(output_is_captured);
    RUN(much_output_is_bounded);
    RUN(failure_tells_the_last_line);
    if (!VFORK_IS_FORK)
        RUN(start_failures);
    RUN(descriptors_are_exactly_those_given);
    RUN(signals_are_reset);
    RUN(environment_session_and_priority);
    RUN(time_is_bounded);
    RUN(cancel_kills);
    RUN(grandchild_is_not_awaited);
    RUN(identity_is_of_one_process);
    RUN(identity_of_an_odd_name);
    RUN(number_of_a_thread_is_no_process);
    RUN(child_dies_with_its_parent);
    return 0;
}
