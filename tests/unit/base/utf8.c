/* SPDX-License-Identifier: Apache-2.0 */
#include "base/utf8.h"

#include <string.h>

#include "base/util.h"
#include "check.h"

static void check_escaped(const char *text, const char *expected) {
    _cleanup_free_ char *escaped = utf8_escape(text, strlen(text));
    CHECK_STR(escaped, expected);
    CHECK_INT(utf8_is_valid(text, strlen(text)), strcmp(text, expected) == 0);
}

static void what_is_utf8_stays(void) {
    check_escaped("", "");
    check_escaped("plain\n\x01", "plain\n\x01");
    check_escaped("caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80",
                  "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80");
    check_escaped("\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf");
}

static void other_bytes_are_escaped(void) {
    check_escaped("caf\xe9", "caf\\xe9");
    check_escaped("\xff", "\\xff");
    check_escaped("\x80 \xbf", "\\x80 \\xbf");
    check_escaped("\xc0\xaf", "\\xc0\\xaf");
    check_escaped("\xe0\x9f\xbf", "\\xe0\\x9f\\xbf");
    check_escaped("\xed\xa0\x80", "\\xed\\xa0\\x80");
    check_escaped("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80");
    check_escaped("\xe2\x82", "\\xe2\\x82");
    check_escaped("\xe2\x82\xc3\xa9", "\\xe2\\x82\xc3\xa9");
}

static void a_terminal_gets_no_control(void) {
    static const char text[] = "a\x1b[2J\x7f\t\n\xc2\x9b"
                               "2J\xc2\xa0\xc3\xa9\xe9";
    _cleanup_free_ char *shown = utf8_show(text, sizeof(text) - 1);
    CHECK_STR(shown, "a?[2J?\t\n?2J\xc2\xa0\xc3\xa9\\xe9");
}

int main(void) {
    RUN(a_terminal_gets_no_control);
    RUN(what_is_utf8_stays);
    RUN(other_bytes_are_escaped);
    return 0;
}
