/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/api/session.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/str.h"
#include "proto/tlv.h"

#define GRANT_AT_BYTES (AGENT_WINDOW_BYTES / 4)
#define SENDS_PER_ROUND 8

/* Frames */

static void begin_frame(Session *session, uint8_t type, Fifo *body) {
    size_t size = body ? MIN_OF(fifo_size(body), (size_t)FRAME_PAYLOAD_MAX) : 0;
    frame_encode_header(session->header, 0, 0, type, (uint32_t)size);
    session->header_left = FRAME_HEADER_SIZE;
    session->body = body;
    session->body_left = size;
    session->sending_type = type;
}

static bool unset(bool *flag) {
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
    else if (unset(&session->eof))
        begin_frame(session, FRAME_EOF, NULL);
    else if (fifo_size(&session->err))
        begin_frame(session, FRAME_DATA_ERR, &session->err);
    else if (unset(&session->eof_err))
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
        link_grant(&session->all->vm->channel.link, session->stream, session->taken_bytes) == 0)
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

/* Plain HTTP */

static int feed(Session *session, Fifo *fifo, bool is_error_output) {
    size_t size = MIN_OF(fifo_size(fifo), (size_t)ANSWER_PIECE_MAX);
    int r = answer_data(&session->answer, is_error_output, fifo_front(fifo), size);
    fifo_drop(fifo, size);
    session->taken_bytes += (uint32_t)size;
    return r;
}

static void answer_last_error(Session *session) {
    _cleanup_json_ json_t *json = NULL;
    _cleanup_error_ Error error = ERROR_INIT;
    (void)json_parse("the error", (const char *)fifo_front(&session->last),
                     fifo_size(&session->last), &json, NULL);
    if (!json || json_to_error(json, &error) < 0)
        (void)error_set(&error, ERROR_NO_MEMORY, ENOMEM, "not enough memory");
    answer_error(&session->answer, &error);
}

static void answer_end(Session *session) {
    uint64_t status = 0;
    if (session->last_type == FRAME_EXIT &&
        session_read_exit(fifo_front(&session->last), fifo_size(&session->last), &status) == 0)
        answer_exit(&session->answer, (int)status, session->timed_out != 0, NULL);
    else if (session->last_type == FRAME_RESULT)
        answer_done(&session->answer);
    else
        answer_last_error(session);
}

/* More for the wire, or for what is kept. False: there is nothing now. */
static bool feed_answer(Session *session) {
    int r = 0;
    if (session->answer.ended)
        return false;
    if (fifo_size(&session->out))
        r = feed(session, &session->out, false);
    else if (fifo_size(&session->err))
        r = feed(session, &session->err, true);
    else if (session->last_type && session->detached)
        return false;
    else if (session->last_type)
        answer_end(session);
    else
        return false;
    if (r < 0) {
        _cleanup_error_ Error error = ERROR_INIT;
        (void)error_set(&error, ERROR_CORRUPT, -r, "the guest sent what cannot be read");
        answer_error(&session->answer, &error);
    }
    return true;
}

/* As send_frames. */
static int send_answer(Session *session) {
    Fifo *wire = &session->answer.wire;
    for (int i = 0; i < SENDS_PER_ROUND; i++) {
        while (fifo_size(wire) == 0 && feed_answer(session))
            ;
        if (fifo_size(wire) == 0) {
            session->over = session->answer.ended;
            return 1;
        }
        ssize_t sent = send(session->socket.fd, fifo_front(wire), fifo_size(wire),
                            MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0)
            return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        fifo_drop(wire, (size_t)sent);
    }
    return 0;
}

/* Nobody listens, and the command never waits for that. */
static int keep_all(Session *session) {
    while (feed_answer(session))
        ;
    return 1;
}

static int send_some(Session *session) {
    return session->detached                     ? keep_all(session)
           : session->answer.form != ANSWER_NONE ? send_answer(session)
                                                 : send_frames(session);
}

/* All of them */

void session_send(Session *session) {
    int r = session->over ? 1 : send_some(session);
    if (r < 0)
        session->over = true;
    if (session->over)
        return;
    grant(session);
    watch_for(session, session->pending.type == 0 || session->input_fd >= 0, r == 0);
}

void session_set_last(Session *session, uint8_t type, const void *payload, size_t size) {
    if (session->last_type)
        return;
    session->last_type = type;
    (void)fifo_add(&session->last, payload, size); /* without memory: an empty frame */
}

void session_set_error(Session *session, const Error *error) {
    _cleanup_json_ json_t *json = json_from_error(error);
    _cleanup_free_ char *text = json_to_text(json);
    session_set_last(session, FRAME_ERROR, text, strlen(text));
}

void session_set_exit(Session *session, uint64_t status) {
    uint8_t payload[64];
    TlvWriter writer;
    tlv_start(&writer, payload, sizeof(payload));
    tlv_add_u64(&writer, TAG_EXIT_CODE, status);
    if (session->timed_out)
        tlv_add_u64(&writer, TAG_TIMED_OUT, session->timed_out);
    session_set_last(session, FRAME_EXIT, payload, writer.size);
}

int session_read_exit(const void *payload, size_t size, uint64_t *status) {
    uint64_t found = UINT64_MAX;
    TlvReader reader;
    TlvField field;
    int r;
    tlv_read(&reader, payload, size);
    while ((r = tlv_next(&reader, &field)) > 0)
        if (field.tag == TAG_EXIT_CODE && tlv_u64(&field, &found) < 0)
            return -EBADMSG;
    if (r < 0 || found > 255)
        return -EBADMSG;
    *status = found;
    return 0;
}
