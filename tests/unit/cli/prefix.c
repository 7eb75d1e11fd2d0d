/* SPDX-License-Identifier: Apache-2.0 */

/* Lines of several logs, with their names before them. */

#include "cli/prefix.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"

static void add(Prefix *prefix, const char *text, const char *expected) {
    _cleanup_(strbuf_free) StrBuf out = {0};
    prefix_add(prefix, text, strlen(text), &out);
    CHECK_STR(out.data ? out.data : "", expected);
}

static void test_lines(void) {
    Prefix prefix = {.text = "web1 | "};
    _cleanup_(strbuf_free) StrBuf out = {0};
    add(&prefix, "one\ntw", "web1 | one\n");
    add(&prefix, "", "");
    add(&prefix, "o\r\n\nthree\n", "web1 | two\r\nweb1 | \nweb1 | three\n");
    add(&prefix, "login: ", "");
    prefix_end(&prefix, &out);
    CHECK_STR(out.data, "web1 | login: \n");
    strbuf_free(&out);
    prefix_end(&prefix, &out);
    CHECK_INT(out.size, 0);
    prefix_free(&prefix);
}

/* NULs stay, and a line without an end takes no more than its bound. */
static void test_any_bytes(void) {
    Prefix prefix = {.text = "> "};
    _cleanup_free_ char *zeros = calloc(1, 2 * PREFIX_LINE_MAX + 5);
    _cleanup_(strbuf_free) StrBuf out = {0};
    prefix_add(&prefix, zeros, 2 * PREFIX_LINE_MAX + 5, &out);
    CHECK_INT(out.size, 2 * (2 + PREFIX_LINE_MAX + 1));
    CHECK_INT(prefix.line.size, 5);
    CHECK_INT(out.data[2 + PREFIX_LINE_MAX], '\n');
    prefix_free(&prefix);
}

int main(void) {
    RUN(test_lines);
    RUN(test_any_bytes);
    return 0;
}
