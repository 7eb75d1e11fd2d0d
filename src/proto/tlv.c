/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/tlv.h"

#include <errno.h>
#include <string.h>

#define FIELD_HEADER_SIZE 8

static void put_le(uint8_t *out, uint64_t value, size_t n_bytes) {
    for (size_t i = 0; i < n_bytes; i++)
        out[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get_le(const uint8_t *in, size_t n_bytes) {
    uint64_t value = 0;
    for (size_t i = n_bytes; i-- > 0;)
        value = value << 8 | in[i];
    return value;
}

void tlv_start(TlvWriter *writer, uint8_t *buffer, size_t room) {
    *writer = (TlvWriter){.data = buffer, .room = room};
}

void tlv_add(TlvWriter *writer, uint16_t tag, const void *data, size_t size) {
    if (writer->overflow || size > UINT32_MAX || writer->room - writer->size < FIELD_HEADER_SIZE ||
        writer->room - writer->size - FIELD_HEADER_SIZE < size) {
        writer->overflow = true;
        return;
    }
    uint8_t *field = writer->data + writer->size;

    put_le(field, tag, 2);
    put_le(field + 2, 0, 2);
    put_le(field + 4, size, 4);
    if (size > 0)
        memcpy(field + FIELD_HEADER_SIZE, data, size);
    writer->size += FIELD_HEADER_SIZE + size;
}

void tlv_add_text(TlvWriter *writer, uint16_t tag, const char *text) {
    if (text)
        tlv_add(writer, tag, text, strlen(text));
}

void tlv_add_u64(TlvWriter *writer, uint16_t tag, uint64_t value) {
    uint8_t bytes[8];
    put_le(bytes, value, sizeof(bytes));
    tlv_add(writer, tag, bytes, sizeof(bytes));
}

void tlv_read(TlvReader *reader, const void *data, size_t size) {
    *reader = (TlvReader){.data = data, .size = size};
}

int tlv_next(TlvReader *reader, TlvField *field) {
    size_t left = reader->size - reader->offset;
    if (left == 0)
        return 0;
    if (left < FIELD_HEADER_SIZE)
        return -EBADMSG;

    const uint8_t *bytes = reader->data + reader->offset;
    uint32_t size = (uint32_t)get_le(bytes + 4, 4);

    if (get_le(bytes + 2, 2) != 0 || left - FIELD_HEADER_SIZE < size)
        return -EBADMSG;
    *field = (TlvField){
        .tag = (uint16_t)get_le(bytes, 2), .size = size, .data = bytes + FIELD_HEADER_SIZE};
    reader->offset += FIELD_HEADER_SIZE + size;
    return 1;
}

int tlv_u64(const TlvField *field, uint64_t *value) {
    if (field->size != 8)
        return -EBADMSG;
    *value = get_le(field->data, 8);
    return 0;
}

int tlv_text(const TlvField *field, char *text, size_t room) {
    if (memchr(field->data, '\0', field->size))
        return -EBADMSG;
    if (field->size >= room)
        return -E2BIG;
    memcpy(text, field->data, field->size);
    text[field->size] = '\0';
    return 0;
}
