/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/frame.h"

#include "check.h"

/* RFC 3720, appendix B.4 */
static void test_crc_vectors(void) {
    uint8_t bytes[32];
    memset(bytes, 0, sizeof(bytes));
    CHECK_INT(crc32c(bytes, 32), 0x8a9136aa);
    memset(bytes, 0xff, sizeof(bytes));
    CHECK_INT(crc32c(bytes, 32), 0x62a8ab43);
    for (int i = 0; i < 32; i++)
        bytes[i] = (uint8_t)i;
    CHECK_INT(crc32c(bytes, 32), 0x46dd794e);
    for (int i = 0; i < 32; i++)
        bytes[i] = (uint8_t)(31 - i);
    CHECK_INT(crc32c(bytes, 32), 0x113fdb5c);
    CHECK_INT(crc32c("123456789", 9), 0xe3069283);
}

static void feed(FrameReader *reader, const void *data, size_t size) {
    size_t room;
    uint8_t *space = frame_reader_space(reader, &room);
    CHECK(size <= room);
    memcpy(space, data, size);
    frame_reader_added(reader, size);
}

static size_t make_frame(uint8_t *out, uint16_t stream, uint8_t type, const void *data,
                         uint32_t size) {
    frame_encode_header(out, 7, stream, type, size);
    memcpy(out + FRAME_HEADER_SIZE, data, size);
    return FRAME_HEADER_SIZE + size;
}

static void test_one_byte_at_a_time(void) {
    FrameReader reader;
    Frame frame;
    uint8_t bytes[64];
    size_t size = make_frame(bytes, 3, 26, "hello", 5);
    CHECK_INT(frame_reader_init(&reader), 0);
    for (size_t i = 0; i < size; i++) {
        CHECK_INT(frame_reader_next(&reader, &frame), 0);
        feed(&reader, bytes + i, 1);
    }
    CHECK_INT(frame_reader_next(&reader, &frame), 1);
    CHECK_INT(frame.session, 7);
    CHECK_INT(frame.stream, 3);
    CHECK_INT(frame.type, 26);
    CHECK_INT(frame.length, 5);
    CHECK(memcmp(frame.payload, "hello", 5) == 0);
    CHECK_INT(frame_reader_next(&reader, &frame), 0);
    CHECK_INT(reader.skipped_bytes, 0);
    frame_reader_free(&reader);
}

static void test_garbage_is_skipped(void) {
    FrameReader reader;
    Frame frame;
    uint8_t bytes[64];
    size_t size = make_frame(bytes, 1, 48, "ab", 2);
    uint8_t bad[FRAME_HEADER_SIZE];
    CHECK_INT(frame_reader_init(&reader), 0);
    frame_encode_header(bad, 7, 1, 48, 2);
    bad[8] ^= 1; /* the checksum no longer fits */
    feed(&reader, "RMT\1garbage", 11);
    feed(&reader, bad, sizeof(bad));
    feed(&reader, bytes, size);
    CHECK_INT(frame_reader_next(&reader, &frame), 1);
    CHECK(memcmp(frame.payload, "ab", 2) == 0);
    CHECK_INT(reader.skipped_bytes, 11 + FRAME_HEADER_SIZE);
    frame_reader_free(&reader);
}

static void test_length_is_bounded(void) {
    FrameReader reader;
    Frame frame;
    uint8_t bytes[FRAME_HEADER_SIZE];
    CHECK_INT(frame_reader_init(&reader), 0);
    frame_encode_header(bytes, 0, 0, 1, FRAME_PAYLOAD_MAX + 1);
    feed(&reader, bytes, sizeof(bytes));
    CHECK_INT(frame_reader_next(&reader, &frame), 0);
    CHECK(reader.skipped_bytes > 0);
    frame_reader_free(&reader);
}

static void test_largest_frames_fit(void) {
    FrameReader reader;
    Frame frame;
    static uint8_t bytes[FRAME_HEADER_SIZE + FRAME_PAYLOAD_MAX];
    int n_frames = 0;
    CHECK_INT(frame_reader_init(&reader), 0);
    frame_encode_header(bytes, 0, 1, 48, FRAME_PAYLOAD_MAX);
    for (size_t sent = 0, total = 4 * sizeof(bytes); sent < total;) {
        size_t room;
        uint8_t *space = frame_reader_space(&reader, &room);
        CHECK(room > 0);
        for (size_t i = 0; i < room && sent < total; i++, sent++) {
            space[i] = bytes[sent % sizeof(bytes)];
            frame_reader_added(&reader, 1);
        }
        while (frame_reader_next(&reader, &frame)) {
            CHECK_INT(frame.length, FRAME_PAYLOAD_MAX);
            n_frames++;
        }
    }
    CHECK_INT(n_frames, 4);
    frame_reader_free(&reader);
}

int main(void) {
    RUN(test_crc_vectors);
    RUN(test_one_byte_at_a_time);
    RUN(test_garbage_is_skipped);
    RUN(test_length_is_bounded);
    RUN(test_largest_frames_fit);
    return 0;
}
