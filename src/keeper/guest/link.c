/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/guest/link.h"

/* How it works.
 *
 *   SILENT ──ANNOUNCE──▶ GREETING ──nonce──▶ WELCOMING ──WELCOME──▶ UP
 *                           ▲                                        │
 *                           └────── ANNOUNCE, or rules broken ───────┘
 *
 * In SILENT and GREETING what the guest sends is mostly noise, and is dropped: bytes are scanned
 * for the nonce, and for ANNOUNCE frames, since an agent may start anew at any time. The marker
 * that the agent listens for changes when it has taken our HELLO, and we know that it has once we
 * see the nonce.
 *
 * In UP every frame is held against its stream: the type must fit the request, data the credit.
 * More data than credit, or a malformed window, loses the link at once. Frames of unknown streams
 * are normal for a while after a cancel, so they, and noise between frames, only use up a
 * tolerance.
 *
 * Losing the link ends all streams and greets again. Nothing here grows: the reader holds one
 * frame, the output buffer has a fixed size, there are AGENT_STREAMS_MAX streams. When the output
 * buffer is full, because the guest does not read, data and requests wait or are refused, and
 * grants are refused and tried again later. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/util.h"
#include "proto/tlv.h"

#define TOLERANCE_BYTES (256 * 1024)
#define TOLERANCE_MAX_BYTES ((int64_t)64 * 2 * AGENT_WINDOW_BYTES)
#define CREDIT_OUT_MAX                                                        \
    (16u * 1024u * 1024u) /* nobody needs more; also keeps sums from wrapping \
                           */

int link_init(Link *link, const LinkHandlers *handlers, void *data) {
    *link = (Link){.handlers = *handlers, .data = data};
    memcpy(link->marker, AGENT_MARKER, AGENT_MARKER_SIZE);
    link->out = malloc(LINK_OUT_ROOM);
    if (!link->out || frame_reader_init(&link->reader) < 0) {
        link_free(link);
        return -ENOMEM;
    }
    return 0;
}

void link_free(Link *link) {
    frame_reader_free(&link->reader);
    free(link->out);
    link->out = NULL;
}

/* Output */

static size_t out_used(const Link *link) {
    return link->out_end - link->out_start;
}

static int put(Link *link, const void *data, size_t size) {
    if (size > LINK_OUT_ROOM - out_used(link))
        return -EBUSY;
    if (size > LINK_OUT_ROOM - link->out_end) {
        memmove(link->out, link->out + link->out_start, out_used(link));
        link->out_end = out_used(link);
        link->out_start = 0;
    }
    if (size > 0)
        memcpy(link->out + link->out_end, data, size);
    link->out_end += size;
    return 0;
}

static int put_frame(Link *link, uint32_t session, uint16_t stream, uint8_t type,
                     const void *payload, size_t size) {
    uint8_t header[FRAME_HEADER_SIZE];
    if (FRAME_HEADER_SIZE + size > LINK_OUT_ROOM - out_used(link))
        return -EBUSY;
    frame_encode_header(header, session, stream, type, (uint32_t)size);
    (void)put(link, header, sizeof(header));
    return put(link, payload, size);
}

const uint8_t *link_output(const Link *link, size_t *size) {
    *size = out_used(link);
    return link->out + link->out_start;
}

void link_output_taken(Link *link, size_t size) {
    link->out_start += size;
    if (link->out_start == link->out_end)
        link->out_start = link->out_end = 0;
}

/* Greeting */

static void draw(uint8_t *bytes, size_t size) {
    if (getrandom(bytes, size, 0) != (ssize_t)size)
        abort(); /* cannot happen for 16 bytes */
}

/* A session is never 0, which ANNOUNCE and HELLO have. */
static void draw_nonce(Link *link) {
    do {
        draw(link->nonce, sizeof(link->nonce));
        link->session = (uint32_t)link->nonce[0] | (uint32_t)link->nonce[1] << 8 |
                        (uint32_t)link->nonce[2] << 16 | (uint32_t)link->nonce[3] << 24;
    } while (link->session == 0);
}

static void put_hello(Link *link) {
    uint8_t payload[64];
    TlvWriter writer;
    tlv_start(&writer, payload, sizeof(payload));
    tlv_add(&writer, TAG_NONCE, link->nonce, sizeof(link->nonce));
    tlv_add(&writer, TAG_MARKER, link->next_marker, sizeof(link->next_marker));
    (void)put_frame(link, 0, 0, FRAME_HELLO, payload, writer.size);
}

/* Output that waits belongs to the old session: the agent would drop it anyway, and the marker ends
 * a frame of which only a part was written. */
void link_greet(Link *link, const uint8_t marker[AGENT_MARKER_SIZE]) {
    memmove(link->marker, marker, AGENT_MARKER_SIZE);
    draw(link->next_marker, sizeof(link->next_marker));
    draw_nonce(link);
    link->matched = 0;
    link->out_start = link->out_end = 0;
    (void)put(link, link->marker, AGENT_MARKER_SIZE);
    put_hello(link);
    link->state = LINK_GREETING;
}

static void end_streams(Link *link) {
    for (size_t i = 0; i < AGENT_STREAMS_MAX; i++) {
        LinkStream stream = link->streams[i];
        link->streams[i] = (LinkStream){0};
        if (stream.id)
            stream.handler(stream.data, NULL);
    }
}

static void lose(Link *link, const char *why, const uint8_t *marker) {
    frame_reader_reset(&link->reader);
    link->state = LINK_SILENT;
    end_streams(link);
    link_greet(link, marker);
    link->handlers.lost(link->data, why);
}

static void rules_broken(Link *link, const char *why) {
    lose(link, why, link->marker);
}

void link_close(Link *link) {
    link->state = LINK_SILENT;
    link->out_start = link->out_end = 0;
    end_streams(link);
}

static void announced(Link *link) {
    if (link->state == LINK_UP || link->state == LINK_WELCOMING)
        lose(link, "the agent started anew", (const uint8_t *)AGENT_MARKER);
    else {
        end_streams(link);
        link_greet(link, (const uint8_t *)AGENT_MARKER);
    }
    link->handlers.announced(link->data);
}

/* WELCOME */

static int read_nonce(const TlvField *field, uint8_t *nonce) {
    if (field->size != AGENT_NONCE_SIZE)
        return -EBADMSG;
    memcpy(nonce, field->data, AGENT_NONCE_SIZE);
    return 0;
}

static int read_flag(const TlvField *field, bool *flag) {
    uint64_t value = 0;
    int r = tlv_u64(field, &value);
    *flag = value != 0;
    return r;
}

static int read_welcome_field(const TlvField *field, LinkWelcome *welcome, uint8_t *echo) {
    switch (field->tag) {
    case TAG_NONCE:
        return read_nonce(field, echo);
    case TAG_RAM_NONCE:
        return read_nonce(field, welcome->ram_nonce);
    case TAG_COUNTER:
        return tlv_u64(field, &welcome->counter);
    case TAG_VERSION:
        return tlv_u64(field, &welcome->version);
    case TAG_AGENT_VERSION:
        return tlv_text(field, welcome->agent_version, sizeof(welcome->agent_version));
    case TAG_UPTIME_USEC:
        return tlv_u64(field, &welcome->uptime_usec);
    case TAG_REALTIME_USEC:
        return tlv_u64(field, &welcome->realtime_usec);
    case TAG_INIT:
        return read_flag(field, &welcome->init);
    case TAG_EXCLUSIVE:
        return read_flag(field, &welcome->exclusive);
    default:
        return 0;
    }
}

/* The version is shown to people: printable only. */
static void clean_text(char *text) {
    for (; *text; text++)
        if (*text < ' ' || *text > '~')
            *text = '?';
}

static int read_welcome(const Link *link, const Frame *frame, LinkWelcome *welcome) {
    uint8_t echo[AGENT_NONCE_SIZE] = {0};
    TlvReader reader;
    TlvField field;
    int r;
    tlv_read(&reader, frame->payload, frame->length);
    while ((r = tlv_next(&reader, &field)) > 0)
        if (read_welcome_field(&field, welcome, echo) < 0)
            return -EBADMSG;
    clean_text(welcome->agent_version);
    return r < 0 || memcmp(echo, link->nonce, sizeof(echo)) != 0 ? -EBADMSG : 0;
}

static void handle_welcome(Link *link, const Frame *frame) {
    LinkWelcome welcome = {0};
    if (frame->session != link->session || frame->type != FRAME_WELCOME ||
        read_welcome(link, frame, &welcome) < 0) {
        rules_broken(link, "the agent's greeting is malformed");
        return;
    }
    link->state = LINK_UP;
    link->tolerance_bytes = TOLERANCE_BYTES;
    link->skipped_seen = link->reader.skipped_bytes;
    link->handlers.welcomed(link->data, &welcome);
}

/* Frames of streams */

static LinkStream *find_stream(Link *link, uint16_t id) {
    for (size_t i = 0; id && i < AGENT_STREAMS_MAX; i++)
        if (link->streams[i].id == id)
            return &link->streams[i];
    return NULL;
}

static void tolerate(Link *link, uint64_t bytes) {
    link->tolerance_bytes -= (int64_t)bytes;
    if (link->tolerance_bytes < 0)
        rules_broken(link, "the guest sent too much that makes no sense");
}

static bool is_data_expected(const LinkStream *stream, uint8_t type) {
    bool error = type == FRAME_DATA_ERR || type == FRAME_EOF_ERR;
    if (stream->request == FRAME_COPY_OUT || stream->request == FRAME_READ ||
        stream->request == FRAME_STAT || stream->request == FRAME_CONNECT)
        return !error && !stream->eof_in;
    return stream->request == FRAME_EXEC && !(error ? stream->eof_err_in : stream->eof_in);
}

static void handle_data(Link *link, LinkStream *stream, const Frame *frame) {
    if (!is_data_expected(stream, frame->type)) {
        tolerate(link, FRAME_HEADER_SIZE + frame->length);
        return;
    }
    if (frame->length > stream->credit_in) {
        rules_broken(link, "the guest sent more than it was allowed");
        return;
    }
    stream->credit_in -= frame->length;
    stream->handler(stream->data, frame);
}

static void handle_eof(Link *link, LinkStream *stream, const Frame *frame) {
    if (!is_data_expected(stream, frame->type)) {
        tolerate(link, FRAME_HEADER_SIZE);
        return;
    }
    if (frame->type == FRAME_EOF)
        stream->eof_in = true;
    else
        stream->eof_err_in = true;
    stream->handler(stream->data, frame);
}

static void handle_window(Link *link, LinkStream *stream, const Frame *frame) {
    const uint8_t *b = frame->payload;
    uint32_t more = 0;
    if (frame->length == 4)
        more = (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
    if (more == 0 || more > CREDIT_OUT_MAX - stream->credit_out) {
        rules_broken(link, "the guest granted a window that is none");
        return;
    }
    stream->credit_out += more;
    stream->handler(stream->data, frame);
}

static void handle_end(Link *link, LinkStream *stream, const Frame *frame) {
    if (frame->type == FRAME_EXIT && stream->request != FRAME_EXEC) {
        tolerate(link, FRAME_HEADER_SIZE + frame->length);
        return;
    }
    LinkStream ended = *stream;
    *stream = (LinkStream){0};
    ended.handler(ended.data, frame);
}

static void handle_stream_frame(Link *link, LinkStream *stream, const Frame *frame) {
    switch (frame->type) {
    case FRAME_DATA:
    case FRAME_DATA_ERR:
        return handle_data(link, stream, frame);
    case FRAME_EOF:
    case FRAME_EOF_ERR:
        return handle_eof(link, stream, frame);
    case FRAME_WINDOW:
        return handle_window(link, stream, frame);
    case FRAME_EXIT:
    case FRAME_RESULT:
        return handle_end(link, stream, frame);
    default:
        return tolerate(link, FRAME_HEADER_SIZE + frame->length);
    }
}

static int read_program_field(const TlvField *field, LinkProgram *program, uint64_t *exit_code) {
    switch (field->tag) {
    case TAG_EXIT_CODE:
        return tlv_u64(field, exit_code);
    case TAG_REALTIME_USEC:
        return tlv_u64(field, &program->ended_at_usec);
    default:
        return 0;
    }
}

/* A guest can send as many as it likes, so each counts as noise does. */
static void handle_program(Link *link, const Frame *frame) {
    LinkProgram program = {.ended = true};
    uint64_t exit_code = UINT64_MAX;
    TlvReader reader;
    TlvField field;
    int r;
    tlv_read(&reader, frame->payload, frame->length);
    while ((r = tlv_next(&reader, &field)) > 0)
        if (read_program_field(&field, &program, &exit_code) < 0)
            break;
    if (r == 0 && exit_code <= UINT8_MAX) {
        program.exit_code = (uint8_t)exit_code;
        link->handlers.program_ended(link->data, &program);
    }
    tolerate(link, FRAME_HEADER_SIZE + frame->length);
}

static bool is_machine_frame(const Frame *frame, uint8_t type) {
    return frame->session == 0 && frame->stream == 0 && frame->type == type;
}

static void handle_frame_up(Link *link, const Frame *frame) {
    LinkStream *stream = frame->session == link->session ? find_stream(link, frame->stream) : NULL;
    if (stream)
        handle_stream_frame(link, stream, frame);
    else if (frame->session == link->session && frame->stream == 0 && frame->type == FRAME_PROGRAM)
        handle_program(link, frame);
    else
        tolerate(link, FRAME_HEADER_SIZE + frame->length);
}

static void handle_frame(Link *link, const Frame *frame) {
    if (is_machine_frame(frame, FRAME_ANNOUNCE))
        announced(link);
    else if (is_machine_frame(frame, FRAME_ERROR) && link->state != LINK_UP)
        link->handlers.failed(link->data, (const char *)frame->payload, frame->length);
    else if (link->state == LINK_WELCOMING)
        handle_welcome(link, frame);
    else if (link->state == LINK_UP)
        handle_frame_up(link, frame);
}

/* Noise between frames counts as well. */
static void count_noise(Link *link) {
    uint64_t skipped = link->reader.skipped_bytes - link->skipped_seen;
    link->skipped_seen = link->reader.skipped_bytes;
    if (link->state == LINK_UP && skipped > 0)
        tolerate(link, skipped);
}

/* Bytes */

/* How much of the nonce `matched` bytes of it and then `byte` make: the longest prefix of the nonce
 * that they end with. At most 16 × 16 steps, and only for a byte that does not go on as hoped. */
static size_t match_more(const Link *link, size_t matched, uint8_t byte) {
    if (link->nonce[matched] == byte)
        return matched + 1;
    for (size_t shorter = matched; shorter > 0; shorter--)
        if (link->nonce[shorter - 1] == byte &&
            memcmp(link->nonce, link->nonce + matched - (shorter - 1), shorter - 1) == 0)
            return shorter;
    return 0;
}

/* How many bytes there are up to the end of the nonce; 0 when it is not there. */
static size_t find_nonce(Link *link, const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) {
        link->matched = match_more(link, link->matched, bytes[i]);
        if (link->matched == AGENT_NONCE_SIZE) {
            link->matched = 0;
            return i + 1;
        }
    }
    return 0;
}

/* Drops all up to the end of the nonce, and goes on with frames. */
static size_t drop_to_nonce(Link *link, uint8_t *bytes, size_t size) {
    size_t before = find_nonce(link, bytes, size);
    if (before == 0)
        return size;
    frame_reader_reset(&link->reader);
    size_t room;
    uint8_t *space = frame_reader_space(&link->reader, &room);
    memmove(space, bytes + before, size - before);
    memcpy(link->marker, link->next_marker, AGENT_MARKER_SIZE);
    link->state = LINK_WELCOMING;
    return size - before;
}

uint8_t *link_space(Link *link, size_t *size) {
    return frame_reader_space(&link->reader, size);
}

void link_received(Link *link, size_t size) {
    size_t room;
    uint8_t *bytes = frame_reader_space(&link->reader, &room); /* where they were read to */
    if (link->state == LINK_GREETING)
        size = drop_to_nonce(link, bytes, size);
    frame_reader_added(&link->reader, size);
    Frame frame;
    while (frame_reader_next(&link->reader, &frame) > 0)
        handle_frame(link, &frame);
    count_noise(link);
}

/* Requests */

static uint16_t free_id(Link *link) {
    do
        link->last_id = (uint16_t)(link->last_id + 1);
    while (link->last_id == 0 || find_stream(link, link->last_id));
    return link->last_id;
}

static LinkStream *free_slot(Link *link) {
    for (size_t i = 0; i < AGENT_STREAMS_MAX; i++)
        if (link->streams[i].id == 0)
            return &link->streams[i];
    return NULL;
}

int link_open(Link *link, uint8_t request, const void *payload, size_t size,
              LinkStreamHandler handler, void *data, LinkStream **stream) {
    if (link->state != LINK_UP)
        return -ENOTCONN;
    return link_open_ahead(link, request, payload, size, handler, data, stream);
}

int link_open_ahead(Link *link, uint8_t request, const void *payload, size_t size,
                    LinkStreamHandler handler, void *data, LinkStream **stream) {
    if (link->state == LINK_SILENT)
        return -ENOTCONN;
    if (size > FRAME_PAYLOAD_MAX)
        return -E2BIG;
    LinkStream *slot = free_slot(link);
    if (!slot || out_used(link) > LINK_OUT_REQUEST_LIMIT)
        return -EBUSY;
    *slot = (LinkStream){.id = free_id(link),
                         .request = request,
                         .credit_in = AGENT_WINDOW_BYTES,
                         .credit_out = AGENT_WINDOW_BYTES,
                         .handler = handler,
                         .data = data};
    (void)put_frame(link, link->session, slot->id, request, payload, size);
    *stream = slot;
    return 0;
}

size_t link_data_room(const Link *link, const LinkStream *stream) {
    size_t used = out_used(link);
    size_t room = used < LINK_OUT_DATA_LIMIT ? FRAME_PAYLOAD_MAX : 0;
    return MIN_OF(room, (size_t)stream->credit_out);
}

int link_send(Link *link, LinkStream *stream, uint8_t type, const void *payload, size_t size) {
    if (out_used(link) > LINK_OUT_REQUEST_LIMIT)
        return -EBUSY; /* what is above is kept for cancels */
    int r = put_frame(link, link->session, stream->id, type, payload, size);
    if (r == 0 && type == FRAME_DATA)
        stream->credit_out -= (uint32_t)MIN_OF(size, (size_t)stream->credit_out);
    return r;
}

int link_grant(Link *link, LinkStream *stream, uint32_t bytes) {
    uint8_t payload[4] = {(uint8_t)bytes, (uint8_t)(bytes >> 8), (uint8_t)(bytes >> 16),
                          (uint8_t)(bytes >> 24)};
    if (out_used(link) > LINK_OUT_REQUEST_LIMIT)
        return -EBUSY;
    int r = put_frame(link, link->session, stream->id, FRAME_WINDOW, payload, sizeof(payload));
    if (r == 0)
        stream->credit_in += bytes;
    return r;
}

/* What the agent sent before it learns of the cancel is forgiven. */
void link_cancel(Link *link, LinkStream *stream) {
    (void)put_frame(link, link->session, stream->id, FRAME_CANCEL, NULL, 0);
    link->tolerance_bytes =
        MIN_OF(link->tolerance_bytes + 2 * (int64_t)AGENT_WINDOW_BYTES, TOLERANCE_MAX_BYTES);
    *stream = (LinkStream){0};
}
