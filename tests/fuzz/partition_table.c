/* SPDX-License-Identifier: Apache-2.0 */
/* A disk of 4 MiB that begins with the input; its first bytes, which no table uses, pick the
 * partition. Checksums of a GPT are made right, or hardly any input would come further. */
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "agent/disk/partition_table.h"

#define DISK_SECTORS 8192u

static uint32_t crc(const uint8_t *data, size_t size) {
    uint32_t value = UINT32_MAX;
    for (size_t i = 0; i < size; i++) {
        value ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            value = value >> 1 ^ (value & 1 ? 0xedb88320u : 0);
    }
    return ~value;
}

static void sign(uint8_t *disk) {
    uint8_t *header = disk + SECTOR_BYTES;
    uint32_t n, entry_bytes, header_bytes, sum;
    uint64_t at;
    memcpy(&n, header + 80, 4);
    memcpy(&entry_bytes, header + 84, 4);
    memcpy(&header_bytes, header + 12, 4);
    memcpy(&at, header + 72, 8);
    if (n > 512 || entry_bytes > 128 || at > 1024 || header_bytes > SECTOR_BYTES)
        return;
    sum = crc(disk + at * SECTOR_BYTES, (size_t)n * entry_bytes);
    memcpy(header + 88, &sum, 4);
    memset(header + 16, 0, 4);
    sum = crc(header, header_bytes);
    memcpy(header + 16, &sum, 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static uint8_t disk[DISK_SECTORS * SECTOR_BYTES];
    static int fd = -1;
    Result result = {0};
    uint64_t start = 0, grown = 0;
    struct stat st;
    if (fd < 0)
        fd = memfd_create("disk", MFD_CLOEXEC);
    memset(disk, 0, sizeof(disk));
    memcpy(disk, data, size < sizeof(disk) ? size : sizeof(disk));
    memcpy(disk + 510, "\x55\xaa", 2);
    memcpy(&start, disk + 1, 3);
    if (memcmp(disk + SECTOR_BYTES, "EFI PART", 8) == 0)
        sign(disk);
    if (fd < 0 || pwrite(fd, disk, sizeof(disk), 0) != (ssize_t)sizeof(disk))
        abort();
    if (partition_table_extend(fd, DISK_SECTORS, disk[0], start, &grown, &result) == 0 &&
        (grown > DISK_SECTORS || start > DISK_SECTORS - grown))
        abort();
    if (fstat(fd, &st) < 0 || st.st_size != (off_t)sizeof(disk))
        abort(); /* written beyond its end */
    return 0;
}
