/* SPDX-License-Identifier: Apache-2.0 */
/* How it works: bytes → marker search → frames → streams.
 *
 * States: before the first greeting nothing is believed. Once the marker has passed by, everything
 * of the old session is over (streams, unsent output, half frames), and only a HELLO is waited for.
 * The HELLO brings the session's nonce and the marker of the next greeting, so that only a keeper
 * that knows it, or a snapshot that holds it, can begin anew. Frames of another session are
 * dropped.
 *
 * The marker is looked for in the raw bytes, before frames are cut: a half frame from before a
 * snapshot may claim any length and would swallow it otherwise. The search keeps how much of the
 * marker the last bytes were (Knuth, Morris, Pratt), so it does not matter how reads cut it. */

#include "agent/session/session.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "agent/freeze/fs_freeze.h"
#include "agent/freeze/mailbox.h"
#include "agent/identity/guest_identity.h"
#include "agent/session/exec.h"
#include "proto/tlv.h"

#define PROGRAM_SAID_USEC 300000u

#ifndef GRND_INSECURE
#define GRND_INSECURE 4 /* Linux 5.6 */
#endif

/* ---- the marker ---- */

/* fallback[i]: the longest proper prefix of the marker that its first i + 1 bytes end with. */
static void set_marker(Session *session, const uint8_t *marker) {
    size_t length = 0;
    memcpy(session->marker, marker, AGENT_MARKER_SIZE);
    session->fallback[0] = 0;
    for (size_t i = 1; i < AGENT_MARKER_SIZE; i++) {
        while (length > 0 && marker[i] != marker[length])
            length = session->fallback[length - 1];
        if (marker[i] == marker[length])
            length++;
        session->fallback[i] = (uint8_t)length;
    }
    session->matched = 0;
}

/* How many of the bytes belong to the part up to and including the marker's end; 0: no end here. */
static size_t find_marker(Session *session, const uint8_t *data, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (session->matched == 0) {
            const uint8_t *next = memchr(data + i, session->marker[0], size - i);
            if (!next)
                return 0;
            i = (size_t)(next - data);
        }
        while (session->matched > 0 && data[i] != session->marker[session->matched])
            session->matched = session->fallback[session->matched - 1];
        if (data[i] == session->marker[session->matched])
            session->matched++;
        if (session->matched == AGENT_MARKER_SIZE) {
            session->matched = 0;
            return i + 1;
        }
    }
    return 0;
}

/* ---- streams ---- */

static Stream *find_stream(Session *session, uint16_t id) {
    for (Stream *stream = session->streams; stream; stream = stream->next)
        if (stream->id == id && !stream->detached)
            return stream;
    return NULL;
}

Stream *session_add_stream(Session *session, uint16_t id) {
    if (session->n_attached >= AGENT_STREAMS_MAX || session->n_streams >= SESSION_STREAMS_MAX)
        return NULL;
    Stream *stream = stream_new(id, &session->channel);
    if (!stream)
        return NULL;
    stream->next = session->streams;
    session->streams = stream;
    session->n_streams++;
    session->n_attached++;
    return stream;
}

void session_remove_stream(Session *session, Stream *stream) {
    Stream **link = &session->streams;
    while (*link != stream)
        link = &(*link)->next;
    *link = stream->next;
    session->n_streams--;
    if (!stream->detached)
        session->n_attached--;
    stream_free(stream);
}

static void leave(Stream *stream) {
    stream->leaving = false;
    if (stream->survives)
        stream_detach(stream);
    else
        stream_cancel(stream);
}

/* Leaving closes descriptors, and on the way out of that the kernel runs what looks as if the agent
 * had lost its CPU (freeze/preemption.h). So in a clone it is put off until others may run. */
static void detach_all(Session *session) {
    for (Stream *stream = session->streams; stream; stream = stream->next) {
        if (stream->detached)
            continue;
        stream->leaving = stream->detached = true;
        if (!session->frozen)
            leave(stream);
    }
    session->n_attached = 0;
}

static void leave_all(Session *session) {
    for (Stream *stream = session->streams; stream; stream = stream->next)
        if (stream->leaving)
            leave(stream);
}

static void cancel_stream(Session *session, Stream *stream) {
    stream_cancel(stream);
    session->n_attached--;
}

static void send_program_end(Session *session) {
    uint8_t buffer[64];
    TlvWriter writer;
    tlv_start(&writer, buffer, sizeof(buffer));
    tlv_add_u64(&writer, TAG_EXIT_CODE, (uint64_t)session->program_exit_code);
    tlv_add_u64(&writer, TAG_REALTIME_USEC, session->program_ended_usec);
    channel_send(&session->channel, 0, FRAME_PROGRAM, buffer, writer.size);
}

void session_begin_program(Session *session, pid_t pid) {
    session->program = pid;
    session->program_ended = false;
}

/* What it said last is still on its way. */
void session_end_program(Session *session, int exit_code) {
    uint64_t soon = now_usec() + PROGRAM_SAID_USEC;
    session->program = 0;
    session->program_ended = true;
    session->program_exit_code = exit_code;
    session->program_ended_usec = realtime_usec();
    send_program_end(session);
    if (session->power != POWER_NONE && session->power_at_usec > soon)
        session->power_at_usec = soon;
}

void session_reap(Session *session, pid_t pid, int status) {
    if (pid == session->program)
        session_end_program(session, stream_exit_code(status));
    for (Stream *stream = session->streams; stream; stream = stream->next)
        if (stream->pid == pid && !stream->reaped) {
            stream_reap(stream, status);
            return;
        }
}

void session_sweep(Session *session) {
    for (Stream *stream = session->streams, *next; stream; stream = next) {
        next = stream->next;
        if (stream_finish(stream))
            session_remove_stream(session, stream);
    }
}

/* ---- frames ---- */

void session_send_result(Session *session, uint16_t stream, const Result *result) {
    stream_send_result(&session->channel, stream, result);
}

void session_announce(Session *session) {
    uint8_t buffer[128];
    TlvWriter writer;
    tlv_start(&writer, buffer, sizeof(buffer));
    tlv_add_u64(&writer, TAG_VERSION, AGENT_PROTOCOL_VERSION);
    tlv_add_text(&writer, TAG_AGENT_VERSION, RAMET_VERSION);
    channel_send(&session->channel, 0, FRAME_ANNOUNCE, buffer, writer.size);
}

static void send_welcome(Session *session, const uint8_t *nonce) {
    uint8_t buffer[256];
    TlvWriter writer;
    tlv_start(&writer, buffer, sizeof(buffer));
    tlv_add(&writer, TAG_NONCE, nonce, AGENT_NONCE_SIZE);
    tlv_add(&writer, TAG_RAM_NONCE, session->ram_nonce, sizeof(session->ram_nonce));
    tlv_add_u64(&writer, TAG_COUNTER, session->counter);
    tlv_add_u64(&writer, TAG_VERSION, AGENT_PROTOCOL_VERSION);
    tlv_add_text(&writer, TAG_AGENT_VERSION, RAMET_VERSION);
    tlv_add_u64(&writer, TAG_UPTIME_USEC, now_usec());
    tlv_add_u64(&writer, TAG_REALTIME_USEC, realtime_usec());
    tlv_add_u64(&writer, TAG_INIT, session->is_init ? 1 : 0);
    if (exclusive_cpu_holds(&session->exclusive))
        tlv_add_u64(&writer, TAG_EXCLUSIVE, 1);
    channel_send_raw(&session->channel, nonce, AGENT_NONCE_SIZE);
    channel_send(&session->channel, 0, FRAME_WELCOME, buffer, writer.size);
    if (session->program_ended)
        send_program_end(session);
}

static void handle_hello(Session *session, const Frame *frame) {
    const uint8_t *nonce = NULL, *marker = NULL;
    TlvReader reader;
    TlvField field;
    int r;
    tlv_read(&reader, frame->payload, frame->length);
    while ((r = tlv_next(&reader, &field)) > 0) {
        if (field.tag == TAG_NONCE && field.size == AGENT_NONCE_SIZE)
            nonce = field.data;
        else if (field.tag == TAG_MARKER && field.size == AGENT_MARKER_SIZE)
            marker = field.data;
    }
    if (r < 0 || !nonce)
        return;
    for (size_t i = 0; !session->greeted && i < AGENT_NONCE_SIZE; i++)
        session->ram_nonce[i] ^= nonce[i];
    session->expects_hello = false;
    session->greeted = true;
    session->counter++;
    session->channel.session = (uint32_t)nonce[0] | (uint32_t)nonce[1] << 8 |
                               (uint32_t)nonce[2] << 16 | (uint32_t)nonce[3] << 24;
    if (marker) {
        set_marker(session, marker);
        mailbox_close();
    }
    send_welcome(session, nonce);
    channel_flush(&session->channel); /* everybody waits for it */
    session->restored = session->frozen;
    if (session->frozen)
        exclusive_cpu_extend(&session->exclusive);
}

/* A thaw writes, and what says that it is written may want a kernel thread of another CPU: on that
 * CPU others must run again before it. On our own the agent still goes first. */
void session_thaw(Session *session, Result *result) {
    generation_announce();
    guest_identity_forget();
    mailbox_close();
    exclusive_cpu_free_others(&session->exclusive);
    if (session->frozen)
        fs_thaw_all(result);
    exclusive_cpu_end(&session->exclusive);
    session->frozen = session->restored = false;
    leave_all(session);
}

/* These work while the disks are frozen, or say so themselves. */
static bool needs_disk(uint8_t type) {
    return type != FRAME_IDENTITY && type != FRAME_CLOCK && type != FRAME_PING &&
           type != FRAME_FREEZE && type != FRAME_THAW;
}

static void handle_control(Session *session, Stream *stream, const Frame *frame) {
    uint64_t rows = 0, columns = 0, number = 0;
    TlvReader reader;
    TlvField field;
    tlv_read(&reader, frame->payload, frame->length);
    while (tlv_next(&reader, &field) > 0) {
        if (field.tag == TAG_ROWS)
            (void)tlv_u64(&field, &rows);
        else if (field.tag == TAG_COLUMNS)
            (void)tlv_u64(&field, &columns);
        else if (field.tag == TAG_SIGNAL)
            (void)tlv_u64(&field, &number);
    }
    if (frame->type == FRAME_TTY_RESIZE)
        exec_resize(stream, (uint16_t)MIN_OF(rows, 65535u), (uint16_t)MIN_OF(columns, 65535u));
    else if (stream->is_exec)
        exec_signal(stream, (int)MIN_OF(number, 1000u));
}

static void break_off(Session *session, Stream *stream, const char *why) {
    Result result = {0};
    result_say(&result, EPROTO, "%s", why);
    session_send_result(session, stream->id, &result);
    cancel_stream(session, stream);
}

/* A part of a long request. The whole is taken like one that came in a frame. */
static void handle_request_part(Session *session, Stream *stream, const Frame *frame) {
    int r = stream_receive_request(stream, frame->payload, frame->length);
    if (r < 0) {
        break_off(session, stream, "data beyond the request");
    } else if (r > 0) {
        uint8_t *request = stream->request;
        Frame whole = {.session = frame->session,
                       .stream = frame->stream,
                       .type = FRAME_EXEC,
                       .length = (uint32_t)stream->request_size,
                       .payload = request};
        stream->request = NULL;
        session_remove_stream(session, stream);
        session->on_request(session, &whole);
        free(request);
    }
}

static void handle_stream_frame(Session *session, Stream *stream, const Frame *frame) {
    const uint8_t *p = frame->payload;
    if (stream->request && (frame->type == FRAME_DATA || frame->type == FRAME_EOF)) {
        if (frame->type == FRAME_DATA)
            handle_request_part(session, stream, frame);
        else
            break_off(session, stream, "the request is cut off");
        return;
    }
    switch (frame->type) {
    case FRAME_DATA:
        if (stream_receive_data(stream, p, frame->length))
            break;
        break_off(session, stream, "data beyond the credit or the end");
        break;
    case FRAME_EOF:
        stream_receive_eof(stream);
        break;
    case FRAME_WINDOW:
        if (frame->length == 4)
            stream_receive_window(stream, (uint32_t)p[0] | (uint32_t)p[1] << 8 |
                                              (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24);
        break;
    case FRAME_TTY_RESIZE:
    case FRAME_SIGNAL:
        handle_control(session, stream, frame);
        break;
    case FRAME_CANCEL:
        cancel_stream(session, stream);
        break;
    default: /* a request on a stream that is in use, or something newer than we are */
        break;
    }
}

static void handle_frame(Session *session, const Frame *frame) {
    if (session->expects_hello) {
        if (frame->type == FRAME_HELLO)
            handle_hello(session, frame);
        return;
    }
    if (!session->greeted || frame->session != session->channel.session || frame->stream == 0)
        return;
    Stream *stream = find_stream(session, frame->stream);
    if (stream)
        handle_stream_frame(session, stream, frame);
    else if (frame->type >= FRAME_IDENTITY && frame->type < FRAME_DATA) {
        if (session->restored && needs_disk(frame->type))
            session_thaw(session, &(Result){0});
        session->on_request(session, frame);
    }
}

/* Bytes that are in the reader's buffer now. */
static void added(Session *session, uint8_t *data, size_t size) {
    size_t end;
    Frame frame;
    while ((end = find_marker(session, data, size)) > 0) {
        size_t room;
        detach_all(session);
        channel_drop_output(&session->channel);
        session->expects_hello = true;
        frame_reader_reset(&session->reader);
        uint8_t *space = frame_reader_space(&session->reader, &room);
        size -= end;
        memmove(space, data + end, size);
        data = space;
    }
    frame_reader_added(&session->reader, size);
    while (frame_reader_next(&session->reader, &frame))
        handle_frame(session, &frame);
}

int session_read(Session *session) {
    size_t room;
    uint8_t *space = frame_reader_space(&session->reader, &room);
    ssize_t n = channel_read(&session->channel, space, room);
    if (n > 0)
        added(session, space, (size_t)n);
    return n < 0 ? (int)n : 0;
}

void session_input(Session *session, const uint8_t *data, size_t size) {
    while (size > 0) {
        size_t room;
        uint8_t *space = frame_reader_space(&session->reader, &room);
        size_t part = MIN_OF(size, room);
        memcpy(space, data, part);
        added(session, space, part);
        data += part;
        size -= part;
    }
}

/* ---- life ---- */

/* The nonce only has to differ from those of other agents. A young kernel has no good random
 * numbers yet, and would take a second to gather some if /dev/urandom were read; the first HELLO's
 * nonce, which is random, is mixed in (handle_hello). */
static void draw_nonce(uint8_t *nonce) {
    uint64_t now = now_usec() ^ realtime_usec() << 20;
    if (getrandom(nonce, AGENT_NONCE_SIZE, GRND_NONBLOCK | GRND_INSECURE) != AGENT_NONCE_SIZE)
        memcpy(nonce, &now, sizeof(now)); /* before Linux 5.6 */
}

int session_init(Session *session, int channel_fd, bool is_init, SessionRequest on_request) {
    *session = (Session){
        .is_init = is_init, .on_request = on_request, .channel = {.fd = -1, .edge_fd = -1}};
    set_marker(session, (const uint8_t *)AGENT_MARKER);
    draw_nonce(session->ram_nonce);
    int r = channel_init(&session->channel, channel_fd);
    if (r == 0)
        r = frame_reader_init(&session->reader);
    if (r < 0)
        session_free(session);
    return r;
}

void session_free(Session *session) {
    while (session->streams)
        session_remove_stream(session, session->streams);
    frame_reader_free(&session->reader);
    channel_free(&session->channel);
}
