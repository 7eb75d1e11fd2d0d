/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper's end of the agent's protocol, fed byte by byte by a made-up agent. */
#include <errno.h>

#include "check.h"
#include "keeper/guest/link.h"
#include "proto/tlv.h"

static Link link_;
static LinkProgram last_program;
static unsigned n_programs, n_announced, n_welcomed, n_failed, n_lost, n_frames, n_ends;
static size_t data_bytes;
static size_t piece = 65536; /* how the guest's bytes are cut */

static void on_announced(void *data) {
    n_announced++;
}

static void on_welcomed(void *data, const LinkWelcome *welcome) {
    n_welcomed++;
    CHECK_STR(welcome->agent_version, "1?2");
    CHECK_INT(welcome->counter, 5);
}

static void on_program_ended(void *data, const LinkProgram *program) {
    last_program = *program;
    n_programs++;
}

static void on_failed(void *data, const char *text, size_t size) {
    n_failed++;
}

static void on_lost(void *data, const char *why) {
    n_lost++;
}

static void on_frame(void *data, const Frame *frame) {
    if (!frame)
        n_ends++;
    else if (frame->type == FRAME_DATA)
        data_bytes += frame->length;
    else
        n_frames++;
}

static void begin(size_t cut) {
    static const LinkHandlers handlers = {on_announced, on_welcomed, on_program_ended, on_failed,
                                          on_lost};
    n_programs = n_announced = n_welcomed = n_failed = n_lost = n_frames = n_ends = 0;
    data_bytes = 0;
    piece = cut;
    CHECK_INT(link_init(&link_, &handlers, NULL), 0);
}

static void feed(const void *data, size_t size) {
    for (const uint8_t *next = data; size > 0;) {
        size_t room;
        uint8_t *space = link_space(&link_, &room);
        size_t n = size < piece ? size : piece;
        n = n < room ? n : room;
        memcpy(space, next, n);
        link_received(&link_, n);
        next += n;
        size -= n;
    }
}

static void feed_frame(uint32_t session, uint16_t stream, uint8_t type, const void *payload,
                       size_t size) {
    uint8_t header[FRAME_HEADER_SIZE];
    frame_encode_header(header, session, stream, type, (uint32_t)size);
    feed(header, sizeof(header));
    feed(payload, size);
}

static void feed_welcome(const uint8_t *echo) {
    uint8_t payload[256];
    TlvWriter writer;
    tlv_start(&writer, payload, sizeof(payload));
    tlv_add(&writer, TAG_NONCE, echo, AGENT_NONCE_SIZE);
    tlv_add(&writer, TAG_RAM_NONCE, "0123456789abcdef", 16);
    tlv_add_u64(&writer, TAG_COUNTER, 5);
    tlv_add_text(&writer, TAG_AGENT_VERSION,
                 "1\x1b"
                 "2");
    feed_frame(link_.session, 0, FRAME_WELCOME, payload, writer.size);
}

/* A prefix of the nonce right before it must not hide it. */
static void greet(void) {
    feed_frame(0, 0, FRAME_ANNOUNCE, NULL, 0);
    CHECK_INT(link_.state, LINK_GREETING);
    uint8_t nonce[AGENT_NONCE_SIZE];
    memcpy(nonce, link_.nonce, sizeof(nonce));
    feed("what was before", 15);
    feed(nonce, 7);
    feed(nonce, sizeof(nonce));
    feed_welcome(nonce);
    CHECK_INT(link_.state, LINK_UP);
}

static LinkStream *open_stream(uint8_t request) {
    LinkStream *stream = NULL;
    CHECK_INT(link_open(&link_, request, "x", 1, on_frame, NULL, &stream), 0);
    return stream;
}

static void drop_output(void) {
    size_t size;
    (void)link_output(&link_, &size);
    link_output_taken(&link_, size);
}

static void greets(void) {
    static const size_t cuts[] = {1, 3, 17, 65536};
    for (size_t i = 0; i < 4; i++) {
        begin(cuts[i]);
        LinkStream *stream = NULL;
        CHECK_INT(link_open(&link_, FRAME_PING, NULL, 0, on_frame, NULL, &stream), -ENOTCONN);
        feed("garbage", 7);
        greet();
        size_t size;
        CHECK(memcmp(link_output(&link_, &size), AGENT_MARKER, AGENT_MARKER_SIZE) == 0);
        CHECK(memcmp(link_.marker, AGENT_MARKER, AGENT_MARKER_SIZE) != 0);
        CHECK_INT(n_welcomed, 1);
        CHECK_INT(n_lost, 0);
        link_free(&link_);
    }
}

static void feed_program(uint32_t session, uint64_t exit_code) {
    uint8_t payload[64];
    TlvWriter writer;
    tlv_start(&writer, payload, sizeof(payload));
    tlv_add_u64(&writer, TAG_EXIT_CODE, exit_code);
    tlv_add_u64(&writer, TAG_REALTIME_USEC, 77);
    feed_frame(session, 0, FRAME_PROGRAM, payload, writer.size);
}

/* One of another session, or with a status that there is not, says nothing; and nobody may say it
 * without end. */
static void tells_of_program(void) {
    begin(3);
    greet();
    feed_program(link_.session + 1, 3);
    feed_program(link_.session, 256);
    feed_frame(link_.session, 0, FRAME_PROGRAM, "x", 1);
    CHECK_INT(n_programs, 0);
    feed_program(link_.session, 137);
    CHECK_INT(n_programs, 1);
    CHECK_INT(last_program.exit_code, 137);
    CHECK_INT(last_program.ended_at_usec, 77);
    CHECK_INT(n_lost, 0);
    while (n_lost == 0)
        feed_program(link_.session, 0);
    CHECK(n_programs > 100);
    link_free(&link_);
}

static void wrong_welcome(void) {
    begin(65536);
    feed_frame(0, 0, FRAME_ANNOUNCE, NULL, 0);
    uint8_t nonce[AGENT_NONCE_SIZE];
    memcpy(nonce, link_.nonce, sizeof(nonce));
    feed(nonce, sizeof(nonce));
    feed_welcome((const uint8_t *)"0123456789abcdef");
    CHECK_INT(n_welcomed, 0);
    CHECK_INT(n_lost, 1);
    CHECK_INT(link_.state, LINK_GREETING);
    link_free(&link_);
}

static void credit_holds(void) {
    static uint8_t block[FRAME_PAYLOAD_MAX];
    begin(65536);
    greet();
    LinkStream *stream = open_stream(FRAME_EXEC);
    for (int i = 0; i < 4; i++)
        feed_frame(link_.session, stream->id, FRAME_DATA, block, sizeof(block));
    CHECK_INT(data_bytes, AGENT_WINDOW_BYTES);
    CHECK_INT(stream->credit_in, 0);
    CHECK_INT(link_grant(&link_, stream, 10), 0);
    feed_frame(link_.session, stream->id, FRAME_DATA, block, 10);
    CHECK_INT(n_lost, 0);
    feed_frame(link_.session, stream->id, FRAME_DATA, block, 1);
    CHECK_INT(n_lost, 1);
    CHECK_INT(n_ends, 1);
    link_free(&link_);
}

static void our_credit_holds(void) {
    static uint8_t block[FRAME_PAYLOAD_MAX];
    begin(65536);
    greet();
    LinkStream *stream = open_stream(FRAME_EXEC);
    size_t sent = 0, room;
    while (sent < 2 * AGENT_WINDOW_BYTES && (room = link_data_room(&link_, stream)) > 0) {
        CHECK_INT(link_send(&link_, stream, FRAME_DATA, block, room), 0);
        sent += room;
        drop_output();
    }
    CHECK_INT(sent, AGENT_WINDOW_BYTES);
    feed_frame(link_.session, stream->id, FRAME_WINDOW, "\5\0\0\0", 4);
    CHECK_INT(link_data_room(&link_, stream), 5);
    CHECK_INT(n_frames, 1);
    link_free(&link_);
}

/* A guest that reads nothing: no more than the buffer's size waits for it. */
static void output_is_bounded(void) {
    static uint8_t block[FRAME_PAYLOAD_MAX];
    LinkStream *streams[AGENT_STREAMS_MAX];
    begin(65536);
    greet();
    for (int i = 0; i < AGENT_STREAMS_MAX; i++)
        streams[i] = open_stream(FRAME_EXEC);
    LinkStream *more = NULL;
    CHECK_INT(link_open(&link_, FRAME_PING, NULL, 0, on_frame, NULL, &more), -EBUSY);
    for (int i = 0; i < 100000; i++) {
        LinkStream *stream = streams[i % AGENT_STREAMS_MAX];
        (void)link_send(&link_, stream, FRAME_DATA, block, link_data_room(&link_, stream));
        (void)link_send(&link_, stream, FRAME_TTY_RESIZE, block, 24);
        (void)link_grant(&link_, stream, 1);
    }
    for (int i = 0; i < AGENT_STREAMS_MAX; i++)
        link_cancel(&link_, streams[i]);
    size_t size;
    (void)link_output(&link_, &size);
    CHECK(size <= LINK_OUT_ROOM);
    link_free(&link_);
}

static void nonsense_is_bounded(void) {
    begin(65536);
    greet();
    for (int i = 0; i < 1000; i++)
        feed_frame(link_.session, 4242, FRAME_DATA, "x", 1);
    CHECK_INT(n_lost, 0);
    for (int i = 0; i < 100000 && n_lost == 0; i++)
        feed_frame(link_.session, 4242, FRAME_DATA, "x", 1);
    CHECK_INT(n_lost, 1);
    link_free(&link_);
}

static void ends_once(void) {
    begin(1);
    greet();
    LinkStream *stream = open_stream(FRAME_PING);
    uint16_t id = stream->id;
    feed_frame(link_.session, id, FRAME_DATA, "x", 1); /* not for a ping */
    feed_frame(link_.session, id, FRAME_EXIT, NULL, 0);
    CHECK_INT(n_frames, 0);
    feed_frame(link_.session, id, FRAME_RESULT, NULL, 0);
    feed_frame(link_.session, id, FRAME_RESULT, NULL, 0);
    CHECK_INT(n_frames, 1);
    CHECK(open_stream(FRAME_PING)->id != id);
    link_free(&link_);
}

static void restarts(void) {
    begin(65536);
    greet();
    (void)open_stream(FRAME_EXEC);
    drop_output();
    feed_frame(0, 0, FRAME_ANNOUNCE, NULL, 0);
    CHECK_INT(n_ends, 1);
    CHECK_INT(link_.state, LINK_GREETING);
    size_t size;
    CHECK(memcmp(link_output(&link_, &size), AGENT_MARKER, AGENT_MARKER_SIZE) == 0);
    link_free(&link_);
}

int main(void) {
    RUN(greets);
    RUN(tells_of_program);
    RUN(wrong_welcome);
    RUN(credit_holds);
    RUN(our_credit_holds);
    RUN(output_is_bounded);
    RUN(nonsense_is_bounded);
    RUN(ends_once);
    RUN(restarts);
    return 0;
}
