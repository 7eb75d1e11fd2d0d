/* SPDX-License-Identifier: Apache-2.0 */
/* How it works: the reader keeps one buffer that holds at least one whole frame. Consumed bytes
 * stay in front of `start` until the caller asks for space; then what is left moves to the front.
 * So a payload handed out stays valid until the next call that asks for space.
 *
 * A header is good when its magic, flags, length and checksum are; anything else costs one byte,
 * and the search goes on at the next one. The payload has no checksum: the port is as reliable as
 * memory, and the only damage known is a half frame from before a snapshot, which the greeting
 * takes care of. */

#include "proto/frame.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define READER_ROOM (2u * (FRAME_HEADER_SIZE + FRAME_PAYLOAD_MAX))

static void put_u16(uint8_t *out, uint16_t value) {
    out[0] = (uint8_t)value;
    out[1] = (uint8_t)(value >> 8);
}

static void put_u32(uint8_t *out, uint32_t value) {
    put_u16(out, (uint16_t)value);
    put_u16(out + 2, (uint16_t)(value >> 16));
}

static uint16_t get_u16(const uint8_t *in) {
    return (uint16_t)(in[0] | in[1] << 8);
}

static uint32_t get_u32(const uint8_t *in) {
    return (uint32_t)get_u16(in) | (uint32_t)get_u16(in + 2) << 16;
}

uint32_t crc32c(const void *data, size_t size) {
    /* The reflected polynomial 0x82f63b78, four bits at a time: it only ever sees headers, so a
     * table of 16 is fast enough. */
    static const uint32_t table[16] = {
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
        0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
        0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
    };
    const uint8_t *bytes = data;
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return ~crc;
}

void frame_encode_header(uint8_t *out, uint32_t session, uint16_t stream, uint8_t type,
                         uint32_t length) {
    put_u32(out, FRAME_MAGIC);
    put_u32(out + 4, session);
    put_u16(out + 8, stream);
    out[10] = type;
    out[11] = 0;
    put_u32(out + 12, length);
    put_u32(out + 16, crc32c(out, 16));
}

int frame_reader_init(FrameReader *reader) {
    uint8_t *buffer = malloc(READER_ROOM);
    if (!buffer)
        return -ENOMEM;
    *reader = (FrameReader){.buffer = buffer, .room = READER_ROOM};
    return 0;
}

void frame_reader_free(FrameReader *reader) {
    free(reader->buffer);
    *reader = (FrameReader){0};
}

void frame_reader_reset(FrameReader *reader) {
    reader->start = reader->end = 0;
}

uint8_t *frame_reader_space(FrameReader *reader, size_t *size) {
    if (reader->start == reader->end) {
        reader->start = reader->end = 0;
    } else if (reader->start > 0) {
        memmove(reader->buffer, reader->buffer + reader->start, reader->end - reader->start);
        reader->end -= reader->start;
        reader->start = 0;
    }
    *size = reader->room - reader->end;
    return reader->buffer + reader->end;
}

void frame_reader_added(FrameReader *reader, size_t size) {
    reader->end += size;
}

static bool header_is_good(const uint8_t *header) {
    return get_u32(header) == FRAME_MAGIC && header[11] == 0 &&
           get_u32(header + 12) <= FRAME_PAYLOAD_MAX && get_u32(header + 16) == crc32c(header, 16);
}

int frame_reader_next(FrameReader *reader, Frame *frame) {
    while (reader->end - reader->start >= FRAME_HEADER_SIZE) {
        const uint8_t *header = reader->buffer + reader->start;
        if (!header_is_good(header)) {
            reader->start++;
            reader->skipped_bytes++;
            continue;
        }
        uint32_t length = get_u32(header + 12);

        if (reader->end - reader->start - FRAME_HEADER_SIZE < length)
            return 0;
        *frame = (Frame){.session = get_u32(header + 4),
                         .stream = get_u16(header + 8),
                         .type = header[10],
                         .length = length,
                         .payload = header + FRAME_HEADER_SIZE};
        reader->start += FRAME_HEADER_SIZE + length;
        return 1;
    }
    return 0;
}
