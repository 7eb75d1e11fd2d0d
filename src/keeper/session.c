/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/str.h"
#include "keeper/fifo.h"
#include "keeper/keeper.h"

/* Clients: each has a stream socket, and for exec and copies a stream of the link.
 *
 * To the guest: frames are read from the client into one FrameReader. A frame that the link does
 * not take now (no credit, buffer full) is held, with how much of it went already, and the client
 * is not read until the link has room again. So nothing is buffered but that one frame.
 *
 * To the client: data goes into a FIFO for stdout and one for stderr, whose bound is the stream's
 * credit; the guest gets new credit as the client's socket takes bytes. When both hold data, stdout
 * goes first: which of the two a byte came from earlier is then lost, as with two pipes. The ends
 * (EOF, EOF_ERR), and the last frame (EXIT, DONE, ERROR), follow when the FIFOs are empty. After
 * the last frame was sent the session is over.
 *
 * The client goes away: the stream is cancelled, and when the client owned a VM that is to be
 * removed, QEMU is killed. The guest goes away: the last frame is ERROR. All sending is
 * non-blocking; a session that is over is freed by session_finish at the end of a handler only. */

#define GRANT_AT_BYTES (AGENT_WINDOW_BYTES / 4)
#define SENDS_PER_ROUND 8
#define SESSIONS_MAX (2 * AGENT_STREAMS_MAX)

struct Session {
    Keeper *keeper; /* borrowed */
    Session *next;  /* owned by the keeper's list */
    Watched socket;
    uint32_t events; /* that the loop watches for */
    uint8_t request; /* FrameType; 0: attach */
    bool owner;
    bool over;          /* to be freed */
    LinkStream *stream; /* borrowed from the link; NULL once it has ended */
    FrameReader reader; /* owned */
    Frame held;         /* of the client, not (fully) given to the link; type 0: none */
    size_t held_done;
    bool input_ended; /* EOF was sent to the guest */
    Fifo out, err, last;
    uint8_t last_type;                 /* of the last frame; 0: it is not known yet */
    bool eof, eof_err;                 /* to be sent */
    uint32_t taken_bytes;              /* by the client, not yet granted to the guest again */
    uint8_t header[FRAME_HEADER_SIZE]; /* of the frame that is being sent */
    size_t header_left;
    Fifo *body; /* where its payload is; NULL: none */
    size_t body_left;
    uint8_t sending_type;
};

static void session_free(Session *session) {
    if (session->stream)
        link_cancel(&session->keeper->link, session->stream);
    watched_close(&session->socket);
    frame_reader_free(&session->reader);
    fifo_free(&session->out);
    fifo_free(&session->err);
    fifo_free(&session->last);
    free(session);
}

/* Frees what is over; ends the VM of an owner that is gone. */
void session_finish(Keeper *keeper) {
    bool owner_gone = false;
    for (Session **link = &keeper->sessions; *link;) {
        Session *session = *link;
        if (!session->over) {
            link = &session->next;
            continue;
        }
        owner_gone |= session->owner;
        *link = session->next;
        session_free(session);
    }
    if (owner_gone && keeper->plan.remove_on_exit && !session_has_owner(keeper))
        machine_kill(keeper, "owner-gone");
    port_flush(keeper);
    end_check(keeper);
}

unsigned session_count(const Keeper *keeper) {
    unsigned count = 0;
    for (const Session *session = keeper->sessions; session; session = session->next)
        count += !session->over;
    return count;
}

bool session_has_owner(const Keeper *keeper) {
    for (const Session *session = keeper->sessions; session; session = session->next)
        if (session->owner && !session->over)
            return true;
    return false;
}

/* To the client */

static void begin_frame(Session *session, uint8_t type, Fifo *body) {
    size_t size = body ? MIN_OF(fifo_size(body), (size_t)FRAME_PAYLOAD_MAX) : 0;
    frame_encode_header(session->header, 0, 0, type, (uint32_t)size);
    session->header_left = FRAME_HEADER_SIZE;
    session->body = body;
    session->body_left = size;
    session->sending_type = type;
}

static bool take_flag(bool *flag) {
    bool was = *flag;
    *flag = false;
    return was;
}

/* False: there is nothing to send now. */
static bool choose_frame(Session *session) {
    if (session->header_left || session->body_left)
        return true;
    if (fifo_size(&session->out))
        begin_frame(session, FRAME_DATA, &session->out);
    else if (take_flag(&session->eof))
        begin_frame(session, FRAME_EOF, NULL);
    else if (fifo_size(&session->err))
        begin_frame(session, FRAME_DATA_ERR, &session->err);
    else if (take_flag(&session->eof_err))
        begin_frame(session, FRAME_EOF_ERR, NULL);
    else if (session->last_type)
        begin_frame(session, session->last_type, &session->last);
    else
        return false;
    return true;
}

static ssize_t send_parts(Session *session) {
    struct iovec parts[2] = {
        {session->header + FRAME_HEADER_SIZE - session->header_left, session->header_left}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 1};
    if (session->body_left) {
        parts[1] = (struct iovec){(void *)fifo_front(session->body), session->body_left};
        message.msg_iovlen = 2;
    }
    ssize_t sent = sendmsg(session->socket.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent < 0 ? -errno : sent;
}

static void grant(Session *session) {
    if (session->stream && session->taken_bytes >= GRANT_AT_BYTES &&
        link_grant(&session->keeper->link, session->stream, session->taken_bytes) == 0)
        session->taken_bytes = 0;
}

static void count_sent(Session *session, size_t sent) {
    size_t of_header = MIN_OF(sent, session->header_left);
    size_t of_body = sent - of_header;
    session->header_left -= of_header;
    session->body_left -= of_body;
    if (of_body > 0)
        fifo_drop(session->body, of_body);
    if (session->sending_type == FRAME_DATA || session->sending_type == FRAME_DATA_ERR)
        session->taken_bytes += (uint32_t)of_body;
    if (session->sending_type == session->last_type && session->header_left == 0 &&
        session->body_left == 0)
        session->over = true;
}

/* 1: all was sent; 0: the client's socket is full, or others shall have their turn; negative: the
 * client is gone. */
static int send_frames(Session *session) {
    for (int i = 0; i < SENDS_PER_ROUND && !session->over; i++) {
        if (!choose_frame(session))
            return 1;
        ssize_t sent = send_parts(session);
        if (sent == -EAGAIN || sent == -EINTR)
            return 0;
        if (sent < 0)
            return (int)sent;
        count_sent(session, (size_t)sent);
    }
    return session->over;
}

static void watch_for(Session *session, bool in, bool out) {
    uint32_t events = EPOLLRDHUP | (in ? EPOLLIN : 0) | (out ? EPOLLOUT : 0);
    if (session->events == events || !session->socket.source)
        return;
    session->events = events;
    (void)loop_set_events(session->socket.source, events);
}

static void pump_out(Session *session) {
    int r = session->over ? 1 : send_frames(session);
    if (r < 0)
        session->over = true;
    if (session->over)
        return;
    grant(session);
    watch_for(session, session->held.type == 0, r == 0);
}

static void set_last(Session *session, uint8_t type, const void *payload, size_t size) {
    if (session->last_type)
        return;
    session->last_type = type;
    (void)fifo_add(&session->last, payload, size); /* without memory: an empty frame */
}

static void set_error(Session *session, const Error *error) {
    _cleanup_json_ json_t *json = json_from_error(error);
    _cleanup_free_ char *text = json_to_text(json);
    set_last(session, FRAME_ERROR, text, strlen(text));
}

static void end_with_loss(Session *session) {
    _cleanup_error_ Error error = ERROR_INIT;
    (void)error_set(&error, ERROR_GUEST_NOT_READY, ECONNRESET,
                    "the connection to the guest's agent was lost");
    set_error(session, &error);
}

/* An exec that ends with DONE could not begin. */
static void take_end(Session *session, const Frame *frame) {
    _cleanup_error_ Error error = ERROR_INIT;
    session->stream = NULL;
    if (frame->type == FRAME_DONE && session->request == FRAME_EXEC &&
        done_read(frame, "cannot execute the command", ERROR_FAILED, NULL, &error) < 0)
        set_error(session, &error);
    else
        set_last(session, frame->type, frame->payload, frame->length);
}

static void pump_in(Session *session);

static void on_stream(void *data, const Frame *frame) {
    Session *session = data;
    int r = 0;
    if (!frame) {
        session->stream = NULL;
        end_with_loss(session);
    } else if (frame->type == FRAME_DATA || frame->type == FRAME_DATA_ERR) {
        r = fifo_add(frame->type == FRAME_DATA ? &session->out : &session->err, frame->payload,
                     frame->length);
    } else if (frame->type == FRAME_EOF) {
        session->eof = true;
    } else if (frame->type == FRAME_EOF_ERR) {
        session->eof_err = true;
    } else if (frame->type == FRAME_WINDOW) {
        pump_in(session);
    } else {
        take_end(session, frame);
    }
    session->over |= r < 0;
    pump_out(session); /* frees nothing: see session_finish */
}

/* To the guest */

/* 0 when the link took all of it; -EBUSY: try again; otherwise the client broke the rules. */
static int forward_data(Session *session, const Frame *frame) {
    while (session->held_done < frame->length) {
        size_t room = link_data_room(&session->keeper->link, session->stream);
        size_t size = MIN_OF(frame->length - session->held_done, room);
        if (size == 0)
            return -EBUSY;
        int r = link_send(&session->keeper->link, session->stream, FRAME_DATA,
                          frame->payload + session->held_done, size);
        if (r < 0)
            return r;
        session->held_done += size;
    }
    return 0;
}

static int forward_eof(Session *session) {
    int r = link_send(&session->keeper->link, session->stream, FRAME_EOF, NULL, 0);
    if (r == 0)
        session->input_ended = true;
    return r;
}

static int forward(Session *session, const Frame *frame) {
    bool control = frame->type == FRAME_RESIZE || frame->type == FRAME_SIGNAL;
    if (frame->session != 0 || frame->stream != 0 || session->request == 0)
        return -EBADMSG;
    if (!control && frame->type != FRAME_DATA && frame->type != FRAME_EOF)
        return -EBADMSG;
    if (control && (session->request != FRAME_EXEC || frame->length > 64))
        return -EBADMSG;
    if (!session->stream || (!control && session->input_ended))
        return 0; /* too late to matter */
    if (frame->type == FRAME_DATA)
        return session->request == FRAME_COPY_OUT ? -EBADMSG : forward_data(session, frame);
    if (frame->type == FRAME_EOF)
        return forward_eof(session);
    return link_send(&session->keeper->link, session->stream, frame->type, frame->payload,
                     frame->length);
}

/* Gives the link what it takes. Afterwards either nothing is held, or the link is full. */
static void pump_in(Session *session) {
    while (!session->over) {
        if (session->held.type == 0 && frame_reader_next(&session->reader, &session->held) <= 0)
            break;
        int r = forward(session, &session->held);
        if (r == -EBUSY)
            break;
        if (r < 0)
            session->over = true;
        session->held = (Frame){0};
        session->held_done = 0;
    }
    if (session->reader.skipped_bytes > 0)
        session->over = true; /* no frames at all */
}

/* Negative: the client is gone. */
static int read_client(Session *session) {
    size_t size;
    uint8_t *space = frame_reader_space(&session->reader, &size);
    ssize_t got = recv(session->socket.fd, space, size, MSG_DONTWAIT);
    if (got < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    if (got == 0)
        return -ECONNRESET;
    frame_reader_added(&session->reader, (size_t)got);
    pump_in(session);
    return 0;
}

/* While a frame is held, the client is not read, so its end shows as EPOLLRDHUP only. */
static void on_client(void *data, uint32_t events) {
    Session *session = data;
    Keeper *keeper = session->keeper;
    bool hung_up = events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP);
    if (session->held.type == 0 && (events & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP)))
        session->over |= read_client(session) < 0;
    else if (hung_up)
        session->over = true;
    if (!session->over)
        pump_out(session);
    session_finish(keeper);
}

void session_pump_all(Keeper *keeper) {
    for (Session *session = keeper->sessions; session; session = session->next) {
        if (session->held.type)
            pump_in(session);
        pump_out(session);
    }
    session_finish(keeper);
}

void session_end_all(Keeper *keeper, const Error *error) {
    for (Session *session = keeper->sessions; session; session = session->next) {
        set_error(session, error);
        if (session->stream)
            link_cancel(&keeper->link, session->stream);
        session->stream = NULL;
        pump_out(session);
    }
    session_finish(keeper);
}

void session_close_all(Keeper *keeper) {
    while (keeper->sessions) {
        Session *session = keeper->sessions;
        keeper->sessions = session->next;
        session_free(session);
    }
}

/* Opening */

static uint8_t request_type(const char *operation) {
    return str_equal(operation, "exec")       ? FRAME_EXEC
           : str_equal(operation, "copy_in")  ? FRAME_COPY_IN
           : str_equal(operation, "copy_out") ? FRAME_COPY_OUT
                                              : 0;
}

static int open_stream(Session *session, const json_t *request, Error *error) {
    _cleanup_free_ uint8_t *payload = malloc(FRAME_PAYLOAD_MAX);
    if (!payload)
        return error_set(error, ERROR_NO_MEMORY, ENOMEM, "not enough memory");
    ssize_t size = session->request == FRAME_EXEC
                       ? payload_write_exec(request, payload, FRAME_PAYLOAD_MAX, error)
                       : payload_write_path(request, NULL, payload, FRAME_PAYLOAD_MAX, error);
    if (size < 0)
        return (int)size;
    int r = link_open(&session->keeper->link, session->request, payload, (size_t)size, on_stream,
                      session, &session->stream);
    if (r == -EBUSY)
        return error_set(error, ERROR_CONFLICT, EBUSY, "the guest has too many sessions already");
    if (r < 0)
        return error_set(error, ERROR_GUEST_NOT_READY, -r, "the guest's agent does not answer");
    return 0;
}

/* Without "stdin" the command reads an empty one. */
static int end_unwanted_input(Session *session, const json_t *request, Error *error) {
    bool wanted = false;
    int r = json_opt_bool("exec", request, "stdin", &wanted, error);
    if (r == 0 && !wanted && session->request == FRAME_EXEC)
        r = forward_eof(session);
    return r;
}

static int prepare(Session *session, const json_t *request, Error *error) {
    int r = json_opt_bool("the request", request, "owner", &session->owner, error);
    if (r < 0)
        return r;
    if (frame_reader_init(&session->reader) < 0)
        return error_set(error, ERROR_NO_MEMORY, ENOMEM, "not enough memory");
    if (session->request == 0)
        return 0;
    r = open_stream(session, request, error);
    return r < 0 ? r : end_unwanted_input(session, request, error);
}

static int watch(Session *session, int fd, Error *error) {
    session->events = EPOLLIN | EPOLLRDHUP;
    session->socket.source =
        loop_add_fd(session->keeper->loop, fd, session->events, on_client, session);
    if (!session->socket.source)
        return error_set_errno(error, errno, "cannot watch the client's stream");
    session->socket.fd = fd;
    return 0;
}

static int check_open(const Keeper *keeper, const Session *session, Error *error) {
    bool up = keeper->state == KEEPER_RUNNING || keeper->state == KEEPER_PAUSED;
    if (!up && !(session->request == 0 && keeper->state == KEEPER_STARTING))
        return error_set(error, ERROR_CONFLICT, 0, "the VM is %s", keeper_state_name(keeper));
    if (session_count(keeper) >= SESSIONS_MAX)
        return error_set(error, ERROR_CONFLICT, EBUSY, "the VM has too many clients already");
    return 0;
}

int session_open(Keeper *keeper, const char *operation, const json_t *request, int fd,
                 Error *error) {
    Session *session = calloc(1, sizeof *session);
    if (!session)
        return error_set(error, ERROR_NO_MEMORY, ENOMEM, "not enough memory");
    *session = (Session){.keeper = keeper, .socket.fd = -1, .request = request_type(operation)};
    int r = check_open(keeper, session, error);
    if (r == 0)
        r = prepare(session, request, error);
    if (r == 0)
        r = watch(session, fd, error);
    if (r < 0) {
        session_free(session);
        return r;
    }
    session->next = keeper->sessions;
    keeper->sessions = session;
    port_flush(keeper);
    return 0;
}
