/* SPDX-License-Identifier: Apache-2.0 */

/* What guests say of their connections: both ends must agree. */

#include "prove/connections.h"

#include "base/str.h"
#include "check.h"

#define HEAD "  sl  local_address rem_address   st tx_queue rx_queue\n"
#define REST " 00000000:00000000 00:00000000 00000000     0        0 1234 1\n"
#define A4 "0A00D10A"
#define B4 "0B00D10A"
#define MAPPED "0000000000000000FFFF0000"
#define A6 "3C9939FD0EDC60E40000000000000A00"
#define B6 "3C9939FD0EDC60E40000000000000B00"
#define LINE(own, peer, state) "   0: " own " " peer " " state REST

static size_t check_two(const char *a, const char *b, bool whole) {
    _cleanup_free_ char *broken = NULL;
    size_t found = connections_check((const char *const[]){a, b}, 2, &broken);
    CHECK(whole ? !broken : broken != NULL);
    return found;
}

static void test_both_ends(void) {
    const char *a =
        HEAD LINE(A4 ":1B58", B4 ":C001", "01") LINE("00000000:1B58", "00000000:0000", "0A");
    CHECK_INT(check_two(a, HEAD LINE(B4 ":C001", A4 ":1B58", "01"), true), 1);
    CHECK_INT(check_two(a, HEAD LINE(MAPPED B4 ":C001", MAPPED A4 ":1B58", "01"), true), 1);
    CHECK_INT(check_two(HEAD LINE(A6 ":1B58", B6 ":C001", "01"),
                        HEAD LINE(B6 ":C001", A6 ":1B58", "01"), true),
              1);
}

/* One that leads to nobody of them is no matter of theirs; one that only one of them knows is. */
static void test_one_end(void) {
    const char *a = HEAD LINE(A4 ":1B58", B4 ":C001", "01");
    const char *other = LINE(B4 ":C005", A4 ":1B59", "01");
    CHECK_INT(check_two(a, HEAD, true), 0);
    CHECK_INT(check_two(a, other, false), 0);
    CHECK_INT(check_two(a, LINE(B4 ":C001", A4 ":1B58", "06"), true), 0);
    CHECK_INT(check_two(LINE("0100007F:0016", "0100007F:C002", "01"), "", true), 0);
}

static void test_noise(void) {
    CHECK_INT(check_two(NULL, "", true), 0);
    CHECK_INT(check_two("\n\n: : :\n 1: zz:1 2:3 01", "0: 0A00D10A", true), 0);
}

int main(void) {
    RUN(test_both_ends);
    RUN(test_one_end);
    RUN(test_noise);
    return 0;
}
