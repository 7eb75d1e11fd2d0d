/* SPDX-License-Identifier: Apache-2.0 */
/* One poll(2) loop over the socket, our input, our outputs and our signals.
 *
 * - What goes to the other end waits in `outgoing`. Input is read only while that is empty, so at
 *   most one frame of it is there; signals and sizes are small and are added as they come.
 * - What came from the other end waits in `sink`, one frame at most; no more frames are taken while
 *   it is there. So a slow reader of our output holds back the sender, and yet signals get through.
 * - Pipes are written PIPE_BUF bytes at a time: that much does not block when poll says it is
 *   writable, and the descriptor stays blocking for others who share it.
 *
 * It ends with EXIT, RESULT or ERROR, or when the socket closes. A signal gives the other end some
 * seconds for that. Then, or with a second one, it ends whatever the other end does, which may be
 * silent for ever. */

#include "cli/client_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "cli/terminal.h"
#include "proto/agent.h"
#include "proto/frame.h"
#include "proto/tlv.h"

#define READ_BYTES (32u * 1024u)
#define OUTGOING_MAX (1024u * 1024u) /* signals and sizes beyond it are dropped */
#define LEAVE_AFTER_USEC (5 * USEC_PER_SEC)
#define REPEAT_USEC (500 * USEC_PER_MSEC) /* timeout(1) sends one to us and one to our group */

typedef struct Session {
    const ClientStream *stream;
    FrameReader reader;
    StrBuf outgoing; /* frames; sent up to outgoing_done */
    size_t outgoing_done;
    const uint8_t *sink; /* payload being written; borrowed from the reader */
    size_t sink_size;
    int sink_fd;
    bool sink_broken; /* nobody reads standard output */
    bool in_open;
    bool ready;
    bool ended;
    bool cancelling; /* a signal came before READY */
    int signal_fd;
    int last_signal;
    uint64_t first_signal_usec;
    uint64_t leave_at_usec; /* UINT64_MAX: nobody wants us to end */
    uint64_t moved_bytes;
    ClientStreamEnd end;
    Error *error;
} Session;

static void queue_frame(Session *session, uint8_t type, const void *payload, size_t size) {
    uint8_t header[FRAME_HEADER_SIZE];
    if (session->outgoing.size > OUTGOING_MAX)
        return;
    frame_encode_header(header, 0, 0, type, (uint32_t)size);
    strbuf_add(&session->outgoing, (const char *)header, sizeof(header));
    strbuf_add(&session->outgoing, payload, size);
}

static void queue_number(Session *session, uint8_t type, uint16_t tag, uint64_t value) {
    uint8_t payload[32];
    TlvWriter writer;
    tlv_start(&writer, payload, sizeof(payload));
    tlv_add_u64(&writer, tag, value);
    queue_frame(session, type, payload, writer.size);
}

static void queue_size(Session *session) {
    uint8_t payload[64];
    unsigned rows, columns;
    TlvWriter writer;
    terminal_size(session->stream->resize_fd, &rows, &columns);
    tlv_start(&writer, payload, sizeof(payload));
    tlv_add_u64(&writer, TAG_ROWS, rows);
    tlv_add_u64(&writer, TAG_COLUMNS, columns);
    queue_frame(session, FRAME_TTY_RESIZE, payload, writer.size);
}

static int broken(Session *session, const char *what) {
    return error_set(session->error, ERROR_CORRUPT, EBADMSG, "broken stream from the VM: %s", what);
}

static void tell_moved(Session *session, size_t size) {
    session->moved_bytes += size;
    if (session->stream->on_data)
        session->stream->on_data(session->stream->data, session->moved_bytes);
}

/* ---- frames that came ---- */

static int handle_exit(Session *session, const Frame *frame) {
    TlvReader reader;
    TlvField field;
    uint64_t status = 256, timed_out = 0;
    int r;
    tlv_read(&reader, frame->payload, frame->length);
    while ((r = tlv_next(&reader, &field)) > 0)
        if ((field.tag == TAG_EXIT_CODE && tlv_u64(&field, &status) < 0) ||
            (field.tag == TAG_TIMED_OUT && tlv_u64(&field, &timed_out) < 0))
            return broken(session, "a bad exit status");
    if (r < 0 || status > 255)
        return broken(session, "an exit without a status");
    session->end = (ClientStreamEnd){CLIENT_STREAM_EXIT, (int)status, timed_out};
    session->ended = true;
    return 0;
}

static int handle_done(Session *session, const Frame *frame) {
    TlvReader reader;
    TlvField field;
    uint64_t errnum = 0;
    char text[1024] = "it failed in the guest";
    int r;
    tlv_read(&reader, frame->payload, frame->length);
    while ((r = tlv_next(&reader, &field)) > 0) {
        if (field.tag == TAG_ERRNO && (tlv_u64(&field, &errnum) < 0 || errnum > 4095))
            return broken(session, "a bad error number");
        if (field.tag == TAG_TEXT)
            (void)tlv_text(&field, text, sizeof(text));
    }
    if (r < 0)
        return broken(session, "a bad end");
    session->end = (ClientStreamEnd){.kind = CLIENT_STREAM_DONE};
    session->ended = true;
    if (errnum == 0)
        return 0;
    r = error_set_errno(session->error, (int)errnum, "%s", text);
    if (str_has_suffix(text, strerror((int)errnum)) && session->error) /* the guest said it too */
        session->error->message[strlen(text)] = '\0';
    return r;
}

static int handle_error(Session *session, const Frame *frame) {
    _cleanup_json_ json_t *json = NULL;
    _cleanup_error_ Error told = ERROR_INIT;
    if (json_parse("error", (const char *)frame->payload, frame->length, &json, NULL) < 0 ||
        json_to_error(json, &told) < 0)
        return broken(session, "an error that cannot be read");
    return error_move(session->error, &told);
}

static int handle_json(Session *session, const Frame *frame) {
    const ClientStream *stream = session->stream;
    _cleanup_json_ json_t *json = NULL;
    if (json_parse("event", (const char *)frame->payload, frame->length, &json, NULL) < 0)
        return broken(session, "an event that cannot be read");
    if (frame->type == FRAME_EVENT) {
        if (stream->on_event)
            stream->on_event(stream->data, json);
        return 0;
    }
    session->ready = true;
    if (stream->on_ready)
        stream->on_ready(stream->data, json);
    if (stream->resize_fd >= 0 && !session->cancelling)
        queue_size(session); /* it may have changed since it was asked for */
    return 0;
}

/* Who reads it sees the end now; the other direction goes on. */
static void close_output(int fd) {
    _cleanup_close_ int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    (void)shutdown(fd, SHUT_WR); /* a socket, which may be the input as well */
    if (nowhere >= 0)
        (void)dup2(nowhere, fd);
}

static int handle_frame(Session *session, const Frame *frame) {
    switch (frame->type) {
    case FRAME_DATA:
    case FRAME_DATA_ERR:
        session->sink = frame->payload;
        session->sink_size = frame->length;
        session->sink_fd =
            frame->type == FRAME_DATA ? session->stream->out_fd : session->stream->err_fd;
        return 0;
    case FRAME_EOF:
        if (session->stream->half_closes)
            close_output(session->stream->out_fd);
        return 0;
    case FRAME_EXIT:
        return handle_exit(session, frame);
    case FRAME_RESULT:
        return handle_done(session, frame);
    case FRAME_ERROR:
        return handle_error(session, frame);
    case FRAME_EVENT:
    case FRAME_READY:
        return handle_json(session, frame);
    default:
        return 0; /* EOF_ERR, and what a newer server may send */
    }
}

/* Writes of the sink what does not block. */
static int write_sink(Session *session) {
    struct stat st;
    size_t size = session->sink_size;
    ssize_t n;
    if (session->sink_fd < 0) {
        session->sink_size = 0;
        return 0;
    }
    if (fstat(session->sink_fd, &st) < 0 || !S_ISREG(st.st_mode))
        size = MIN_OF(size, (size_t)PIPE_BUF);
    n = write(session->sink_fd, session->sink, size);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return 0;
    if (n < 0)
        return error_set_errno(session->error, errno, "cannot write the output");
    session->sink += n;
    session->sink_size -= (size_t)n;
    tell_moved(session, (size_t)n);
    return 0;
}

/* Takes frames until one has data to write, or there are no more. */
static int handle_frames(Session *session) {
    Frame frame;
    int r = 0;
    while (r == 0 && !session->ended && session->sink_size == 0 &&
           frame_reader_next(&session->reader, &frame) > 0)
        r = handle_frame(session, &frame);
    return r;
}

/* ---- the four kinds of events ---- */

static int on_socket(Session *session) {
    size_t room;
    uint8_t *space = frame_reader_space(&session->reader, &room);
    ssize_t n = recv(session->stream->socket, space, room, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0) {
        error_set(session->error, ERROR_FAILED, ECONNRESET, "the connection to the VM broke off");
        error_set_hint(session->error, "see whether it still runs: ramet ps -a");
        return -ECONNRESET;
    }
    frame_reader_added(&session->reader, (size_t)n);
    return 0;
}

static int on_input(Session *session) {
    uint8_t buffer[READ_BYTES];
    ssize_t n = read(session->stream->in_fd, buffer, sizeof(buffer));
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return 0;
    if (n > 0) {
        queue_frame(session, FRAME_DATA, buffer, (size_t)n);
        tell_moved(session, (size_t)n);
        return 0;
    }
    session->in_open = false; /* its end; a read error is one as well */
    queue_frame(session, FRAME_EOF, NULL, 0);
    return 0;
}

static int interrupted(Session *session) {
    return error_set(session->error, ERROR_CANCELLED, ECANCELED, "interrupted");
}

static int on_signal(Session *session) {
    struct signalfd_siginfo info;
    uint64_t now = clock_monotonic_usec();
    if (read(session->signal_fd, &info, sizeof(info)) != sizeof(info))
        return 0;
    if (info.ssi_signo == SIGWINCH) {
        if (session->ready && session->stream->resize_fd >= 0)
            queue_size(session);
        return 0;
    }
    session->last_signal = (int)info.ssi_signo;
    if (session->leave_at_usec != UINT64_MAX)
        return now - session->first_signal_usec < REPEAT_USEC ? 0 : interrupted(session);
    session->first_signal_usec = now;
    session->leave_at_usec = now + LEAVE_AFTER_USEC;
    if (!session->ready) {
        /* nobody sends before READY, so the end of our side cancels; the answer comes once what was
         * begun is undone */
        session->cancelling = true;
        (void)shutdown(session->stream->socket, SHUT_WR);
        return 0;
    }
    queue_number(session, FRAME_SIGNAL, TAG_SIGNAL, info.ssi_signo);
    return 0;
}

/* Sends what the socket takes now. A closed one shows when it is read. */
static void send_outgoing(Session *session) {
    StrBuf *out = &session->outgoing;
    ssize_t n;
    if (session->outgoing_done == out->size)
        return;
    n = send(session->stream->socket, out->data + session->outgoing_done,
             out->size - session->outgoing_done, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    session->outgoing_done = n < 0 ? out->size : session->outgoing_done + (size_t)n;
    if (session->outgoing_done == out->size)
        session->outgoing_done = out->size = 0;
}

enum { POLL_SOCKET, POLL_INPUT, POLL_SINK, POLL_SIGNAL, POLL_COUNT };

static int wait_events(Session *session, struct pollfd fds[POLL_COUNT]) {
    bool sinking = session->sink_size > 0;
    bool sending = session->outgoing.size > 0;
    bool reading = session->in_open && session->ready && !sending && !session->cancelling;
    short events = (short)((sinking ? 0 : POLLIN) | (sending ? POLLOUT : 0));
    /* without events it is left out: a hang-up, which poll always tells, must wait for its turn */
    fds[POLL_SOCKET] = (struct pollfd){events ? session->stream->socket : -1, events, 0};
    fds[POLL_INPUT] = (struct pollfd){reading ? session->stream->in_fd : -1, POLLIN, 0};
    fds[POLL_SINK] = (struct pollfd){sinking ? session->sink_fd : -1, POLLOUT, 0};
    fds[POLL_SIGNAL] = (struct pollfd){session->signal_fd, POLLIN, 0};
    if (sinking && session->sink_fd < 0)
        return 0;
    if (poll(fds, POLL_COUNT, clock_poll_timeout(session->leave_at_usec)) < 0 && errno != EINTR)
        return error_set_errno(session->error, errno, "cannot wait for the VM");
    return 0;
}

static int run_round(Session *session) {
    struct pollfd fds[POLL_COUNT];
    int r = wait_events(session, fds);
    if (r == 0 && fds[POLL_SIGNAL].revents)
        r = on_signal(session);
    if (r == 0 && clock_monotonic_usec() >= session->leave_at_usec)
        r = interrupted(session);
    if (r == 0 && session->sink_size > 0 && (fds[POLL_SINK].revents || session->sink_fd < 0))
        r = write_sink(session);
    if (r == 0 && fds[POLL_INPUT].revents)
        r = on_input(session);
    send_outgoing(session);
    if (r == 0 && session->sink_size == 0 && (fds[POLL_SOCKET].revents & ~POLLOUT))
        r = on_socket(session);
    if (r == 0 && session->sink_size == 0)
        r = handle_frames(session);
    return r;
}

/* ---- the whole ---- */

static int block_signals(const ClientStream *stream, sigset_t *old) {
    sigset_t set;
    sigemptyset(&set);
    if (stream->signals) {
        const int caught[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH};
        for (size_t i = 0; i < ARRAY_SIZE(caught); i++)
            sigaddset(&set, caught[i]);
    }
    sigaddset(&set, SIGPIPE); /* a write then fails with EPIPE */
    sigprocmask(SIG_BLOCK, &set, old);
    if (!stream->signals)
        return -1;
    sigdelset(&set, SIGPIPE);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* A SIGPIPE that is still pending must not end us once it is unblocked. */
static void unblock_signals(const sigset_t *old) {
    sigset_t pipe_set;
    const struct timespec now = {0};
    sigemptyset(&pipe_set);
    sigaddset(&pipe_set, SIGPIPE);
    (void)sigtimedwait(&pipe_set, NULL, &now);
    sigprocmask(SIG_SETMASK, old, NULL);
}

int client_stream_run(const ClientStream *stream, ClientStreamEnd *end, int *signal, Error *error) {
    Session session = {.stream = stream,
                       .in_open = stream->in_fd >= 0,
                       .ready = !stream->run,
                       .leave_at_usec = UINT64_MAX,
                       .error = error};
    sigset_t old;
    int r = frame_reader_init(&session.reader);
    if (r < 0)
        return error_set_errno(error, -r, "cannot read from the VM");
    session.signal_fd = block_signals(stream, &old);
    while (r == 0 && !session.ended)
        r = run_round(&session);
    if (r < 0 && session.cancelling)
        r = interrupted(&session);
    session.signal_fd = fd_close(session.signal_fd);
    unblock_signals(&old);
    frame_reader_free(&session.reader);
    strbuf_free(&session.outgoing);
    if (signal)
        *signal = session.last_signal;
    if (r == 0)
        *end = session.end;
    return r;
}
