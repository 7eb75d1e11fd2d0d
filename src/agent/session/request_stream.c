/* SPDX-License-Identifier: Apache-2.0 */
/* How it works: a stream ends when its process has been reaped and both outputs are closed.
 *
 * An output is closed at its end of file. A process that left a child behind which holds the pipe
 * open would keep the stream for ever; so when the process is reaped, the bytes that are in the
 * pipe at that moment are counted (out_left), delivered, and then the pipe is closed. All that the
 * process itself wrote is among them.
 *
 * Credit: in_credit falls with each DATA and rises with each WINDOW that we send, so `in` never
 * holds more than AGENT_WINDOW_BYTES. out_credit covers stdout and stderr together; without it the
 * pipes are not even polled, and the process blocks, as it would on a slow terminal.
 *
 * A TCP connection has no process. Each direction ends by itself: EOF of the keeper shuts the
 * socket down for writing, and the server's end closes out_fd. The stream ends with RESULT when
 * both have ended, or at once when the connection is reset or was never made. With its session it
 * is over, in a clone too: the source has it still.
 *
 * A detached stream (its session is over, as after a restore) goes on living, so that user code in
 * a fork does: its output is read and dropped without credit. */

#include "agent/session/request_stream.h"
#include "agent/base/notify.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "proto/agent.h"
#include "proto/frame.h"
#include "proto/tlv.h"

#define CHUNK_BYTES (32u * 1024u)
#define GRANT_BYTES (AGENT_WINDOW_BYTES / 4)
#define TTY_LEFT_BYTES (256u * 1024u) /* a terminal cannot tell how much is in it */
#define KILL_GRACE_USEC 2000000u

Stream *stream_new(uint16_t id, Channel *channel) {
    Stream *stream = malloc(sizeof(*stream));
    if (!stream)
        return NULL;
    *stream = (Stream){.channel = channel,
                       .id = id,
                       .in_fd = -1,
                       .out_fd = -1,
                       .err_fd = -1,
                       .status_fd = -1,
                       .in_credit = AGENT_WINDOW_BYTES,
                       .out_credit = AGENT_WINDOW_BYTES,
                       .in_slot = -1,
                       .out_slot = -1,
                       .err_slot = -1};
    return stream;
}

static void close_input(Stream *stream) {
    if (stream->is_socket && stream->in_fd >= 0)
        (void)shutdown(stream->in_fd, SHUT_WR); /* out_fd is the same socket */
    close_fd(&stream->in_fd);
    free(stream->in);
    stream->in = NULL;
    stream->in_start = stream->in_end = 0;
}

void stream_free(Stream *stream) {
    close_input(stream);
    close_fd(&stream->out_fd);
    close_fd(&stream->err_fd);
    close_fd(&stream->status_fd);
    free(stream->request);
    free(stream);
}

static void grant_all(Stream *stream) {
    uint32_t value = stream->in_consumed;
    uint8_t bytes[4] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16),
                        (uint8_t)(value >> 24)};
    channel_send(stream->channel, stream->id, FRAME_WINDOW, bytes, sizeof(bytes));
    stream->in_credit += value;
    stream->in_consumed = 0;
}

static void grant(Stream *stream, size_t size) {
    stream->in_consumed += (uint32_t)size;
    if (stream->in_consumed >= GRANT_BYTES && !stream->detached)
        grant_all(stream);
}

bool stream_gather(Stream *stream, size_t size) {
    stream->request = malloc(size);
    stream->request_size = size;
    return stream->request != NULL;
}

int stream_receive_request(Stream *stream, const uint8_t *data, size_t size) {
    if (size > stream->in_credit || size > stream->request_size - stream->request_got)
        return -EPROTO;
    stream->in_credit -= (uint32_t)size;
    memcpy(stream->request + stream->request_got, data, size);
    stream->request_got += size;
    grant(stream, size);
    if (stream->request_got < stream->request_size)
        return 0;
    if (stream->in_consumed > 0)
        grant_all(stream);
    return 1;
}

/* What went into the process's input; everything when there is none to take it. */
static size_t write_input(Stream *stream, const uint8_t *data, size_t size) {
    if (stream->in_fd < 0)
        return size;
    if (stream->connecting)
        return 0;
    ssize_t n = write(stream->in_fd, data, size);
    if (n >= 0)
        return (size_t)n;
    if (errno == EAGAIN || errno == EINTR)
        return 0;
    if (stream->is_socket)
        stream->failed = errno; /* what it said before can still be read */
    close_input(stream);        /* it does not read any more: the rest is dropped */
    return size;
}

static void end_input_if_done(Stream *stream) {
    static const char end_of_file = 4; /* VEOF: a terminal has no other way to say it */
    if (!stream->in_eof || stream->in_end > stream->in_start || stream->in_fd < 0 ||
        stream->connecting)
        return;
    if (stream->is_tty)
        (void)!write(stream->in_fd, &end_of_file, 1);
    close_input(stream);
}

bool stream_receive_data(Stream *stream, const uint8_t *data, size_t size) {
    if (size > stream->in_credit || stream->in_eof)
        return false;
    stream->in_credit -= (uint32_t)size;

    size_t taken = stream->in_end == stream->in_start ? write_input(stream, data, size) : 0;
    if (taken < size && !stream->in)
        stream->in = malloc(2 * AGENT_WINDOW_BYTES);
    if (taken < size && !stream->in)
        return false;
    if (taken < size) {
        if (stream->in_end + (size - taken) > 2 * AGENT_WINDOW_BYTES) {
            memmove(stream->in, stream->in + stream->in_start, stream->in_end - stream->in_start);
            stream->in_end -= stream->in_start;
            stream->in_start = 0;
        }
        memcpy(stream->in + stream->in_end, data + taken, size - taken);
        stream->in_end += size - taken;
    }
    grant(stream, taken);
    return true;
}

void stream_receive_eof(Stream *stream) {
    stream->in_eof = true;
    end_input_if_done(stream);
}

void stream_receive_window(Stream *stream, uint32_t size) {
    stream->out_credit += size;
}

static void signal_group(const Stream *stream, int number) {
    if (stream->reaped || stream->pid <= 1)
        return;
    if (kill(-stream->pid, number) < 0)
        (void)kill(stream->pid, number);
}

void stream_fail(Stream *stream, int error) {
    if (stream->failed == 0)
        stream->failed = error;
    close_input(stream);
    close_fd(&stream->out_fd);
}

void stream_cancel(Stream *stream) {
    stream_detach(stream);
    if (stream->is_socket) {
        stream_fail(stream, 0);
        return;
    }
    stream->reaped |= stream->request != NULL; /* there is no process yet */
    close_input(stream);
    if (!stream->finishes)
        signal_group(stream, stream->is_exec ? SIGHUP : SIGKILL);
    stream->kill_at_usec = now_usec() + KILL_GRACE_USEC;
}

void stream_detach(Stream *stream) {
    stream->detached = true;
    stream->in_eof = true;
    if (!stream->is_tty) /* a shell on a terminal would take it for a log-out */
        end_input_if_done(stream);
}

static int add_slot(struct pollfd *fds, size_t *n_fds, int fd, short events) {
    fds[*n_fds] = (struct pollfd){.fd = fd, .events = events};
    return (int)(*n_fds)++;
}

void stream_collect(Stream *stream, struct pollfd *fds, size_t *n_fds) {
    bool reads = stream->detached || (stream->out_credit > 0 && channel_has_room(stream->channel));
    stream->in_slot = stream->out_slot = stream->err_slot = -1;
    if (stream->in_fd >= 0 && stream->connecting)
        stream->in_slot = add_slot(fds, n_fds, stream->in_fd, POLLOUT | POLLIN);
    else if (stream->in_fd >= 0 && stream->in_end > stream->in_start)
        stream->in_slot = add_slot(fds, n_fds, stream->in_fd, POLLOUT);
    if (stream->out_fd >= 0 && reads && !stream->connecting)
        stream->out_slot = add_slot(fds, n_fds, stream->out_fd, POLLIN);
    if (stream->err_fd >= 0 && reads)
        stream->err_slot = add_slot(fds, n_fds, stream->err_fd, POLLIN);
}

static void pump_input(Stream *stream) {
    size_t size = MIN_OF(stream->in_end - stream->in_start, (size_t)CHUNK_BYTES);
    size_t taken = write_input(stream, stream->in + stream->in_start, size);
    if (stream->in_fd >= 0) {
        stream->in_start += taken;
        if (stream->in_start == stream->in_end) {
            free(stream->in);
            stream->in = NULL;
            stream->in_start = stream->in_end = 0;
        }
    }
    grant(stream, taken);
    end_input_if_done(stream);
}

static void close_output(Stream *stream, bool is_err) {
    close_fd(is_err ? &stream->err_fd : &stream->out_fd);
    if (stream->detached)
        return;
    channel_send(stream->channel, stream->id, is_err ? FRAME_EOF_ERR : FRAME_EOF, NULL, 0);
    if (stream->is_tty && !is_err)
        channel_send(stream->channel, stream->id, FRAME_EOF_ERR, NULL, 0);
}

static void pump_output(Stream *stream, bool is_err) {
    uint64_t *left = is_err ? &stream->err_left : &stream->out_left;
    uint64_t limit = CHUNK_BYTES;
    uint8_t dropped[4096], *space = dropped;
    if (stream->detached) {
        limit = sizeof(dropped);
    } else {
        limit = MIN_OF(limit, stream->out_credit);
        space = channel_reserve(stream->channel, limit);
    }
    if (stream->reaped)
        limit = MIN_OF(limit, *left);
    if (!space || (limit == 0 && !stream->reaped))
        return;

    ssize_t n = limit == 0 ? 0 : read(is_err ? stream->err_fd : stream->out_fd, space, limit);
    if (n < 0 && errno == EINTR)
        return;
    if (n < 0 && errno == EAGAIN && !stream->reaped)
        return;
    if (n > 0 && !stream->detached) {
        stream->out_credit -= (uint64_t)n;
        channel_commit(stream->channel, stream->id, is_err ? FRAME_DATA_ERR : FRAME_DATA,
                       (size_t)n);
    }
    if (n > 0 && stream->reaped)
        *left -= (uint64_t)n;
    if (n < 0 && stream->is_socket)
        stream_fail(stream, errno);
    else if (n <= 0 || (stream->reaped && *left == 0)) /* EIO is how a terminal says end of file */
        close_output(stream, is_err);
}

static void go_on_connecting(Stream *stream) {
    int r = stream->connecting(stream);
    if (r == -EINPROGRESS)
        return;
    if (r < 0) {
        stream_fail(stream, -r);
        return;
    }
    stream->connecting = NULL;
    end_input_if_done(stream);
}

void stream_pump(Stream *stream, const struct pollfd *fds) {
    if (stream->connecting) {
        if (stream->in_slot >= 0 && fds[stream->in_slot].revents && stream->in_fd >= 0)
            go_on_connecting(stream);
        return;
    }
    if (stream->in_slot >= 0 && fds[stream->in_slot].revents && stream->in_fd >= 0 &&
        stream->in_end > stream->in_start)
        pump_input(stream);
    if (stream->out_slot >= 0 && fds[stream->out_slot].revents)
        pump_output(stream, false);
    if (stream->err_slot >= 0 && fds[stream->err_slot].revents)
        pump_output(stream, true);
}

static uint64_t bytes_in(int fd) {
    int n = 0;
    return fd >= 0 && ioctl(fd, FIONREAD, &n) == 0 && n > 0 ? (uint64_t)n : 0;
}

int stream_exit_code(int status) {
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

void stream_reap(Stream *stream, int status) {
    stream->reaped = true;
    stream->exit_code = stream_exit_code(status);
    stream->out_left = stream->is_tty ? TTY_LEFT_BYTES : bytes_in(stream->out_fd);
    stream->err_left = bytes_in(stream->err_fd);
    close_input(stream);
}

static void send_exit(const Stream *stream) {
    uint8_t buffer[32];
    TlvWriter writer;
    tlv_start(&writer, buffer, sizeof(buffer));
    tlv_add_u64(&writer, TAG_EXIT_CODE, (uint64_t)stream->exit_code);
    channel_send(stream->channel, stream->id, FRAME_EXIT, buffer, writer.size);
}

void stream_send_result(Channel *channel, uint16_t id, const Result *result) {
    uint8_t buffer[sizeof(result->text) + sizeof(result->note) + 64];
    TlvWriter writer;
    tlv_start(&writer, buffer, sizeof(buffer));
    tlv_add_u64(&writer, TAG_ERRNO, (uint64_t)result->error);
    if (result->text[0] != '\0')
        tlv_add_text(&writer, TAG_TEXT, result->text);
    if (result->note[0] != '\0')
        tlv_add_text(&writer, TAG_NOTE, result->note);
    if (result->value != 0)
        tlv_add_u64(&writer, TAG_VALUE, result->value);
    if (result->exclusive)
        tlv_add_u64(&writer, TAG_EXCLUSIVE, 1);
    if (result->ssh_key)
        tlv_add_u64(&writer, TAG_SSH_KEYS, 1);
    if (result->itself)
        notify_ready();
    channel_send(channel, id, FRAME_RESULT, buffer, writer.size);
}

static void send_result(const Stream *stream) {
    Result result = {0};
    /* The worker wrote its result before it ended, or was killed and wrote none. */
    if (read(stream->status_fd, &result, sizeof(result)) != (ssize_t)sizeof(result)) {
        result = (Result){.error = EIO};
        (void)snprintf(result.text, sizeof(result.text), "the agent's worker ended with status %d",
                       stream->exit_code);
    }
    result.text[sizeof(result.text) - 1] = '\0';
    stream_send_result(stream->channel, stream->id, &result);
}

/* Output that nothing will add to any more: its end is known without polling. */
static void close_drained(Stream *stream) {
    if (stream->is_tty)
        return;
    if (stream->out_fd >= 0 && stream->out_left == 0)
        close_output(stream, false);
    if (stream->err_fd >= 0 && stream->err_left == 0)
        close_output(stream, true);
}

/* A terminal that a background process keeps open is never at its end, only empty. */
static void close_quiet_terminal(Stream *stream) {
    if (stream->is_tty && stream->out_fd >= 0 &&
        (stream->detached || (stream->out_credit > 0 && channel_has_room(stream->channel))))
        pump_output(stream, false);
}

static bool finish_socket(const Stream *stream) {
    Result result = {0};
    if (stream->in_fd >= 0 || stream->out_fd >= 0)
        return false;
    if (stream->failed && stream->connecting)
        result_fail(&result, stream->failed, "cannot connect to port %u in the guest",
                    stream->port);
    else if (stream->failed)
        result_fail(&result, stream->failed, "the connection to port %u in the guest broke",
                    stream->port);
    if (!stream->detached)
        stream_send_result(stream->channel, stream->id, &result);
    return true;
}

bool stream_finish(Stream *stream) {
    if (stream->is_socket)
        return finish_socket(stream);
    if (!stream->reaped) {
        if (stream->kill_at_usec != 0 && now_usec() >= stream->kill_at_usec) {
            signal_group(stream, SIGKILL);
            stream->kill_at_usec = 0;
        }
        return false;
    }
    close_drained(stream);
    close_quiet_terminal(stream);
    if (stream->out_fd >= 0 || stream->err_fd >= 0)
        return false;
    if (!stream->detached && stream->is_exec)
        send_exit(stream);
    else if (!stream->detached)
        send_result(stream);
    return true;
}
