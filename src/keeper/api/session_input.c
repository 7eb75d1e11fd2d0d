/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/api/session_input.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

/* 0 when the link took all of it; -EBUSY: try again; otherwise the client broke the rules. */
static int forward_data(Session *session, const Frame *frame) {
    while (session->pending_sent < frame->length) {
        size_t room = link_data_room(&session->all->vm->channel.link, session->stream);
        size_t size = MIN_OF(frame->length - session->pending_sent, room);
        if (size == 0)
            return -EBUSY;
        int r = link_send(&session->all->vm->channel.link, session->stream, FRAME_DATA,
                          frame->payload + session->pending_sent, size);
        if (r < 0)
            return r;
        session->pending_sent += size;
    }
    return 0;
}

int session_forward_eof(Session *session) {
    int r = link_send(&session->all->vm->channel.link, session->stream, FRAME_EOF, NULL, 0);
    if (r == 0)
        session->input_ended = true;
    return r;
}

/* What is left of a long request. -EBUSY: the link takes no more now. */
static int send_rest(Session *session) {
    int r = 0;
    while (r == 0 && session->stream && session->rest_done < session->rest_size) {
        size_t room = link_data_room(&session->all->vm->channel.link, session->stream);
        size_t size = MIN_OF(session->rest_size - session->rest_done, room);
        if (size == 0)
            return -EBUSY;
        r = link_send(&session->all->vm->channel.link, session->stream, FRAME_DATA,
                      session->rest + session->rest_done, size);
        session->rest_done += r == 0 ? size : 0;
    }
    if (r == 0 && session->stream && session->eof_due)
        r = session_forward_eof(session);
    if (r == 0) {
        free(session->rest);
        session->rest = NULL;
    }
    return r;
}

static int forward_frame(Session *session, const Frame *frame) {
    bool control = frame->type == FRAME_TTY_RESIZE || frame->type == FRAME_SIGNAL;
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
        return session_forward_eof(session);
    return link_send(&session->all->vm->channel.link, session->stream, frame->type, frame->payload,
                     frame->length);
}

/* Input that lies in a file becomes the frames that a client would send. */
static int next_of_file(Session *session) {
    if (session->input_ended || !session->stream)
        return 0;
    ssize_t n = read(session->input_fd, session->input, SESSION_INPUT_BYTES);
    if (n < 0)
        return -errno;
    session->pending = (Frame){
        .type = n > 0 ? FRAME_DATA : FRAME_EOF, .length = (uint32_t)n, .payload = session->input};
    return 1;
}

static int next_frame(Session *session) {
    return session->input_fd < 0 ? frame_reader_next(&session->reader, &session->pending)
                                 : next_of_file(session);
}

void session_forward(Session *session) {
    if (session->rest && !session->over && send_rest(session) < 0)
        return;
    while (!session->over) {
        int n = session->pending.type == 0 ? next_frame(session) : 1;
        session->over |= n < 0;
        if (n <= 0)
            break;
        int r = forward_frame(session, &session->pending);
        if (r == -EBUSY)
            break;
        if (r < 0)
            session->over = true;
        session->pending = (Frame){0};
        session->pending_sent = 0;
    }
    if (session->reader.skipped_bytes > 0)
        session->over = true; /* no frames at all */
}

int session_read_client(Session *session) {
    size_t size;
    uint8_t *space = frame_reader_space(&session->reader, &size);
    ssize_t got = recv(session->socket.fd, space, size, MSG_DONTWAIT);
    if (got < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    if (got == 0)
        return -ECONNRESET;
    if (session->answer.form != ANSWER_NONE)
        return -EBADMSG; /* its request was all that it may say */
    frame_reader_added(&session->reader, (size_t)got);
    session_forward(session);
    return 0;
}
