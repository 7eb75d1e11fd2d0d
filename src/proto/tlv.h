/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_PROTO_TLV_H
#define RAMET_PROTO_TLV_H

/* The payload of a request or reply: fields, each u16 tag, u16 reserved (0), u32 length, bytes; all
 * little-endian. A tag may come several times (argv, environment). Unknown tags are skipped, so
 * that an older agent understands a newer keeper. C library only. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct TlvWriter {
    uint8_t *data; /* borrowed: the caller's buffer */
    size_t room;
    size_t size;
    bool overflow; /* set once a field did not fit; size is meaningless then */
} TlvWriter;

void tlv_start(TlvWriter *writer, uint8_t *buffer, size_t room);
void tlv_add(TlvWriter *writer, uint16_t tag, const void *data, size_t size);
void tlv_add_text(TlvWriter *writer, uint16_t tag,
                  const char *text); /* without the NUL; NULL adds nothing */
void tlv_add_u64(TlvWriter *writer, uint16_t tag, uint64_t value); /* 8 bytes */

typedef struct TlvField {
    uint16_t tag;
    uint32_t size;
    const uint8_t *data; /* borrowed */
} TlvField;

typedef struct TlvReader {
    const uint8_t *data;
    size_t size;
    size_t offset;
} TlvReader;

/* Starts to read; the data is borrowed. */
void tlv_read(TlvReader *reader, const void *data, size_t size);

/* 1 and a field, 0 at the end, -EBADMSG when what is left is no field. */
int tlv_next(TlvReader *reader, TlvField *field);

/* -EBADMSG when it is not 8 bytes. */
int tlv_u64(const TlvField *field, uint64_t *value);

/* Copies into a NUL-terminated buffer of `room` bytes. -EBADMSG for a NUL inside, -E2BIG when it
 * does not fit. */
int tlv_text(const TlvField *field, char *text, size_t room);

#endif
