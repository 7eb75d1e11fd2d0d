/* SPDX-License-Identifier: Apache-2.0 */
/* The agent is single-threaded and its memory is small, so a plain fork is safe and quick here. The
 * child keeps only its own pipe ends, and never returns. */

#include "agent/session/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>

#include "agent/freeze/exclusive_cpu.h"
#include "agent/session/exec.h"

#define PIPE_BYTES (256 * 1024)

static void __attribute__((noreturn)) run_child(int *ends, WorkerFunction function, void *data) {
    Result result = {0};
    sigset_t none;
    keep_fds(ends, 3);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)setpgid(0, 0);
    exclusive_cpu_leave();
    exec_reset_oom_score();
    function(data, ends[0], ends[1], &result);
    (void)write_all(ends[2], &result, sizeof(result));
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
    stream->finishes = takes_input;
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
