/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/disk/disks.h"

#include <string.h>

#include "check.h"

static void test_words(void) {
    DiskWord word;
    CHECK_INT(disk_word_parse("seed-1,rw,/root", &word), 0);
    CHECK(strcmp(word.serial, "seed-1") == 0 && !word.read_only && strcmp(word.path, "/root") == 0);
    CHECK_INT(disk_word_parse("config-2,ro,/a%20b%2cc", &word), 0);
    CHECK(word.read_only && strcmp(word.path, "/a b,c") == 0);
}

static void test_bad_words(void) {
    static const char *const bad[] = {"",
                                      "seed-1",
                                      ",rw,/root",
                                      "seed-1,rw",
                                      "seed-1,xx,/",
                                      "seed-1,rw,root",
                                      "seed-1,rw,/%2",
                                      "seed-1,rw,/%00",
                                      "seed-1,rw,/%zz"};
    DiskWord word;
    char longer[400];
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        CHECK(disk_word_parse(bad[i], &word) < 0);
    (void)snprintf(longer, sizeof(longer), "seed-1,rw,/%0300d", 1);
    CHECK(disk_word_parse(longer, &word) < 0);
}

int main(void) {
    test_words();
    test_bad_words();
    return 0;
}
