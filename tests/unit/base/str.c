/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"

#include <errno.h>

#include "check.h"

static void check_owned(char *text, const char *expected) {
    CHECK_STR(text, expected);
    free(text);
}

static void comparison(void) {
    CHECK(str_equal(NULL, NULL) && str_equal("a", "a"));
    CHECK(!str_equal(NULL, "a") && !str_equal("a", NULL) && !str_equal("a", "b"));
    CHECK(str_has_prefix("ramet-keeper", "ramet") && !str_has_prefix("ra", "ramet"));
    CHECK(str_has_suffix("x.lock", ".lock") && !str_has_suffix("ock", ".lock"));
    CHECK(!str_copy(NULL));
    check_owned(str_format("%d %s", 17, "x"), "17 x");
}

static void buffer_grows(void) {
    StrBuf buffer = {0};
    for (int i = 0; i < 1000; i++)
        strbuf_add_format(&buffer, "%d,", i % 10);
    strbuf_add(&buffer, "a\0b", 3);
    strbuf_add_text(&buffer, "end");
    CHECK_INT(buffer.size, 2006);
    CHECK_STR(buffer.data + 2003, "end");
    free(strbuf_steal(&buffer));
    CHECK(!buffer.data);
    check_owned(strbuf_steal(&buffer), "");
    strbuf_free(&buffer);
}

static void list_ends_with_null(void) {
    _cleanup_(strlist_free) StrList list = {0};
    strlist_add(&list, "a");
    strlist_add_format(&list, "%d", 17);
    strlist_add_many(&list, "b", "c", NULL);
    CHECK_INT(list.count, 4);
    CHECK_STR(list.items[1], "17");
    CHECK_STR(list.items[3], "c");
    CHECK(!list.items[4]);
}

static void numbers(void) {
    uint64_t value = 5;
    CHECK_INT(parse_u64("18446744073709551615", UINT64_MAX, &value), 0);
    CHECK(value == UINT64_MAX);
    CHECK_INT(parse_u64("18446744073709551616", UINT64_MAX, &value), -ERANGE);
    CHECK_INT(parse_u64("99999999999999999999x", UINT64_MAX, &value), -EINVAL);
    CHECK_INT(parse_u64("65536", 65535, &value), -ERANGE);
    static const char *const bad[] = {"", " 1", "1 ", "-1", "+1", "0x1", "1.5", "one"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        CHECK_INT(parse_u64(bad[i], UINT64_MAX, &value), -EINVAL);
    CHECK(value == UINT64_MAX);
    CHECK_INT(parse_u64("0", 10, &value), 0);
    CHECK_INT(value, 0);
}

static void sizes(void) {
    uint64_t bytes = 0;
    CHECK_INT(parse_size("17", &bytes), 0);
    CHECK_INT(bytes, 17);
    CHECK_INT(parse_size("512M", &bytes), 0);
    CHECK_INT(bytes, 512 * MIB);
    CHECK_INT(parse_size("4GiB", &bytes), 0);
    CHECK_INT(bytes, 4 * GIB);
    CHECK_INT(parse_size("1TB", &bytes), 0);
    CHECK_INT(bytes, 1024 * GIB);
    CHECK_INT(parse_size("16777216T", &bytes), -ERANGE);
    static const char *const bad[] = {"",    "0",   "0G",   "M",   "1X",
                                      "1Gi", "1G ", "1.5G", "-1G", "1GiBx"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        CHECK_INT(parse_size(bad[i], &bytes), -EINVAL);
    CHECK_INT(bytes, 1024 * GIB);
}

static void shown_sizes(void) {
    check_owned(format_size(0), "0 B");
    check_owned(format_size(17), "17 B");
    check_owned(format_size(13 * KIB), "13 KiB");
    check_owned(format_size(1023), "1023 B");
    check_owned(format_size(MIB - 1), "1 MiB");
    check_owned(format_size(GIB * 16 / 10), "1.6 GiB");
    check_owned(format_size(4096 * MIB), "4 GiB");
    check_owned(format_size(UINT64_MAX), "16777216 TiB");
}

static void shown_durations(void) {
    check_owned(format_duration(0), "0 us");
    check_owned(format_duration(640), "640 us");
    check_owned(format_duration(1300), "1.3 ms");
    check_owned(format_duration(9999), "10 ms");
    check_owned(format_duration(13000), "13 ms");
    check_owned(format_duration(999600), "1.00 s");
    check_owned(format_duration(1840000), "1.84 s");
    check_owned(format_duration(300000000), "300 s");
}

static void hexadecimal(void) {
    uint8_t data[3] = {0x00, 0xaf, 0x17};
    char text[7];
    hex_encode(data, 3, text);
    CHECK_STR(text, "00af17");
    CHECK_INT(hex_decode("FF00a1", data, 3), 0);
    CHECK_INT(data[0], 0xff);
    CHECK_INT(data[2], 0xa1);
    CHECK_INT(hex_decode("ff00a", data, 3), -EINVAL);
    CHECK_INT(hex_decode("ff00a1b2", data, 3), -EINVAL);
    CHECK_INT(hex_decode("ff00g1", data, 3), -EINVAL);
}

static void sanitized(void) {
    check_owned(str_sanitize("a\x1b[0m\tb\n\0\xff~\x7f", 11), "a?[0m\tb\n??~");
    check_owned(str_sanitize("", 0), "");
}

int main(void) {
    RUN(comparison);
    RUN(buffer_grows);
    RUN(list_ends_with_null);
    RUN(numbers);
    RUN(sizes);
    RUN(shown_sizes);
    RUN(shown_durations);
    RUN(hexadecimal);
    RUN(sanitized);
    return 0;
}
