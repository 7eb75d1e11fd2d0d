/* SPDX-License-Identifier: Apache-2.0 */
#include "base/process/spawn_run.h"

/* Running a tool to its end: its stdout and stderr are pipes, read until its pidfd says that it
 * exited, so that neither a tool that writes much nor a child that it leaves behind can hold us.
 * Whatever ends the wait early kills it and reaps it. */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/process/spawn_run.h"
#include "base/str.h"

#define OUT_MAX_BYTES (1 * MIB)
#define ERR_MAX_BYTES (16 * KIB)
#define PIPE_BYTES (64 * KIB) /* pipe(7) */

void spawn_output_free(SpawnOutput *output) {
    free(output->out);
    free(output->err);
    *output = (SpawnOutput){0};
}

/* A tool that spawn_run runs. */
typedef struct Tool {
    const SpawnOptions *options; /* borrowed */
    pid_t pid;
    int pid_fd;      /* owned */
    int pipes[2];    /* owned: the read ends of its stdout and stderr; -1 after their end */
    StrBuf texts[2]; /* owned: what came from them */
} Tool;

static void tool_free(Tool *tool) {
    fd_close(tool->pid_fd);
    for (int i = 0; i < 2; i++) {
        fd_close(tool->pipes[i]);
        strbuf_free(&tool->texts[i]);
    }
}

/* Starts it with `ends`, the write ends of the pipes, as stdout and stderr, unless the caller gave
 * it others. */
static int tool_spawn(Tool *tool, const int ends[2], Error *error) {
    SpawnOptions options = *tool->options;
    _cleanup_free_ SpawnFd *fds = calloc(options.n_fds + 2, sizeof(*fds));
    if (!fds)
        abort();
    for (size_t i = 0; i < options.n_fds; i++)
        fds[i] = options.fds[i];
    options.fds = fds;
    for (int i = 0; i < 2; i++)
        if (!spawn_names_target(tool->options, i + 1))
            fds[options.n_fds++] = (SpawnFd){.from = ends[i], .to = i + 1};
    return spawn_process(&options, &tool->pid, error);
}

static int make_pipe(int *read_end, int *write_end) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    *read_end = ends[0];
    *write_end = ends[1];
    return fd_set_nonblocking(ends[0], true);
}

static int tool_start(Tool *tool, Error *error) {
    _cleanup_close_ int out = -1;
    _cleanup_close_ int err = -1;
    int r = make_pipe(&tool->pipes[0], &out);
    if (r == 0)
        r = make_pipe(&tool->pipes[1], &err);
    if (r < 0)
        return error_set_errno(error, -r, "cannot make a pipe");
    r = tool_spawn(tool, (int[2]){out, err}, error);
    if (r < 0)
        return r;
    tool->pid_fd = pidfd_open(tool->pid, 0);
    if (tool->pid_fd >= 0)
        return 0;
    r = -errno;
    (void)kill(tool->pid, SIGKILL);
    spawn_reap(tool->pid, NULL);
    return error_set_errno(error, -r, "cannot watch %s", tool->options->program);
}

static void kill_tool(const Tool *tool) {
    if (tool->options->new_session)
        (void)kill(-tool->pid, SIGKILL);
    (void)pidfd_send_signal(tool->pid_fd, SIGKILL, NULL, 0);
    spawn_reap(tool->pid, NULL);
}

/* Of stdout the start is kept, of stderr the end, since there the reason of a failure is. */
static void keep_text(Tool *tool, int i, const char *data, size_t size) {
    StrBuf *text = &tool->texts[i];
    if (i == 0)
        size = MIN_OF(size, OUT_MAX_BYTES - text->size);
    strbuf_add(text, data, size);
    if (i == 1 && text->size > ERR_MAX_BYTES) {
        memmove(text->data, text->data + text->size - ERR_MAX_BYTES, ERR_MAX_BYTES + 1);
        text->size = ERR_MAX_BYTES;
    }
}

/* Reads what the pipe holds now, but no more than a pipe can hold: a tool that writes as fast as
 * this reads must not keep us from the deadline. At its end the pipe is closed. */
static void read_pipe(Tool *tool, int i) {
    char data[8192];
    for (size_t total = 0; tool->pipes[i] >= 0 && total < PIPE_BYTES;) {
        ssize_t got = read(tool->pipes[i], data, sizeof(data));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            return;
        if (got <= 0) {
            tool->pipes[i] = fd_close(tool->pipes[i]);
            return;
        }
        keep_text(tool, i, data, (size_t)got);
        total += (size_t)got;
    }
}

/* Reads its output until it exits. Its pipes may stay open in a child of its own: they are read to
 * what they hold by then. 0, or why it must be killed. */
static int tool_watch(Tool *tool, uint64_t deadline_usec, int cancel_fd) {
    for (;;) {
        struct pollfd items[] = {{.fd = tool->pid_fd, .events = POLLIN},
                                 {.fd = cancel_fd, .events = POLLIN | POLLHUP | POLLRDHUP},
                                 {.fd = tool->pipes[0], .events = POLLIN},
                                 {.fd = tool->pipes[1], .events = POLLIN}};
        int n = poll(items, ARRAY_SIZE(items), clock_poll_timeout(deadline_usec));
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n < 0)
            continue;
        read_pipe(tool, 0);
        read_pipe(tool, 1);
        if (items[0].revents)
            return 0;
        if (items[1].revents)
            return -ECANCELED;
        if (clock_poll_timeout(deadline_usec) == 0)
            return -ETIMEDOUT;
    }
}

static int killed_error(const Tool *tool, int r, uint64_t timeout_usec, Error *error) {
    const char *program = tool->options->program;
    if (r == -ECANCELED)
        return error_set(error, ERROR_CANCELLED, 0, "%s was stopped", program);
    if (r != -ETIMEDOUT)
        return error_set_errno(error, -r, "cannot wait for %s", program);
    _cleanup_free_ char *bound = format_duration(timeout_usec);
    return error_set(error, ERROR_TIMEOUT, 0, "%s did not end within %s", program, bound);
}

/* The last line that is not empty. */
static char *last_line(const StrBuf *text) {
    size_t end = text->size;
    while (end > 0 && strchr("\r\n\t ", text->data[end - 1]))
        end--;
    size_t start = end;
    while (start > 0 && text->data[start - 1] != '\n')
        start--;
    return str_sanitize(text->data ? text->data + start : "", end - start);
}

static int status_error(const Tool *tool, int status, Error *error) {
    const char *program = tool->options->program;
    _cleanup_free_ char *line = last_line(&tool->texts[1]);
    const char *colon = *line ? ": " : "";
    if (WIFSIGNALED(status))
        return error_set(error, ERROR_FAILED, 0, "%s was killed by signal %d%s%s", program,
                         WTERMSIG(status), colon, line);
    if (WEXITSTATUS(status) != 0)
        return error_set(error, ERROR_FAILED, 0, "%s failed with status %d%s%s", program,
                         WEXITSTATUS(status), colon, line);
    return 0;
}

static void fill_output(Tool *tool, int status, SpawnOutput *output) {
    size_t out_size = tool->texts[0].size, err_size = tool->texts[1].size;
    *output = (SpawnOutput){.status = status,
                            .out = strbuf_steal(&tool->texts[0]),
                            .out_size = out_size,
                            .err = strbuf_steal(&tool->texts[1]),
                            .err_size = err_size};
}

int spawn_run(const SpawnOptions *options, uint64_t timeout_usec, int cancel_fd,
              SpawnOutput *output, Error *error) {
    _cleanup_(tool_free) Tool tool = {.options = options, .pid_fd = -1, .pipes = {-1, -1}};
    uint64_t deadline;
    if (__builtin_add_overflow(clock_monotonic_usec(), timeout_usec, &deadline))
        deadline = UINT64_MAX;
    int r = tool_start(&tool, error);
    if (r < 0)
        return r;
    r = tool_watch(&tool, deadline, cancel_fd);
    if (r < 0) {
        kill_tool(&tool);
        return killed_error(&tool, r, timeout_usec, error);
    }
    int status = 0;
    spawn_reap(tool.pid, &status);
    r = status_error(&tool, status, error);
    if (output)
        fill_output(&tool, status, output);
    return r;
}
