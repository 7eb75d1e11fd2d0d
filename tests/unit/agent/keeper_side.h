/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper's side of a session, for tests: the agent runs in a child at the other end of a
 * socket. */

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/loop.h"
#include "agent/requests.h"
#include "agent/session/exec.h"
#include "check.h"
#include "proto/tlv.h"

#define PATIENCE_MS 60000

typedef struct Peer {
    int fd;
    pid_t pid;
    uint32_t session;
    uint8_t marker[AGENT_MARKER_SIZE];
    uint8_t nonce[AGENT_NONCE_SIZE];
    FrameReader reader;
    uint16_t last_stream;
} Peer;

static void peer_start(Peer *peer) {
    int fds[2];
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    *peer = (Peer){.fd = fds[0]};
    peer->pid = fork();
    if (peer->pid == 0) {
        static Session session;
        (void)close(fds[0]);
        int signals = loop_open_signals(false);
        exec_prepare();
        if (signals < 0 || set_nonblocking(fds[1]) < 0 ||
            session_init(&session, fds[1], false, requests_handle) < 0)
            _exit(99);
        session_announce(&session);
        int r = loop_serve(&session, signals, true);
        session_free(&session);
        (void)close(signals);
        exit(r < 0 ? 98 : 0);
    }
    (void)close(fds[1]);
    CHECK_INT(frame_reader_init(&peer->reader), 0);
    memcpy(peer->marker, AGENT_MARKER, AGENT_MARKER_SIZE);
}

/* The agent must end by itself, without an error, once we are gone. */
static void peer_stop(Peer *peer) {
    int status;
    (void)close(peer->fd);
    CHECK_INT(waitpid(peer->pid, &status, 0), peer->pid);
    CHECK_INT(status, 0);
    frame_reader_free(&peer->reader);
}

static void peer_write(Peer *peer, const void *data, size_t size) {
    CHECK_INT(write_all(peer->fd, data, size), 0);
}

static void peer_send(Peer *peer, uint16_t stream, uint8_t type, const void *payload, size_t size) {
    uint8_t header[FRAME_HEADER_SIZE];
    frame_encode_header(header, peer->session, stream, type, (uint32_t)size);
    peer_write(peer, header, sizeof(header));
    peer_write(peer, payload, size);
}

static size_t peer_read(Peer *peer, uint8_t *data, size_t room) {
    struct pollfd wait = {.fd = peer->fd, .events = POLLIN};
    CHECK_INT(poll(&wait, 1, PATIENCE_MS), 1);
    ssize_t n = read(peer->fd, data, room);
    CHECK(n > 0);
    return (size_t)n;
}

static Frame peer_next(Peer *peer) {
    Frame frame;
    while (!frame_reader_next(&peer->reader, &frame)) {
        size_t room;
        uint8_t *space = frame_reader_space(&peer->reader, &room);
        frame_reader_added(&peer->reader, peer_read(peer, space, room));
    }
    CHECK_INT(peer->reader.skipped_bytes, 0);
    return frame;
}

static uint64_t frame_u64(const Frame *frame, uint16_t tag) {
    TlvReader reader;
    TlvField field;
    uint64_t value = UINT64_MAX;
    tlv_read(&reader, frame->payload, frame->length);
    while (tlv_next(&reader, &field) > 0)
        if (field.tag == tag)
            CHECK_INT(tlv_u64(&field, &value), 0);
    return value;
}

/* Sends the bytes of a greeting, `part` at a time. */
static void peer_send_greeting(Peer *peer, size_t part) {
    uint8_t payload[128], bytes[256], next[AGENT_MARKER_SIZE];
    TlvWriter writer;
    CHECK_INT(getrandom(peer->nonce, sizeof(peer->nonce), 0), sizeof(peer->nonce));
    CHECK_INT(getrandom(next, sizeof(next), 0), sizeof(next));
    memcpy(&peer->session, peer->nonce, 4);
    tlv_start(&writer, payload, sizeof(payload));
    tlv_add(&writer, TAG_NONCE, peer->nonce, sizeof(peer->nonce));
    tlv_add(&writer, TAG_MARKER, next, sizeof(next));
    memcpy(bytes, peer->marker, AGENT_MARKER_SIZE);
    frame_encode_header(bytes + 16, peer->session, 0, FRAME_HELLO, (uint32_t)writer.size);
    memcpy(bytes + 16 + FRAME_HEADER_SIZE, payload, writer.size);
    size_t size = 16 + FRAME_HEADER_SIZE + writer.size;
    for (size_t done = 0; done < size; done += part)
        peer_write(peer, bytes + done, MIN_OF(part, size - done));
    memcpy(peer->marker, next, sizeof(next));
}

/* Drops everything before the nonce; the counter of the WELCOME. */
static uint64_t peer_take_welcome(Peer *peer) {
    uint8_t bytes[1 << 16];
    size_t n = MIN_OF(peer->reader.end - peer->reader.start, sizeof(bytes));
    uint8_t *at;
    memcpy(bytes, peer->reader.buffer + peer->reader.start, n);
    frame_reader_reset(&peer->reader);
    while (!(at = memmem(bytes, n, peer->nonce, sizeof(peer->nonce)))) {
        if (n > sizeof(bytes) / 2) {
            memmove(bytes, bytes + n - 16, 16);
            n = 16;
        }
        n += peer_read(peer, bytes + n, sizeof(bytes) - n);
    }
    at += sizeof(peer->nonce);
    size_t room, rest = n - (size_t)(at - bytes);
    uint8_t *space = frame_reader_space(&peer->reader, &room);
    CHECK(rest <= room);
    memcpy(space, at, rest);
    frame_reader_added(&peer->reader, rest);
    peer->reader.skipped_bytes = 0;
    Frame frame = peer_next(peer);
    CHECK_INT(frame.type, FRAME_WELCOME);
    CHECK_INT(frame.session, peer->session);
    CHECK_INT(frame_u64(&frame, TAG_INIT), 0);
    return frame_u64(&frame, TAG_COUNTER);
}

static void peer_greet(Peer *peer) {
    peer_send_greeting(peer, 64);
    (void)peer_take_welcome(peer);
}

/* Sends an exec request for `sh -c script`. */
static uint16_t peer_exec(Peer *peer, const char *script, bool tty) {
    uint8_t payload[4096];
    TlvWriter writer;
    tlv_start(&writer, payload, sizeof(payload));
    tlv_add_text(&writer, TAG_ARG, "sh");
    tlv_add_text(&writer, TAG_ARG, "-c");
    tlv_add_text(&writer, TAG_ARG, script);
    tlv_add_text(&writer, TAG_ENV, "GREETING=hello");
    if (tty) {
        tlv_add_u64(&writer, TAG_TTY, 1);
        tlv_add_u64(&writer, TAG_ROWS, 33);
        tlv_add_u64(&writer, TAG_COLUMNS, 101);
    }
    peer_send(peer, ++peer->last_stream, FRAME_EXEC, payload, writer.size);
    return peer->last_stream;
}

static void peer_send_u64(Peer *peer, uint16_t stream, uint8_t type, uint16_t tag, uint64_t value) {
    uint8_t payload[16];
    TlvWriter writer;
    tlv_start(&writer, payload, sizeof(payload));
    tlv_add_u64(&writer, tag, value);
    peer_send(peer, stream, type, payload, writer.size);
}

static void peer_grant(Peer *peer, uint16_t stream, uint32_t size) {
    uint8_t bytes[4] = {(uint8_t)size, (uint8_t)(size >> 8), (uint8_t)(size >> 16),
                        (uint8_t)(size >> 24)};
    peer_send(peer, stream, FRAME_WINDOW, bytes, sizeof(bytes));
}

typedef struct Output {
    char out[4096], err[4096];
    size_t n_out, n_err; /* all of it, even what did not fit */
    int eofs;
    uint64_t code; /* of EXIT, or the errno of RESULT */
    uint8_t last;
} Output;

static void keep(char *text, size_t room, size_t *n, const Frame *frame) {
    if (*n + frame->length < room) {
        memcpy(text + *n, frame->payload, frame->length);
        text[*n + frame->length] = '\0';
    }
    *n += frame->length;
}

/* Takes frames until the stream ends. */
static Output peer_finish(Peer *peer, uint16_t stream) {
    Output output = {.out = "", .err = ""};
    for (;;) {
        Frame frame = peer_next(peer);
        CHECK_INT(frame.session, peer->session);
        if (frame.type == FRAME_WINDOW)
            continue;
        CHECK_INT(frame.stream, stream);
        output.last = frame.type;
        if (frame.type == FRAME_DATA) {
            keep(output.out, sizeof(output.out), &output.n_out, &frame);
            peer_grant(peer, stream, frame.length);
        } else if (frame.type == FRAME_DATA_ERR) {
            keep(output.err, sizeof(output.err), &output.n_err, &frame);
            peer_grant(peer, stream, frame.length);
        } else if (frame.type == FRAME_EOF || frame.type == FRAME_EOF_ERR) {
            output.eofs++;
        } else if (frame.type == FRAME_EXIT) {
            CHECK_INT(output.eofs, 2);
            output.code = frame_u64(&frame, TAG_EXIT_CODE);
            return output;
        } else if (frame.type == FRAME_RESULT) {
            output.code = frame_u64(&frame, TAG_ERRNO);
            return output;
        }
    }
}
