/* SPDX-License-Identifier: Apache-2.0 */
/* Starting the daemon:
 *
 *     lock locks/daemon-start.lock ─▶ look again ─▶ spawn rametd --home H --socket S --ready-fd N
 * ─▶ wait until it writes a byte to N (it listens) or closes it (it failed) ─▶ connect
 *
 * The lock makes callers that come at the same time wait for the first one; they then find the
 * daemon when they look again. The daemon gets a session of its own, so a Ctrl-C here does not
 * reach it. */

#include "cli/daemon_start.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/lock.h"
#include "base/path.h"
#include "base/process/spawn.h"
#include "base/str.h"
#include "proto/api/http_client.h"
#include "proto/paths.h"

#define START_BOUND_USEC (60 * USEC_PER_SEC)
#define READY_FD 3
#define LOG_TAIL_BYTES 1000

static char *daemon_log_path(const char *home) {
    return path_join(home, "rametd.log");
}

/* The log's end since `from`, on one line. The caller owns it. */
static char *log_tail(int log_fd, off_t from) {
    struct stat st;
    _cleanup_free_ char *text = calloc(1, LOG_TAIL_BYTES + 1);
    off_t start;
    ssize_t n;
    if (!text || fstat(log_fd, &st) < 0)
        return str_copy("");
    start = MAX_OF(from, st.st_size - LOG_TAIL_BYTES);
    n = fd_pread_full(log_fd, text, LOG_TAIL_BYTES, (uint64_t)start);
    while (n > 0 && text[n - 1] == '\n')
        n--;
    return str_format("%.*s", n > 0 ? (int)n : 0, text);
}

/* Waits for the byte. 0: it listens; else what happened. */
static int wait_ready(int ready_fd, uint64_t deadline_usec, Error *error) {
    struct pollfd poll_fd = {.fd = ready_fd, .events = POLLIN};
    char byte;
    int r;
    do {
        r = poll(&poll_fd, 1, clock_poll_timeout(deadline_usec));
    } while (r < 0 && errno == EINTR);
    if (r == 0)
        return error_set(error, ERROR_TIMEOUT, ETIMEDOUT,
                         "the daemon did not start to listen within 60 s");
    if (r < 0)
        return error_set_errno(error, errno, "cannot wait for the daemon");
    return read(ready_fd, &byte, 1) == 1
               ? 0
               : error_set(error, ERROR_FAILED, EIO, "the daemon ended at its start");
}

static int spawn_daemon(const char *home, const char *socket_path, int log_fd, int ready_fd,
                        Error *error) {
    _cleanup_free_ char *program = path_find_sibling("rametd");
    char *argv[] = {(char *)"rametd",    (char *)"--home",     (char *)home, (char *)"--socket",
                    (char *)socket_path, (char *)"--ready-fd", (char *)"3",  NULL};
    SpawnFd fds[] = {{log_fd, STDERR_FILENO}, {ready_fd, READY_FD}};
    SpawnOptions options = {.program = program,
                            .argv = argv,
                            .fds = fds,
                            .n_fds = ARRAY_SIZE(fds),
                            .new_session = true};
    pid_t pid;
    if (!program)
        return error_set(error, ERROR_FAILED, ENOENT,
                         "cannot find rametd beside this program, nor in " RAMET_LIBEXECDIR
                         ", nor in " RAMET_BINDIR);
    (void)unsetenv("NOTIFY_SOCKET"); /* it is not part of the service that we may be of */
    return spawn_process(&options, &pid, error);
}

/* Spawns it and waits until it listens. Called with the lock held. */
static int start_and_wait(const char *home, const char *socket_path, uint64_t deadline_usec,
                          Error *error) {
    _cleanup_free_ char *log_path = daemon_log_path(home), *tail = NULL;
    _cleanup_close_ int log_fd = -1, reader = -1, writer = -1;
    int r, ends[2];
    off_t log_start;
    log_fd = open(log_path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (log_fd < 0)
        return error_set_errno(error, errno, "cannot open %s", log_path);
    log_start = lseek(log_fd, 0, SEEK_END);
    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_set_errno(error, errno, "cannot start the daemon");
    reader = ends[0];
    writer = ends[1];
    r = spawn_daemon(home, socket_path, log_fd, writer, error);
    if (r < 0)
        return r;
    writer = fd_close(writer);
    r = wait_ready(reader, deadline_usec, error);
    if (r < 0) {
        tail = log_tail(log_fd, log_start);
        if (tail[0])
            error_set_hint(error, "its log says: %s", tail);
        else
            error_set_hint(error, "see %s", log_path);
    }
    return r;
}

int daemon_start(const char *socket_path, int *fd, Error *error) {
    _cleanup_free_ char *home = NULL, *locks = NULL;
    _cleanup_close_ int lock = -1;
    _cleanup_error_ Error ignored = ERROR_INIT;
    uint64_t deadline = clock_monotonic_usec() + START_BOUND_USEC;
    int r = paths_home(&home, error);
    if (r < 0)
        return r;
    locks = path_join(home, "locks");
    r = path_make_folders(locks, 0755);
    if (r < 0)
        return error_set_errno(error, -r, "cannot make %s", locks);
    r = lock_acquire(locks, "daemon-start", deadline, -1, &lock, error);
    if (r < 0)
        return error_add_context(error, "cannot start the daemon");
    if (http_connect(socket_path, fd, &ignored) == 0)
        return 0;
    r = start_and_wait(home, socket_path, deadline, error);
    if (r == -EIO && http_connect(socket_path, fd, &ignored) == 0) {
        error_clear(error); /* somebody else's daemon was faster */
        return 0;
    }
    if (r < 0)
        return error_add_context(error, "cannot start the daemon");
    return http_connect(socket_path, fd, error);
}
