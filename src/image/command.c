/* SPDX-License-Identifier: Apache-2.0 */
#include "image/command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

enum { LINE_MAX_BYTES = 1024, TOLD_MAX_BYTES = 240, COMPLAINTS_MAX = 4, WAIT_MSEC = 1000 };

typedef struct Stream {
    const ImageContext *context; /* borrowed */
    CommandLine line;
    void *data;
    char pending[LINE_MAX_BYTES];
    size_t used;
    char *last;                       /* owned: the last line */
    char *complaints[COMPLAINTS_MAX]; /* owned: the last ones, the newest first */
    bool error_seen;                  /* an "E:" came: what comes after it only tells less */
} Stream;

static void stream_free(Stream *stream) {
    free(stream->last);
    for (size_t i = 0; i < COMPLAINTS_MAX; i++)
        free(stream->complaints[i]);
}

/* "E: …" and "W: …" of apt and mmdebstrap, "Err:…" of apt's fetches, and the "program: …" of
 * everybody else. */
static bool is_complaint(const char *line) {
    size_t name = strspn(line, "abcdefghijklmnopqrstuvwxyz0123456789.-");
    return str_has_prefix(line, "E:") || str_has_prefix(line, "W:") ||
           str_has_prefix(line, "Err:") || (name > 0 && str_has_prefix(line + name, ": "));
}

static void keep_complaint(Stream *stream, const char *line) {
    if (stream->error_seen)
        return;
    stream->error_seen = str_has_prefix(line, "E:");
    free(stream->complaints[COMPLAINTS_MAX - 1]);
    memmove(stream->complaints + 1, stream->complaints,
            (COMPLAINTS_MAX - 1) * sizeof(stream->complaints[0]));
    stream->complaints[0] = strndup(line, TOLD_MAX_BYTES);
}

static void end_line(Stream *stream) {
    _cleanup_free_ char *clean = str_sanitize(stream->pending, stream->used);
    stream->used = 0;
    if (*clean == '\0')
        return;
    stream->line(stream->data, clean);
    if (is_complaint(clean))
        keep_complaint(stream, clean);
    free(stream->last);
    stream->last = TAKE_PTR(clean);
}

/* A line that is longer than the room is cut, not kept whole. */
static void add_bytes(Stream *stream, const char *data, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (data[i] == '\n' || data[i] == '\r')
            end_line(stream);
        else if (stream->used < sizeof(stream->pending))
            stream->pending[stream->used++] = data[i];
    }
}

/* Reads until all writers are gone, or the context is cancelled. */
static int read_lines(Stream *stream, int fd, Error *error) {
    char block[4096];
    for (;;) {
        int r = image_context_check(stream->context, error);
        if (r < 0)
            return r;
        struct pollfd fds[] = {{.fd = fd, .events = POLLIN},
                               {.fd = stream->context->cancel_fd, .events = POLLIN}};
        if (poll(fds, ARRAY_SIZE(fds), WAIT_MSEC) < 0 && errno != EINTR)
            return error_set_errno(error, errno, "cannot wait for a tool");
        if (!fds[0].revents)
            continue;
        ssize_t n = read(fd, block, sizeof(block));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set_errno(error, errno, "cannot read what a tool says");
        if (n == 0)
            return 0;
        add_bytes(stream, block, (size_t)n);
    }
}

/* Its complaints in their order, else its last line. Allocated. */
static char *what_it_said(const Stream *stream) {
    StrBuf said = {0};
    for (size_t i = COMPLAINTS_MAX; i-- > 0;)
        if (stream->complaints[i])
            strbuf_add_format(&said, "%s%s", said.size ? " | " : "", stream->complaints[i]);
    if (said.size == 0)
        strbuf_add_text(&said, stream->last ? stream->last : "it said nothing");
    return strbuf_steal(&said);
}

static int judge_status(const Stream *stream, const char *tool, int status, Error *error) {
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    _cleanup_free_ char *said = what_it_said(stream);
    if (strstr(said, "No space left"))
        return error_set(error, ERROR_NO_SPACE, ENOSPC, "%s failed: %s", tool, said);
    if (WIFSIGNALED(status))
        return error_set(error, ERROR_FAILED, EIO, "%s was killed by signal %d: %s", tool,
                         WTERMSIG(status), said);
    return error_set(error, ERROR_FAILED, EIO, "%s failed with status %d: %s", tool,
                     WEXITSTATUS(status), said);
}

static int wait_status(pid_t pid) {
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}

int command_run(const ImageContext *context, char *const *argv, CommandLine line, void *data,
                Error *error) {
    int pair[2];
    if (pipe2(pair, O_CLOEXEC) < 0)
        return error_set_errno(error, errno, "cannot make a pipe");
    _cleanup_close_ int reader = pair[0], writer = pair[1];
    SpawnFd fds[] = {{writer, 1}, {writer, 2}};
    SpawnOptions options = {.program = argv[0],
                            .argv = argv,
                            .fds = fds,
                            .n_fds = ARRAY_SIZE(fds),
                            .new_session = true,
                            .die_with_parent = true};
    pid_t pid;
    int r = spawn_process(&options, &pid, error);
    if (r < 0)
        return r;
    writer = fd_close(writer);
    _cleanup_(stream_free) Stream stream = {.context = context, .line = line, .data = data};
    r = read_lines(&stream, reader, error);
    if (r < 0)
        (void)kill(pid, SIGKILL);
    int status = wait_status(pid);
    end_line(&stream);
    return r < 0 ? r : judge_status(&stream, argv[0], status, error);
}
