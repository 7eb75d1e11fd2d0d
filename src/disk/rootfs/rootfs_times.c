/* SPDX-License-Identifier: Apache-2.0 */

/* mke2fs -d copies 32 bits of a time. The rest is in fields of their own in inodes of 256 bytes
 * (Documentation/filesystems/ext4/inodes.rst, "Inode Timestamps"): two bits by which the seconds go
 * on after 2038, and 30 of nanoseconds. debugfs can set these. */

#include <errno.h>
#include <fts.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include "base/str.h"
#include "disk/rootfs/rootfs_parts.h"

/* 0: nothing is lost without it. */
static uint32_t extra_bits(const struct timespec *time) {
    uint64_t above = (uint64_t)time->tv_sec - (uint64_t)(int64_t)(int32_t)time->tv_sec;
    return (uint32_t)time->tv_nsec << 2 | (uint32_t)(above >> 32 & 3);
}

/* A path as one word for debugfs, which doubles quotes; a line cannot hold a line's end. */
static void write_line(FILE *script, const char *path, uint32_t extra) {
    (void)fputs("set_inode_field \"", script);
    for (; *path; path++) {
        if (*path == '"')
            (void)fputc('"', script);
        (void)fputc(*path, script);
    }
    (void)fprintf(script, "\" mtime_extra %u\n", extra);
}

int rootfs_write_times(const char *folder, FILE *script, size_t *n_lines, Error *error) {
    char *const roots[] = {(char *)folder, NULL};
    FTS *tree = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
    size_t prefix = strlen(folder);
    FTSENT *entry;
    if (!tree)
        return error_set_errno(error, errno, "cannot read %s", folder);
    *n_lines = 0;
    for (errno = 0; (entry = fts_read(tree)); errno = 0) {
        const char *path = entry->fts_path + prefix;
        if (entry->fts_info == FTS_DP || !entry->fts_statp || strchr(path, '\n') ||
            extra_bits(&entry->fts_statp->st_mtim) == 0)
            continue;
        write_line(script, *path ? path : "/", extra_bits(&entry->fts_statp->st_mtim));
        (*n_lines)++;
    }
    int r = errno ? error_set_errno(error, errno, "cannot read %s", folder) : 0;

    (void)fts_close(tree);
    return r;
}
