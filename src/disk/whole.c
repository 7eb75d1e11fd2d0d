/* SPDX-License-Identifier: Apache-2.0 */

/* A disk that was cut off shows at its beginning: the file system's superblock and the partition
 * table tell how long it should be. What these say is not believed for anything else. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "disk/base_file.h"

#define HEAD_BYTES ((size_t)68 * 1024)
#define SECTOR_BYTES 512

static uint64_t get_le(const uint8_t *head, size_t at, size_t bytes) {
    uint64_t value = 0;
    for (size_t i = bytes; i-- > 0;)
        value = value << 8 | head[at + i];
    return value;
}

static uint64_t get_be(const uint8_t *head, size_t at, size_t bytes) {
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++)
        value = value << 8 | head[at + i];
    return value;
}

static uint64_t times(uint64_t count, uint64_t unit) {
    return unit > 0 && count > UINT64_MAX / unit ? UINT64_MAX : count * unit;
}

/* Superblock at 1024: s_blocks_count_lo at 4, s_log_block_size at 24, s_feature_incompat at 96 with
 * 64BIT 0x80, s_blocks_count_hi at 336 (Documentation/filesystems/ext4/super.rst). */
static uint64_t ext4_bytes(const uint8_t *head) {
    uint64_t blocks = get_le(head, 1024 + 4, 4), log = get_le(head, 1024 + 24, 4);
    if (get_le(head, 1024 + 96, 4) & 0x80)
        blocks |= get_le(head, 1024 + 336, 4) << 32;
    return log > 6 ? 0 : times(blocks, (uint64_t)1024 << log);
}

/* sb_blocksize at 4 and sb_dblocks at 8, big-endian (xfs_format.h). */
static uint64_t xfs_bytes(const uint8_t *head) {
    return times(get_be(head, 8, 8), get_be(head, 4, 4));
}

/* The end of the partition that ends last; GPT disks have one entry of type 0xee, which may say
 * anything. */
static uint64_t mbr_bytes(const uint8_t *head) {
    uint64_t end = 0;
    for (size_t at = 446; at < 510; at += 16)
        if (head[at] & 0x7f)
            return 0; /* no table, but a file system's own code */
    for (size_t at = 446; at < 510; at += 16)
        if (head[at + 4] != 0 && head[at + 4] != 0xee && get_le(head, at + 12, 4) > 0)
            end = MAX_OF(end, get_le(head, at + 8, 4) + get_le(head, at + 12, 4));
    return times(end, SECTOR_BYTES);
}

/* The last sector that partitions may use, at 48 of the header in sector 1; the backup behind it is
 * not needed (UEFI 2.10, 5.3.2). For sectors of 4 KiB the header is elsewhere, and left alone. */
static uint64_t gpt_bytes(const uint8_t *head) {
    uint64_t last = get_le(head, SECTOR_BYTES + 48, 8);
    return memcmp(head + SECTOR_BYTES, "EFI PART", 8) != 0 ? 0
           : last == UINT64_MAX                            ? UINT64_MAX
                                                           : times(last + 1, SECTOR_BYTES);
}

static uint64_t wanted_bytes(BaseContent content, const uint8_t *head) {
    switch (content) {
    case BASE_CONTENT_EXT4:
        return ext4_bytes(head);
    case BASE_CONTENT_XFS:
        return xfs_bytes(head);
    case BASE_CONTENT_BTRFS: /* total_bytes at 0x70 of the superblock at 64 KiB */
        return get_le(head, 65536 + 0x70, 8);
    case BASE_CONTENT_GPT:
        return gpt_bytes(head);
    case BASE_CONTENT_MBR:
        return mbr_bytes(head);
    default:
        return 0;
    }
}

int base_check_whole(int fd, Error *error) {
    _cleanup_free_ uint8_t *head = calloc(1, HEAD_BYTES);
    BaseContent content;
    struct stat st;
    ssize_t n;
    int r = base_probe_content(fd, &content, error);
    if (!head)
        abort();
    if (r < 0)
        return r;
    n = fd_pread_full(fd, head, HEAD_BYTES, 0);
    if (n < 0 || fstat(fd, &st) < 0)
        return error_set_errno(error, n < 0 ? (int)-n : errno, "cannot read the disk");
    uint64_t wanted = wanted_bytes(content, head);

    if (wanted <= (uint64_t)st.st_size)
        return 0;
    r = error_set(error, ERROR_CORRUPT, EBADMSG,
                  "the disk was cut off: it has %llu bytes, and what is on it (%s) needs %llu",
                  (unsigned long long)st.st_size, base_content_name(content),
                  (unsigned long long)wanted);
    error_set_hint(error, "fetch or copy it again");
    return r;
}
