/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/tlv.h"

#include <errno.h>

#include "check.h"

static void test_round_trip(void) {
    uint8_t buffer[128];
    TlvWriter writer;
    TlvReader reader;
    TlvField field;
    uint64_t value;
    char text[8];
    tlv_start(&writer, buffer, sizeof(buffer));
    tlv_add_u64(&writer, 5, 0x0123456789abcdefull);
    tlv_add_text(&writer, 6, "hello");
    tlv_add_text(&writer, 6, "");
    tlv_add_text(&writer, 7, NULL);
    CHECK(!writer.overflow);
    CHECK_INT(writer.size, 16 + 13 + 8);

    tlv_read(&reader, buffer, writer.size);
    CHECK_INT(tlv_next(&reader, &field), 1);
    CHECK_INT(field.tag, 5);
    CHECK_INT(tlv_u64(&field, &value), 0);
    CHECK(value == 0x0123456789abcdefull);
    CHECK_INT(tlv_next(&reader, &field), 1);
    CHECK_INT(tlv_u64(&field, &value), -EBADMSG);
    CHECK_INT(tlv_text(&field, text, sizeof(text)), 0);
    CHECK_STR(text, "hello");
    CHECK_INT(tlv_text(&field, text, 5), -E2BIG);
    CHECK_INT(tlv_next(&reader, &field), 1);
    CHECK_INT(tlv_text(&field, text, 1), 0);
    CHECK_STR(text, "");
    CHECK_INT(tlv_next(&reader, &field), 0);
}

static void test_overflow(void) {
    uint8_t buffer[20];
    TlvWriter writer;
    tlv_start(&writer, buffer, sizeof(buffer));
    tlv_add_u64(&writer, 1, 1);
    CHECK(!writer.overflow);
    tlv_add_text(&writer, 2, "");
    CHECK(writer.overflow);
    tlv_start(&writer, buffer, sizeof(buffer));
    tlv_add(&writer, 1, buffer, 13);
    CHECK(writer.overflow);
}

static void test_bad_input(void) {
    TlvReader reader;
    TlvField field;
    char text[8];
    tlv_read(&reader, "\1\0\0\0\5\0\0\0abcd", 12); /* says 5, holds 4 */
    CHECK_INT(tlv_next(&reader, &field), -EBADMSG);
    tlv_read(&reader, "\1\0\0\0", 4);
    CHECK_INT(tlv_next(&reader, &field), -EBADMSG);
    tlv_read(&reader, "\1\0\0\1\0\0\0\0", 8); /* reserved must be 0 */
    CHECK_INT(tlv_next(&reader, &field), -EBADMSG);
    tlv_read(&reader, "\1\0\0\0\3\0\0\0a\0c", 11);
    CHECK_INT(tlv_next(&reader, &field), 1);
    CHECK_INT(tlv_text(&field, text, sizeof(text)), -EBADMSG);
}

int main(void) {
    RUN(test_round_trip);
    RUN(test_overflow);
    RUN(test_bad_input);
    return 0;
}
