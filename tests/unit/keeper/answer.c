/* SPDX-License-Identifier: Apache-2.0 */
/* What a client of plain HTTP gets, made of what a guest sends. */
#include "keeper/api/answer.h"

#include <errno.h>

#include "check.h"
#include "proto/agent.h"
#include "proto/tlv.h"

static Answer begin(AnswerForm form, AnswerText text, bool chunked) {
    return (Answer){.form = form, .text = text, .chunked = chunked};
}

static void say(Answer *answer, bool is_error_output, const char *data, size_t size) {
    CHECK_INT(answer_data(answer, is_error_output, (const uint8_t *)data, size), 0);
}

/* All that would be sent; the caller owns it. */
static char *finish(Answer *answer) {
    char *text = strndup((const char *)fifo_front(&answer->wire), fifo_size(&answer->wire));
    CHECK(answer->ended);
    answer_free(answer);
    return text;
}

static void expect(char *text, const char *expected) {
    const char *body = strstr(text, "\r\n\r\n");
    CHECK(body);
    CHECK_STR(body + 4, expected);
    free(text);
}

static void test_document(void) {
    Answer answer = begin(ANSWER_DOCUMENT, ANSWER_AUTO, true);
    say(&answer, false, "out", 3);
    say(&answer, true, "\xff", 1);
    answer_exit(&answer, 3, false, NULL);
    _cleanup_free_ char *text = finish(&answer);
    CHECK_CONTAINS(text, "HTTP/1.1 200 OK\r\n");
    CHECK_CONTAINS(text, "Content-Length: ");
    CHECK_CONTAINS(text, "\"exit_status\":3,\"timed_out\":false,\"stdout\":\"out\",\"stderr\":"
                         "{\"base64\":\"/w==\"},\"stdout_dropped_bytes\":0");
}

static void test_document_is_bounded(void) {
    Answer answer = begin(ANSWER_DOCUMENT, ANSWER_AUTO, true);
    static char piece[ANSWER_PIECE_MAX];
    answer.keep_bytes = 100;
    memset(piece, 'x', sizeof(piece));
    for (int i = 0; i < 1000; i++)
        say(&answer, false, piece, sizeof(piece));
    CHECK(answer.kept[0].bytes.room <= 4 * ANSWER_PIECE_MAX);
    say(&answer, false, "end", 3);
    answer_exit(&answer, 0, true, NULL);
    _cleanup_free_ char *text = finish(&answer);

    CHECK_CONTAINS(text, "xxxend\"");
    CHECK_CONTAINS(text, "\"timed_out\":true");
    CHECK_CONTAINS(text, "\"stdout_dropped_bytes\":16383903"); /* 1000 × 16384 + 3 − 100 */
}

/* What is kept begins with a whole character, so that text stays text. */
static void test_cut_in_a_character(void) {
    Answer answer = begin(ANSWER_DOCUMENT, ANSWER_AUTO, true);
    answer.keep_bytes = 4;
    say(&answer, false,
        "a\xe2\x82\xac"
        "bcd",
        7);
    answer_exit(&answer, 0, false, NULL);
    _cleanup_free_ char *text = finish(&answer);

    CHECK_CONTAINS(text, "\"stdout\":\"bcd\"");
    CHECK_CONTAINS(text, "\"stdout_dropped_bytes\":4");
}

static void test_lines(void) {
    Answer answer = begin(ANSWER_LINES, ANSWER_AUTO, false);
    say(&answer, false, "a\xe2\x82", 3); /* the character goes on in the next piece */
    say(&answer, true, "e", 1);
    say(&answer, false,
        "\xac"
        "b\xc3",
        3); /* and this one never does */
    answer_exit(&answer, 0, false, NULL);
    expect(finish(&answer), "{\"stream\":\"stdout\",\"data\":\"a\"}\n"
                            "{\"stream\":\"stderr\",\"data\":\"e\"}\n"
                            "{\"stream\":\"stdout\",\"data\":\"\xe2\x82\xac"
                            "b\"}\n"
                            "{\"stream\":\"stdout\",\"data\":{\"base64\":\"ww==\"}}\n"
                            "{\"exit_status\":0,\"timed_out\":false}\n");
}

static void test_forms_of_text(void) {
    Answer answer = begin(ANSWER_LINES, ANSWER_TEXT, false);
    say(&answer, false, "a\xff\0\xed\xa0\x80z", 7); /* no byte, no NUL, no surrogate of UTF-8 */
    answer_exit(&answer, 0, false, NULL);
    expect(finish(&answer),
           "{\"stream\":\"stdout\",\"data\":\"a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
           "\xef\xbf\xbdz\"}\n{\"exit_status\":0,\"timed_out\":false}\n");
    answer = begin(ANSWER_LINES, ANSWER_BASE64, false);
    say(&answer, false, "hi", 2);
    answer_exit(&answer, 0, false, NULL);
    expect(finish(&answer), "{\"stream\":\"stdout\",\"data\":{\"base64\":\"aGk=\"}}\n"
                            "{\"exit_status\":0,\"timed_out\":false}\n");
}

static void test_errors(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    Answer answer = begin(ANSWER_FILE, ANSWER_AUTO, true);
    (void)error_set(&error, ERROR_NOT_FOUND, 0, "nothing there");
    answer_error(&answer, &error);
    _cleanup_free_ char *early = finish(&answer);

    CHECK_CONTAINS(early, "HTTP/1.1 404 ");
    CHECK_CONTAINS(early, "{\"error\":{\"code\":\"not_found\","
                          "\"message\":\"nothing there\",\"hint\":\"\"}}");
    answer = begin(ANSWER_LINES, ANSWER_AUTO, true);
    say(&answer, false, "x", 1);
    answer_error(&answer, &error);
    _cleanup_free_ char *late = finish(&answer);

    CHECK_CONTAINS(late, "HTTP/1.1 200 OK\r\n");
    CHECK_CONTAINS(late, "\"nothing there\",\"hint\":\"\"}}\n\r\n0\r\n\r\n");
}

static void test_files(void) {
    Answer answer = begin(ANSWER_FILE, ANSWER_AUTO, true);
    say(&answer, false, "fab", 3);
    say(&answer, false, "c", 1);
    answer_done(&answer);
    _cleanup_free_ char *file = finish(&answer);
    CHECK_CONTAINS(file, "Content-Type: application/octet-stream\r\n");
    CHECK_CONTAINS(file, "\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n");
    answer = begin(ANSWER_FILE, ANSWER_AUTO, true);
    say(&answer, false, "f", 1);
    answer_done(&answer);
    expect(finish(&answer), "0\r\n\r\n"); /* an empty one */
    answer = begin(ANSWER_FILE, ANSWER_AUTO, true);
    say(&answer, false, "d", 1);
    CHECK_CONTAINS((const char *)fifo_front(&answer.wire), "application/x-tar");
    answer_error(&answer, &(Error){.kind = ERROR_FAILED});
    expect(finish(&answer), ""); /* no last chunk: it was cut */
    answer = begin(ANSWER_FILE, ANSWER_AUTO, true);
    CHECK_INT(answer_data(&answer, false, (const uint8_t *)"x", 1), -EBADMSG);
    answer_free(&answer);
}

static size_t write_stat(uint8_t *payload, size_t room, uint64_t mode) {
    TlvWriter writer;
    tlv_start(&writer, payload, room);
    tlv_add_u64(&writer, TAG_STAT_MODE, mode);
    tlv_add_u64(&writer, TAG_STAT_SIZE, 5);
    tlv_add_u64(&writer, TAG_STAT_MTIME_USEC, (uint64_t)-1000000);
    tlv_add(&writer, TAG_STAT_TARGET, "/x\xff", 3);
    return writer.size;
}

static void test_stat(void) {
    uint8_t payload[256];
    size_t size = write_stat(payload, sizeof(payload), 0120777);
    Answer answer = begin(ANSWER_STAT, ANSWER_AUTO, true);
    say(&answer, false, (const char *)payload, size);
    answer_done(&answer);
    expect(finish(&answer), "{\"kind\":\"link\",\"mode\":\"0777\",\"size\":5,"
                            "\"mtime_us\":-1000000,\"target\":{\"base64\":\"L3j/\"}}\n");
    answer = begin(ANSWER_STAT, ANSWER_AUTO, true);
    say(&answer, false, (const char *)payload, size - 1);
    answer_done(&answer);
    _cleanup_free_ char *half = finish(&answer);

    CHECK_CONTAINS(half, "malformed");
    answer = begin(ANSWER_STAT, ANSWER_AUTO, true);
    static uint8_t much[ANSWER_PIECE_MAX];

    CHECK_INT(answer_data(&answer, false, much, sizeof(much)), 0);
    CHECK_INT(answer_data(&answer, false, much, sizeof(much)), -EBADMSG);
    answer_free(&answer);
}

int main(void) {
    RUN(test_document);
    RUN(test_document_is_bounded);
    RUN(test_cut_in_a_character);
    RUN(test_lines);
    RUN(test_forms_of_text);
    RUN(test_errors);
    RUN(test_files);
    RUN(test_stat);
    return 0;
}
