/* SPDX-License-Identifier: Apache-2.0 */
/* The agent is single-threaded and its memory is small, so a plain fork is safe and quick here. The
 * child keeps only its own pipe ends, and never returns. */

#include "agent/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>

#include "agent/vigil.h"

#define PIPE_BYTES (256 * 1024)

/* Moves the descriptor to a number of its own above the standard ones. */
static int keep_fd(int fd, int number) {
    if (fd < 0)
        return -1;
    return dup3(fd, number, O_CLOEXEC) < 0 ? -1 : number;
}

static void __attribute__((noreturn))
run_child(const int *ends, WorkerFunction function, void *data) {
    Result result = {0};
    sigset_t none;
    /* High numbers first, so that no dup3 below overwrites an end that is still needed. */
    int high[3];

    for (int i = 0; i < 3; i++)
        high[i] = ends[i] < 0 ? -1 : fcntl(ends[i], F_DUPFD_CLOEXEC, 10);
    int in = keep_fd(high[0], 3), out = keep_fd(high[1], 4), status = keep_fd(high[2], 5);

    if (syscall(SYS_close_range, 6u, ~0u, 0) < 0)
        for (int fd = 6; fd < 4096; fd++) /* before Linux 5.9 */
            (void)close(fd);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)setpgid(0, 0);
    vigil_leave();
    function(data, in, out, &result);
    (void)write_all(status, &result, sizeof(result));
    _exit(0);
}

static int make_pipe(int *reader, int *writer) {
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) < 0)
        return -errno;
    (void)fcntl(fds[0], F_SETPIPE_SZ, PIPE_BYTES); /* only for speed */
    *reader = fds[0];
    *writer = fds[1];
    return 0;
}

int worker_start(Stream *stream, bool takes_input, bool gives_output, WorkerFunction function,
                 void *data) {
    int ends[3] = {-1, -1, -1}; /* the child's: in, out, status */
    int r = make_pipe(&stream->status_fd, &ends[2]);

    if (r == 0 && takes_input)
        r = make_pipe(&ends[0], &stream->in_fd);
    if (r == 0 && gives_output)
        r = make_pipe(&stream->out_fd, &ends[1]);
    if (r == 0 && takes_input)
        r = set_nonblocking(stream->in_fd);
    if (r == 0 && gives_output)
        r = set_nonblocking(stream->out_fd);
    if (r == 0) {
        pid_t pid = fork();

        if (pid == 0)
            run_child(ends, function, data);
        if (pid < 0)
            r = -errno;
        else
            stream->pid = pid;
    }
    for (int i = 0; i < 3; i++)
        close_fd(&ends[i]);
    return r;
}
