/* SPDX-License-Identifier: Apache-2.0 */
#include "store/guest_macs.h"

#include "check.h"

static void test_none(void) {
    char mac[18] = "as it was";
    CHECK(!guest_macs_get("", 0, mac));
    CHECK_STR(mac, "as it was");
}

static void test_all(void) {
    static const char *const macs[] = {"52:54:00:00:00:01", "52:54:00:00:00:02",
                                       "52:54:00:00:00:03", "52:54:00:00:00:04"};
    char text[GUEST_MACS_SIZE] = "", mac[18];
    for (size_t i = 0; i < 4; i++)
        guest_macs_add(text, macs[i]);
    for (size_t i = 0; i < 4; i++) {
        CHECK(guest_macs_get(text, i, mac));
        CHECK_STR(mac, macs[i]);
    }
    CHECK(!guest_macs_get(text, 4, mac));
    guest_macs_add(text, macs[0]); /* no room */
    CHECK(!guest_macs_get(text, 4, mac));
}

/* What a store of another version may have. */
static void test_malformed(void) {
    char text[GUEST_MACS_SIZE] = "", mac[18];
    CHECK(!guest_macs_get("52:54:00:00:00:0", 0, mac));
    CHECK(!guest_macs_get("52:54:00:00:00:01;52:54", 1, mac));
    guest_macs_add(text, "52:54");
    CHECK_STR(text, "");
}

int main(void) {
    RUN(test_none);
    RUN(test_all);
    RUN(test_malformed);
    return 0;
}
