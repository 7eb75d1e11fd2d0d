/* SPDX-License-Identifier: Apache-2.0 */

/* What a hostile guest sends on the agent's port, as the keeper reads it. The link draws its nonce
 * at random, so the input is a list of steps that know it: raw bytes, whole frames of the session,
 * the nonce, a good WELCOME; each is one byte for the kind, one for the length, then bytes. */

#include <stdlib.h>
#include <string.h>

#include "keeper/guest/link.h"
#include "proto/tlv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static LinkStream *streams[4];

static void on_announced(void *data) {
}
static void on_welcomed(void *data, const LinkWelcome *welcome) {
}
static void on_program_ended(void *data, const LinkProgram *program) {
    if (!program->ended)
        abort();
}

static void on_failed(void *data, const char *text, size_t size) {
}
static void on_lost(void *data, const char *why) {
}

static void on_frame(void *data, const Frame *frame) {
    LinkStream **stream = data;
    if (!frame || frame->type == FRAME_EXIT || frame->type == FRAME_RESULT)
        *stream = NULL;
}

static void feed(Link *link, const uint8_t *data, size_t size) {
    while (size > 0) {
        size_t room;
        uint8_t *space = link_space(link, &room);
        size_t n = size < room ? size : room;
        if (n == 0)
            abort(); /* the reader must always have room */
        memcpy(space, data, n);
        link_received(link, n);
        data += n;
        size -= n;
    }
}

static void feed_frame(Link *link, uint16_t stream, uint8_t type, const uint8_t *data,
                       size_t size) {
    uint8_t header[FRAME_HEADER_SIZE];
    uint32_t session = type == FRAME_ANNOUNCE || type == FRAME_ERROR ? 0 : link->session;
    frame_encode_header(header, session, stream, type, (uint32_t)size);
    feed(link, header, sizeof(header));
    feed(link, data, size);
}

static void feed_welcome(Link *link) {
    uint8_t nonce[AGENT_NONCE_SIZE], payload[64];
    TlvWriter writer;
    memcpy(nonce, link->nonce, sizeof(nonce));
    tlv_start(&writer, payload, sizeof(payload));
    tlv_add(&writer, TAG_NONCE, nonce, sizeof(nonce));
    feed(link, nonce, sizeof(nonce));
    feed_frame(link, 0, FRAME_WELCOME, payload, writer.size);
}

static void open_stream(Link *link, uint8_t which) {
    static const uint8_t requests[] = {FRAME_EXEC, FRAME_COPY_OUT, FRAME_COPY_IN, FRAME_PING};
    LinkStream **place = &streams[which % 4];
    if (*place)
        link_cancel(link, *place);
    *place = NULL;
    (void)link_open(link, requests[which % 4], NULL, 0, on_frame, place, place);
}

static void step(Link *link, uint8_t kind, const uint8_t *data, size_t size) {
    LinkStream *stream = streams[kind / 8 % 4];
    switch (kind % 8) {
    case 0:
        return feed(link, data, size);
    case 1:
        return feed_welcome(link);
    case 2:
        return open_stream(link, kind / 8);
    case 3:
        return feed_frame(link, 0, FRAME_ANNOUNCE, data, size);
    case 4:
        return link_output_taken(link, (link_output(link, &size), size));
    case 5:
        if (stream)
            (void)link_grant(link, stream, 65536);
        return;
    default:
        if (size > 0)
            feed_frame(link, stream ? stream->id : kind, data[0], data + 1, size - 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const LinkHandlers handlers = {on_announced, on_welcomed, on_program_ended, on_failed,
                                          on_lost};
    static Link link;
    memset(streams, 0, sizeof(streams));
    if (link_init(&link, &handlers, NULL) < 0)
        return 0;
    while (size >= 2) {
        size_t length = data[1] < size - 2 ? data[1] : size - 2;
        step(&link, data[0], data + 2, length);
        data += 2 + length;
        size -= 2 + length;
    }
    link_close(&link);
    link_free(&link);
    return 0;
}
