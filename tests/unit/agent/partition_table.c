/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of either kind on disks that grew, and tables that lie. */
#include "agent/disk/partition_table.h"

#include <errno.h>
#include <sys/mman.h>

#include "check.h"

#define OLD_SECTORS 131072u
#define NEW_SECTORS 262144u

static int disk;
static Result result;
static uint64_t size;

static void put(uint64_t sector, size_t at, const void *data, size_t length) {
    CHECK_INT(pwrite(disk, data, length, (off_t)(sector * SECTOR_BYTES + at)), (int64_t)length);
}

static void put_number(uint64_t sector, size_t at, size_t bytes, uint64_t value) {
    put(sector, at, &value, bytes); /* little-endian, as we are */
}

static uint64_t number(uint64_t sector, size_t at, size_t bytes) {
    uint64_t value = 0;
    CHECK_INT(pread(disk, &value, bytes, (off_t)(sector * SECTOR_BYTES + at)), (int64_t)bytes);
    return value;
}

static void new_disk(void) {
    if (disk > 0)
        (void)close(disk);
    disk = memfd_create("disk", MFD_CLOEXEC);
    CHECK_INT(ftruncate(disk, (off_t)NEW_SECTORS * SECTOR_BYTES), 0);
}

static void put_old(uint64_t sector, unsigned i, uint8_t type, uint64_t start, uint64_t length) {
    size_t at = 446 + (size_t)16 * i;
    put_number(sector, at + 4, 1, type);
    put_number(sector, at + 8, 4, start);
    put_number(sector, at + 12, 4, length);
    put(sector, 510, "\x55\xaa", 2);
}

static int extend(unsigned partition, uint64_t start) {
    result = (Result){0};
    size = 0;
    return partition_table_extend(disk, NEW_SECTORS, partition, start, &size, &result);
}

static void test_primary(void) {
    new_disk();
    put_old(0, 0, 0x83, 2048, 4096);
    put_old(0, 1, 0x83, 6144, OLD_SECTORS - 6144);
    CHECK_INT(extend(1, 2048), -ENOSPC);
    CHECK_CONTAINS(result.text, "partition 1 is not the last one");
    CHECK_INT(extend(2, 6144), 0);
    CHECK_INT(size, NEW_SECTORS - 6144);
    CHECK_INT(number(0, 446 + 16 + 12, 4), NEW_SECTORS - 6144);
    CHECK_INT(number(0, 446 + 12, 4), 4096);
    CHECK_INT(extend(2, 6144), 0); /* once more: nothing to do */
    CHECK_INT(size, NEW_SECTORS - 6144);
    CHECK_INT(extend(2, 6145), -EBADMSG);
    CHECK_INT(extend(3, 0), -EBADMSG);
}

static void put_logical(void) {
    new_disk();
    put_old(0, 0, 0x83, 2048, 4096);
    put_old(0, 1, 0x05, 6144, OLD_SECTORS - 6144);
    put_old(6144, 0, 0x83, 63, 4096);
    put_old(6144, 1, 0x05, 8192, OLD_SECTORS - 6144 - 8192);
    put_old(14336, 0, 0x83, 2048, OLD_SECTORS - 14336 - 2048);
}

static void test_logical(void) {
    put_logical();
    CHECK_INT(extend(5, 6144 + 63), -ENOSPC);
    CHECK_INT(extend(1, 2048), -ENOSPC);
    CHECK_INT(extend(6, 16384), 0);
    CHECK_INT(size, NEW_SECTORS - 16384);
    CHECK_INT(number(14336, 446 + 12, 4), NEW_SECTORS - 16384);
    CHECK_INT(number(6144, 446 + 16 + 12, 4), NEW_SECTORS - 14336);
    CHECK_INT(number(0, 446 + 16 + 12, 4), NEW_SECTORS - 6144);
    CHECK_INT(number(6144, 446 + 12, 4), 4096);
}

static void test_hostile_chains(void) {
    put_logical();
    put_old(14336, 1, 0x05, 0, 100); /* leads to the first link again */
    CHECK_INT(extend(6, 16384), -EBADMSG);
    put_logical();
    put_old(14336, 1, 0x05, 8192, 100); /* to itself */
    CHECK_INT(extend(6, 16384), -EBADMSG);
    put_logical();
    put_old(6144, 1, 0x05, 0x7fffffff, 100); /* out of the disk */
    CHECK_INT(extend(6, 16384), -EBADMSG);
    put_logical();
    put_old(14336, 0, 0x83, 2048, 0xffffffff);
    CHECK_INT(extend(6, 16384), -EBADMSG);
    put_logical();
    put_old(0, 2, 0x83, 20000, 100); /* within the extended one */
    CHECK_INT(extend(6, 16384), -EBADMSG);
    new_disk();
    CHECK_INT(extend(1, 2048), -EBADMSG);
}

static uint32_t crc(uint64_t at, size_t length) {
    uint32_t value = UINT32_MAX;
    for (size_t i = 0; i < length; i++) {
        value ^= (uint8_t)number(0, (size_t)at + i, 1);
        for (int bit = 0; bit < 8; bit++)
            value = value >> 1 ^ (value & 1 ? 0xedb88320u : 0);
    }
    return ~value;
}

static void sign(uint64_t header) {
    uint64_t entries = number(header, 72, 8);
    put_number(header, 88, 4, crc(entries * SECTOR_BYTES, (size_t)128 * 128));
    put_number(header, 16, 4, 0);
    put_number(header, 16, 4, crc(header * SECTOR_BYTES, 92));
}

static void put_entry(unsigned i, uint64_t first, uint64_t last) {
    size_t at = (size_t)128 * i;
    put(2, at, "some kind of it", 16);
    put_number(2, at + 32, 8, first);
    put_number(2, at + 40, 8, last);
}

static void put_gpt(void) {
    new_disk();
    put_old(0, 0, 0xee, 1, OLD_SECTORS - 1);
    put(1, 0, "EFI PART\0\0\1\0", 12);
    put_number(1, 12, 4, 92);
    put_number(1, 24, 8, 1);
    put_number(1, 32, 8, OLD_SECTORS - 1);
    put_number(1, 40, 8, 34);
    put_number(1, 48, 8, OLD_SECTORS - 34);
    put_number(1, 72, 8, 2);
    put_number(1, 80, 4, 128);
    put_number(1, 84, 4, 128);
    put_entry(0, 20480,
              OLD_SECTORS - 34); /* the last one has the lowest number, as on cloud images */
    put_entry(13, 2048, 8191);
    put_entry(14, 8192, 20479);
    sign(1);
}

static void check_header(uint64_t own, uint64_t other, uint64_t entries) {
    CHECK_INT(number(own, 24, 8), own);
    CHECK_INT(number(own, 32, 8), other);
    CHECK_INT(number(own, 72, 8), entries);
    CHECK_INT(number(own, 48, 8), NEW_SECTORS - 34);
    uint64_t said = number(own, 16, 4), of_entries = number(own, 88, 4);
    sign(own);
    CHECK_INT(number(own, 16, 4), said);
    CHECK_INT(number(own, 88, 4), of_entries);
    CHECK_INT(number(entries, 32, 8), 20480);
    CHECK_INT(number(entries, 40, 8), (NEW_SECTORS - 33) / 8 * 8 - 1);
    CHECK_INT(number(entries, 13 * 128 + 40, 8), 8191);
}

static void test_gpt(void) {
    put_gpt();
    CHECK_INT(extend(14, 2048), -ENOSPC);
    CHECK_INT(number(1, 48, 8), OLD_SECTORS - 34); /* untouched */
    CHECK_INT(extend(1, 20480), 0);
    CHECK_STR(result.text, "");
    CHECK_INT(size, (NEW_SECTORS - 33) / 8 * 8 - 20480);
    check_header(1, NEW_SECTORS - 1, 2);
    check_header(NEW_SECTORS - 1, 1, NEW_SECTORS - 33);
    CHECK_INT(number(0, 446 + 12, 4), NEW_SECTORS - 1);
    CHECK_INT(extend(1, 20480), 0);
    CHECK_INT(size, (NEW_SECTORS - 33) / 8 * 8 - 20480);
}

static void test_hostile_gpt(void) {
    static const struct {
        size_t at, bytes;
        uint64_t value;
    } lies[] = {{12, 4, 0},
                {12, 4, 0xffffffff},
                {24, 8, 2},
                {72, 8, UINT64_MAX},
                {72, 8, 0},
                {80, 4, 0},
                {80, 4, 0xffffffff},
                {84, 4, 0},
                {84, 4, 129},
                {84, 4, 0x80000000},
                {72, 8, NEW_SECTORS - 1}};

    for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
        put_gpt();
        put_number(1, lies[i].at, lies[i].bytes, lies[i].value);
        put_number(1, 16, 4, 0);
        put_number(1, 16, 4, crc(SECTOR_BYTES, 92));
        CHECK_INT(extend(1, 20480), -EBADMSG);
    }
    put_gpt();
    put_number(1, 48, 8, 7); /* without a new checksum */
    CHECK_INT(extend(1, 20480), -EBADMSG);
    put_gpt();
    put_entry(14, 8192, UINT64_MAX);
    sign(1);
    CHECK_INT(extend(1, 20480), -EBADMSG);
    put_gpt();
    put_entry(0, 20480, 20479);
    sign(1);
    CHECK_INT(extend(1, 20480), -EBADMSG);
    put_gpt();
    CHECK_INT(extend(200, 20480), -EBADMSG);
    CHECK_INT(extend(2, 0), -EBADMSG);
}

int main(void) {
    RUN(test_primary);
    RUN(test_logical);
    RUN(test_hostile_chains);
    RUN(test_gpt);
    RUN(test_hostile_gpt);
    return 0;
}
