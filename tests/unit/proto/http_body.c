/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"
#include "check.h"
#include "proto/api/http_client.h"

static HttpHead head_of(const char *text) {
    HttpHead head;
    CHECK_INT(http_parse_head(text, strlen(text), &head, NULL), 0);
    return head;
}

static void refuses_head(const char *text, const char *part) {
    _cleanup_error_ Error error = ERROR_INIT;
    HttpHead head;
    CHECK(http_parse_head(text, strlen(text), &head, &error) < 0);
    CHECK_INT(error.kind, ERROR_CORRUPT);
    CHECK_CONTAINS(error_message(&error), part);
}

static void test_heads(void) {
    HttpHead head = head_of("HTTP/1.1 200 OK\r\nContent-length:  12 \r\nCONTENT-TYPE: Text/Plain; "
                            "charset=utf-8\r\n\r\n");
    CHECK_INT(head.status, 200);
    CHECK_INT(head.body, HTTP_BODY_LENGTH);
    CHECK_INT(head.length_bytes, 12);
    CHECK_STR(head.content_type, "text/plain");
    head = head_of("HTTP/1.1 404\r\nTransfer-Encoding: Chunked\r\n\r\n");
    CHECK_INT(head.body, HTTP_BODY_CHUNKED);
    head = head_of("HTTP/1.0 200 OK\r\n\r\n");
    CHECK_INT(head.body, HTTP_BODY_UNTIL_EOF);
    head = head_of("HTTP/1.1 101 Switching Protocols\r\nUpgrade: ramet-stream\r\n\r\n");
    CHECK(head.upgraded);
    CHECK_INT(head.body, HTTP_BODY_NONE);
    CHECK(!head_of("HTTP/1.1 101 x\r\nUpgrade: other\r\n\r\n").upgraded);
}

static void test_bad_heads(void) {
    refuses_head("", "ends early");
    refuses_head("HTTP/1.1 200 OK\r\n", "ends early");
    refuses_head("HTTP/2.0 200 OK\r\n\r\n", "no status line");
    refuses_head("\r\n\r\n", "no status line");
    refuses_head("HTTP/1.1 999 OK\r\n\r\n", "bad status");
    refuses_head("HTTP/1.1 2x0 OK\r\n\r\n", "bad status");
    refuses_head("HTTP/1.1 200 OK\nA: b\n\n", "a line without its end");
    refuses_head("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "bad header line");
    refuses_head("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", "bad header line");
    refuses_head("HTTP/1.1 200 OK\r\n: b\r\n\r\n", "bad header line");
    refuses_head("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "bad Content-Length");
    refuses_head("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
                 "bad Content-Length");
    refuses_head("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "different");
    refuses_head("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "unknown Transfer-Encoding");
    refuses_head("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
                 "both");
}

/* Feeds the text in steps of `step` bytes. Returns what came out, or NULL on error. */
static char *decode(const HttpHead *head, const char *text, size_t step, Error *error) {
    _cleanup_(strbuf_free) StrBuf out = {0};
    size_t size = strlen(text), at = 0;
    HttpBody body;
    http_body_start(&body, head);
    while (at < size && !body.done) {
        size_t n = MIN_OF(step, size - at), piece_size;
        const char *piece;
        ssize_t used = http_body_next(&body, text + at, n, &piece, &piece_size, error);
        if (used < 0)
            return NULL;
        CHECK(used > 0 && (size_t)used <= n);
        CHECK(piece >= text + at && piece + piece_size <= text + at + n);
        strbuf_add(&out, piece, piece_size);
        at += (size_t)used;
    }
    if (http_body_finish(&body, error) < 0)
        return NULL;
    return strbuf_steal(&out);
}

static void check_body(HttpBodyKind kind, uint64_t length, const char *text, const char *expected) {
    HttpHead head = {.status = 200, .body = kind, .length_bytes = length};
    for (size_t step = 1; step <= strlen(text) + 1; step++) {
        _cleanup_free_ char *out = decode(&head, text, step, NULL);
        CHECK_STR(out, expected);
    }
}

static void refuses_body(const char *text, const char *part) {
    HttpHead head = {.status = 200, .body = HTTP_BODY_CHUNKED};
    for (size_t step = 1; step <= strlen(text) + 1; step++) {
        _cleanup_error_ Error error = ERROR_INIT;
        CHECK(!decode(&head, text, step, &error));
        CHECK_CONTAINS(error_message(&error), part);
    }
}

static void test_bodies(void) {
    check_body(HTTP_BODY_LENGTH, 5, "hello", "hello");
    check_body(HTTP_BODY_LENGTH, 5, "helloworld", "hello");
    check_body(HTTP_BODY_LENGTH, 0, "", "");
    check_body(HTTP_BODY_UNTIL_EOF, 0, "all of it", "all of it");
    check_body(HTTP_BODY_CHUNKED, 0, "5\r\nhello\r\n0\r\n\r\n", "hello");
    check_body(HTTP_BODY_CHUNKED, 0, "1\r\na\r\nA;x=\"y\"\r\n0123456789\r\n00\r\nT: v\r\n\r\nrest",
               "a0123456789");
    check_body(HTTP_BODY_CHUNKED, 0, "0000000000003\r\n\r\n\n\r\n0\r\n\r\n", "\r\n\n");
}

static void test_bad_bodies(void) {
    refuses_body("", "middle of its answer");
    refuses_body("5\r\nhel", "middle of its answer");
    refuses_body("5\r\nhello\r\n", "middle of its answer");
    refuses_body("5\r\nhello\r\n0\r\n", "middle of its answer");
    refuses_body("\r\nhello", "without a size");
    refuses_body("x\r\nhello", "without a size");
    refuses_body("-1\r\nhello", "without a size");
    refuses_body("5x\r\nhello", "bad chunk size");
    refuses_body("5\nhello", "bad chunk size");
    refuses_body("5\rhello", "without its end");
    refuses_body("5;a\nhello", "without its end");
    refuses_body("5\r\nhelloworld", "longer than its size");
    refuses_body("ffffffffffffffff\r\n", "too large");
    refuses_body("00000000000000005\r\nhello\r\n", "too large");
}

static void test_endless_extension(void) {
    HttpHead head = {.status = 200, .body = HTTP_BODY_CHUNKED};
    _cleanup_error_ Error error = ERROR_INIT;
    char text[16384];
    memset(text, 'a', sizeof(text));
    text[0] = '5';
    text[1] = ';';
    text[sizeof(text) - 1] = '\0';
    CHECK(!decode(&head, text, 1000, &error));
    CHECK_CONTAINS(error_message(&error), "endless");
}

static void test_short_length(void) {
    HttpHead head = {.status = 200, .body = HTTP_BODY_LENGTH, .length_bytes = 10};
    _cleanup_error_ Error error = ERROR_INIT;
    CHECK(!decode(&head, "short", 2, &error));
    CHECK_CONTAINS(error_message(&error), "middle of its answer");
}

int main(void) {
    RUN(test_heads);
    RUN(test_bad_heads);
    RUN(test_bodies);
    RUN(test_bad_bodies);
    RUN(test_endless_extension);
    RUN(test_short_length);
    return 0;
}
