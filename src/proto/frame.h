/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_PROTO_FRAME_H
#define RAMET_PROTO_FRAME_H

/* Frames: how bytes are cut into messages, both on the agent's virtio-serial port and on the stream
 * between a client and a keeper. docs/protocols.md tells the whole story. This file and frame.c use
 * only the C library, since the agent is built with musl.
 *
 * A frame is a header of 20 bytes, all little-endian, and a payload:
 *
 *   0  u32 magic    FRAME_MAGIC
 *   4  u32 session  which conversation it belongs to; frames of another one are dropped
 *   8  u16 stream   which request within the conversation
 *  10  u8  type     FrameType
 *  11  u8  flags    must be 0
 *  12  u32 length   of the payload, at most FRAME_PAYLOAD_MAX
 *  16  u32 crc      CRC-32C (RFC 3720, appendix B.4) of bytes 0 … 15
 *
 * A reader that meets a bad header drops one byte and looks for the next good one. */

#include <stddef.h>
#include <stdint.h>

#define FRAME_MAGIC 0x01544d52u /* "RMT" 0x01 */
#define FRAME_HEADER_SIZE 20
#define FRAME_PAYLOAD_MAX 65536

typedef struct Frame {
    uint32_t session;
    uint16_t stream;
    uint8_t type;
    uint32_t length;
    const uint8_t *payload; /* borrowed from the reader until its next call */
} Frame;

/* Writes the header into `out` (FRAME_HEADER_SIZE bytes). length must be within FRAME_PAYLOAD_MAX.
 */
void frame_encode_header(uint8_t *out, uint32_t session, uint16_t stream, uint8_t type,
                         uint32_t length);

/* CRC-32C (Castagnoli; RFC 3720, appendix B.4). */
uint32_t crc32c(const void *data, size_t size);

/* Takes bytes as they come and gives whole frames. */
typedef struct FrameReader {
    uint8_t *buffer; /* owned; FRAME_HEADER_SIZE + FRAME_PAYLOAD_MAX bytes or a little more */
    size_t room;
    size_t start; /* of what has not been consumed */
    size_t end;
    uint64_t skipped_bytes; /* dropped while looking for a header */
} FrameReader;

/* 0 or -ENOMEM. */
int frame_reader_init(FrameReader *reader);
void frame_reader_free(FrameReader *reader);

/* Forgets all bytes. */
void frame_reader_reset(FrameReader *reader);

/* Where to read(2) the next bytes to, and how many fit (never 0 once frames were taken out with
 * frame_reader_next until it returned 0). frame_reader_added says how many came. */
uint8_t *frame_reader_space(FrameReader *reader, size_t *size);
void frame_reader_added(FrameReader *reader, size_t size);

/* 1 and a frame, or 0 when more bytes are needed. Skips bad headers by itself. */
int frame_reader_next(FrameReader *reader, Frame *frame);

#endif
