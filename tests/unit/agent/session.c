/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper_side.h"

static void expect_ping(Peer *peer) {
    peer_send(peer, ++peer->last_stream, FRAME_PING, NULL, 0);
    Output output = peer_finish(peer, peer->last_stream);
    CHECK_INT(output.last, FRAME_RESULT);
    CHECK_INT(output.code, 0);
}

static void test_announce_and_greeting_in_pieces(void) {
    Peer peer;
    peer_start(&peer);
    Frame frame = peer_next(&peer);
    CHECK_INT(frame.type, FRAME_ANNOUNCE);
    CHECK_INT(frame.session, 0);
    CHECK_INT(frame_u64(&frame, TAG_VERSION), AGENT_PROTOCOL_VERSION);
    for (size_t part = 1; part < 40; part += 7) {
        peer_send_greeting(&peer, part);
        CHECK_INT(peer_take_welcome(&peer), part / 7 + 1);
        expect_ping(&peer);
    }
    peer_stop(&peer);
}

static void test_greeting_after_garbage_and_half_frames(void) {
    Peer peer;
    uint8_t header[FRAME_HEADER_SIZE];
    peer_start(&peer);
    peer_write(&peer, "\xf5RAMET-SYNC-M\xf5RAMET", 19); /* almost a marker, twice */
    frame_encode_header(header, 1, 1, FRAME_DATA, 60000);
    peer_write(&peer, header, sizeof(header)); /* a frame that never ends */
    peer_write(&peer, "abc", 3);
    peer_greet(&peer);
    expect_ping(&peer);

    peer_write(&peer, header, 11);
    peer_greet(&peer);
    expect_ping(&peer);
    peer_stop(&peer);
}

static void test_nothing_is_believed_before_the_greeting(void) {
    Peer peer;
    peer_start(&peer);
    peer_send(&peer, 1, FRAME_PING, NULL, 0);
    peer_send_u64(&peer, 0, FRAME_HELLO, TAG_VERSION, 1); /* no marker before it */
    peer_greet(&peer);
    expect_ping(&peer);
    peer_stop(&peer);
}

static void test_marker_changes_and_sessions_are_apart(void) {
    Peer peer;
    peer_start(&peer);
    peer_greet(&peer);
    peer_write(&peer, AGENT_MARKER, AGENT_MARKER_SIZE); /* the old one means nothing now */
    expect_ping(&peer);
    peer.session ^= 1;
    peer_send(&peer, 900, FRAME_PING, NULL, 0); /* no answer comes */
    peer.session ^= 1;
    expect_ping(&peer);
    peer_stop(&peer);
}

static void test_unknown_request(void) {
    Peer peer;
    peer_start(&peer);
    peer_greet(&peer);
    peer_send(&peer, 1, 47, NULL, 0);
    CHECK_INT(peer_finish(&peer, 1).code, ENOSYS);
    peer_send(&peer, 2, FRAME_EXEC, "\1", 1);
    CHECK_INT(peer_finish(&peer, 2).code, EBADMSG);
    peer_send(&peer, 3, FRAME_EXEC, NULL, 0);
    CHECK_INT(peer_finish(&peer, 3).code, EINVAL);
    peer_stop(&peer);
}

static void test_output_credit(void) {
    Peer peer;
    size_t got = 0;
    peer_start(&peer);
    peer_greet(&peer);
    uint16_t stream = peer_exec(&peer, "head -c 1000000 /dev/zero", false);
    while (got < AGENT_WINDOW_BYTES) {
        Frame frame = peer_next(&peer);
        CHECK_INT(frame.type, FRAME_DATA);
        got += frame.length;
    }
    CHECK_INT(got, AGENT_WINDOW_BYTES);
    expect_ping(&peer); /* nothing but the answer comes, and others are not held up */
    peer_grant(&peer, stream, 10);
    CHECK_INT(peer_next(&peer).length, 10);
    peer_grant(&peer, stream, 1000000);
    Output output = peer_finish(&peer, stream);
    CHECK_INT(output.n_out, 1000000 - AGENT_WINDOW_BYTES - 10);
    CHECK_INT(output.code, 0);
    peer_stop(&peer);
}

static void test_input_credit(void) {
    static uint8_t chunk[65536];
    Peer peer;
    peer_start(&peer);
    peer_greet(&peer);
    uint16_t stream = peer_exec(&peer, "read -r go; wc -c", false);
    /* Half of it fits the pipe or is kept; what is beyond the credit is an error. */
    for (int i = 0; i < 4; i++)
        peer_send(&peer, stream, FRAME_DATA, chunk, sizeof(chunk));
    expect_ping(&peer);
    for (int i = 0; i < 4; i++)
        peer_send(&peer, stream, FRAME_DATA, chunk, sizeof(chunk));
    Output output = peer_finish(&peer, stream);
    CHECK_INT(output.last, FRAME_RESULT);
    CHECK_INT(output.code, EPROTO);
    expect_ping(&peer);
    peer_stop(&peer);
}

static void test_input_is_granted_as_it_is_read(void) {
    static uint8_t chunk[32768];
    Peer peer;
    int64_t credit = AGENT_WINDOW_BYTES, left = 3000000;
    peer_start(&peer);
    peer_greet(&peer);
    uint16_t stream = peer_exec(&peer, "wc -c", false);
    while (left > 0) {
        size_t part = (size_t)MIN_OF(left, (int64_t)sizeof(chunk));
        while (credit < (int64_t)part) {
            Frame frame = peer_next(&peer);
            CHECK_INT(frame.type, FRAME_WINDOW);
            credit += frame.payload[0] | frame.payload[1] << 8 | frame.payload[2] << 16;
        }
        peer_send(&peer, stream, FRAME_DATA, chunk, part);
        credit -= (int64_t)part;
        left -= (int64_t)part;
    }
    peer_send(&peer, stream, FRAME_EOF, NULL, 0);
    Output output = peer_finish(&peer, stream);
    CHECK_INT(output.code, 0);
    CHECK_INT(atoi(output.out), 3000000);
    peer_stop(&peer);
}

/* sh -c with an argument that no frame holds. */
static size_t long_request(uint8_t *payload, size_t room, size_t argument) {
    _cleanup_free_ char *text = malloc(argument + 1);
    TlvWriter writer;
    memset(text, 'x', argument);
    text[argument] = '\0';
    tlv_start(&writer, payload, room);
    tlv_add_text(&writer, TAG_ARG, "sh");
    tlv_add_text(&writer, TAG_ARG, "-c");
    tlv_add_text(&writer, TAG_ARG, "echo ${#1} ${#20}; wc -c");
    for (int i = 0; i < 22; i++)
        tlv_add(&writer, TAG_ARG, text, argument);
    CHECK(!writer.overflow);
    return writer.size;
}

/* Sends bytes as DATA, within the credit. */
static void send_within_credit(Peer *peer, uint16_t stream, const uint8_t *data, size_t size,
                               size_t *credit) {
    while (size > 0) {
        size_t part = size < 50000 ? size : 50000;
        while (*credit < part) {
            Frame frame = peer_next(peer);
            CHECK_INT(frame.type, FRAME_WINDOW);
            *credit +=
                frame.payload[0] | (size_t)frame.payload[1] << 8 | (size_t)frame.payload[2] << 16;
        }
        peer_send(peer, stream, FRAME_DATA, data, part);
        *credit -= part;
        data += part;
        size -= part;
    }
}

/* What the command reads comes behind its own request, and the credit begins anew. */
static void test_long_request(void) {
    static uint8_t payload[AGENT_EXEC_MAX], input[3 * AGENT_WINDOW_BYTES];
    size_t size = long_request(payload, sizeof(payload), 80000), credit = AGENT_WINDOW_BYTES;
    Peer peer;
    peer_start(&peer);
    peer_greet(&peer);
    uint16_t stream = ++peer.last_stream;
    peer_send_u64(&peer, stream, FRAME_EXEC, TAG_REQUEST_BYTES, size);
    send_within_credit(&peer, stream, payload, size, &credit);
    peer_send(&peer, stream, FRAME_DATA, input, 100);
    peer_send(&peer, stream, FRAME_EOF, NULL, 0);
    Output output = peer_finish(&peer, stream);
    CHECK_INT(output.last, FRAME_EXIT);
    CHECK_STR(output.out, "80000 80000\n100\n");
    peer_stop(&peer);
}

static void expect_refusal(Peer *peer, uint64_t announced, size_t sent, uint8_t then,
                           int expected) {
    static uint8_t payload[65536];
    uint16_t stream = ++peer->last_stream;
    peer_send_u64(peer, stream, FRAME_EXEC, TAG_REQUEST_BYTES, announced);
    if (sent > 0)
        peer_send(peer, stream, FRAME_DATA, payload, sent);
    if (then)
        peer_send(peer, stream, then, NULL, 0);
    if (expected)
        CHECK_INT(peer_finish(peer, stream).code, expected);
    expect_ping(peer);
}

static void test_long_request_is_bounded(void) {
    Peer peer;
    peer_start(&peer);
    peer_greet(&peer);
    expect_refusal(&peer, AGENT_EXEC_MAX + 1, 0, 0, E2BIG);
    expect_refusal(&peer, UINT64_MAX, 0, 0, E2BIG);
    expect_refusal(&peer, 10, 11, 0, EPROTO);            /* more than was announced */
    expect_refusal(&peer, 70000, 10, FRAME_EOF, EPROTO); /* cut off */
    expect_refusal(&peer, 10, 10, 0, EBADMSG);           /* no fields */
    for (int i = 0; i < 2 * AGENT_STREAMS_MAX; i++)      /* given up: no place stays taken */
        expect_refusal(&peer, 70000, 10, FRAME_CANCEL, 0);
    peer_greet(&peer);
    CHECK_INT(peer_finish(&peer, peer_exec(&peer, "exit 7", false)).code, 7);
    peer_stop(&peer);
}

static void test_too_many_streams(void) {
    Peer peer;
    peer_start(&peer);
    peer_greet(&peer);
    for (int i = 0; i < AGENT_STREAMS_MAX; i++)
        (void)peer_exec(&peer, "cat", false);
    uint16_t one_more = peer_exec(&peer, "true", false);
    CHECK_INT(peer_finish(&peer, one_more).code, EMFILE);
    for (uint16_t stream = 1; stream <= AGENT_STREAMS_MAX; stream++) {
        peer_send(&peer, stream, FRAME_EOF, NULL, 0);
        CHECK_INT(peer_finish(&peer, stream).code, 0);
    }
    CHECK_INT(peer_finish(&peer, peer_exec(&peer, "true", false)).code, 0);
    peer_stop(&peer);
}

static void test_new_session_detaches(void) {
    char path[] = "/tmp/ramet-agent-test-XXXXXX", script[200];
    Peer peer;
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    peer_start(&peer);
    peer_greet(&peer);
    /* It sees the end of its input, writes more than any pipe holds, and lives on. */
    (void)snprintf(script, sizeof(script),
                   "echo begun; cat >/dev/null; head -c 1000000 /dev/zero; echo lives >%s", path);
    (void)peer_exec(&peer, script, false);
    while (peer_next(&peer).type != FRAME_DATA)
        ; /* what the marker overtakes would be dropped */
    peer_greet(&peer);
    (void)snprintf(script, sizeof(script), "until grep lives %s; do sleep 0.05; done", path);
    Output output = peer_finish(&peer, peer_exec(&peer, script, false));
    CHECK_STR(output.out, "lives\n");
    peer_stop(&peer);
    (void)close(fd);
    (void)unlink(path);
}

int main(void) {
    RUN(test_announce_and_greeting_in_pieces);
    RUN(test_greeting_after_garbage_and_half_frames);
    RUN(test_nothing_is_believed_before_the_greeting);
    RUN(test_marker_changes_and_sessions_are_apart);
    RUN(test_unknown_request);
    RUN(test_output_credit);
    RUN(test_input_credit);
    RUN(test_input_is_granted_as_it_is_read);
    RUN(test_long_request);
    RUN(test_long_request_is_bounded);
    RUN(test_too_many_streams);
    RUN(test_new_session_detaches);
    return 0;
}
