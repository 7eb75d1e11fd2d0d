/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"
#include "machine/look/memory_use.h"

#include "check.h"

#define BEFORE "Size:  4096 kB\nRss:  900 kB\nPrivate_Clean: 8 kB\n"
#define GUEST "Private_Dirty: 9000 kB\nAnonymous: 5000 kB\nAnonHugePages: 1 kB\nSwapPss: 7 kB\n"

static const char smaps[] =
    "559c-559d r-xp 00000000 08:01 17 /usr/bin/qemu-system-x86_64\n" BEFORE
    "Private_Dirty: 3 kB\nSwapPss: 0 kB\nVmFlags: rd wr \n"
    "559d-55ff rw-p 00000000 00:00 0 [heap]\n" BEFORE
    "Private_Dirty: 100 kB\nSwapPss: 20 kB\nVmFlags: rd wr \n"
    "7f95-7f96 rwxp 00000000 00:00 0 \n" BEFORE
    "Private_Dirty: 1000 kB\nSwapPss: 0 kB\nVmFlags: rd wr \n"
    "7f96-7f97 rw-p 00000000 00:01 1460 /memfd:a name (deleted)\n" BEFORE GUEST "VmFlags: rd wr \n";

static void test_kinds_of_mappings(void) {
    MemoryUse use;
    memory_use_parse(smaps, 1460, &use);
    CHECK_INT(use.guest_bytes, 5007 * KIB);
    CHECK_INT(use.code_bytes, 1000 * KIB);
    CHECK_INT(use.qemu_bytes, 123 * KIB);
    memory_use_parse(smaps, 1, &use); /* another file is QEMU's own */
    CHECK_INT(use.guest_bytes, 0);
    CHECK_INT(use.qemu_bytes, 9130 * KIB);
}

static void test_cut_or_odd_text(void) {
    static const char *const texts[] = {"",
                                        "\n\n",
                                        "7f95",
                                        "Private_Dirty: 5 kB",
                                        "7f95-7f96 rwxp\nPrivate_Dirty: 5 kB\n",
                                        "7f95-7f96 rw-p 0 00:00 0\nPrivate_Dirty:",
                                        "7f95-7f96 rw-p 0 00:00 0\nPrivate_Dirty: x kB\n"};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        MemoryUse use;
        memory_use_parse(texts[i], 1, &use);
        CHECK_INT(use.guest_bytes + use.code_bytes + use.qemu_bytes, 0);
    }
}

/* A mapping of a file of ours, of which three pages were written. */
static void test_own_process(void) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    int fd = memfd_create("ram", MFD_CLOEXEC);
    MemoryUse use;
    struct stat info;
    CHECK_INT(ftruncate(fd, (off_t)(8 * page)), 0);
    CHECK_INT(fstat(fd, &info), 0);
    char *ram = mmap(NULL, 8 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    CHECK(ram != MAP_FAILED);
    memset(ram + page, 1, 3 * page);
    CHECK_INT(pwrite(fd, "x", 1, 0), 1);
    CHECK_INT(ram[0], 'x'); /* nobody else maps that one, but it is the file's */
    CHECK_INT(memory_use_read(getpid(), info.st_ino, &use), 0);
    CHECK_INT(use.guest_bytes, 3 * page);
    CHECK(use.qemu_bytes > 0);
    CHECK(memory_use_read(-1, info.st_ino, &use) < 0);
    CHECK_INT(munmap(ram, 8 * page), 0);
    CHECK_INT(close(fd), 0);
}

static void test_shares(void) {
    MemoryShare share = {0};
    CHECK_INT(memory_share_parse("55d0-7ffe ---p 00000000 00:00 0 [rollup]\n"
                                 "Rss:              240000 kB\nPss:               20000 kB\n"
                                 "Pss_Anon:          15000 kB\nPss_File:           5000 kB\n"
                                 "Anonymous:         18000 kB\nSwap:               3000 kB\n"
                                 "SwapPss:            1000 kB\n",
                                 &share),
              0);
    CHECK_INT(share.private_bytes, 16000 * 1024);
    CHECK_INT(share.shared_bytes, 225000 * 1024);
    CHECK_INT(memory_share_parse("Rss: 1 kB\nPss_Anon: 2 kB", &share), 0);
    CHECK_INT(share.shared_bytes, 0);
    CHECK_INT(memory_share_parse("", &share), -ENODATA);
    CHECK_INT(memory_share_parse("Rss: 1 kB\n", &share), -ENODATA);
    CHECK_INT(memory_share_read(getpid(), &share), 0);
    CHECK(share.private_bytes > 0 && share.shared_bytes > 0);
    CHECK(memory_share_read(-1, &share) < 0);
}

int main(void) {
    RUN(test_kinds_of_mappings);
    RUN(test_cut_or_odd_text);
    RUN(test_own_process);
    RUN(test_shares);
    return 0;
}
