/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/log_times.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "proto/log_times.h"

#define PIECE 16384
#define MARKS_MAX_BYTES (64 * MIB) /* far more than a keeper writes */
#define LINE_MAX_BYTES MIB         /* the start of a longer line is not looked for */
#define PIECE_MARKS (PIECE / sizeof(LogTimesMark))

static int open_marks(int folder_fd, const char *name, uint64_t inode) {
    _cleanup_close_ int fd =
        openat(folder_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    LogTimesHeader header;
    if (fd < 0 || fd_pread_full(fd, &header, sizeof(header), 0) != (ssize_t)sizeof(header) ||
        header.magic != LOG_TIMES_MAGIC || header.inode != inode)
        return -ENODATA;
    return TAKE_FD(fd);
}

/* The log may have been renamed since it was opened, or be renamed now. */
static int find_marks(int folder_fd, uint64_t inode) {
    int fd = open_marks(folder_fd, "console.times", inode);
    return fd < 0 ? open_marks(folder_fd, "console.times.1", inode) : fd;
}

/* The offset of the first mark that may be as new; UINT64_MAX when there is none. *known: where the
 * first mark of all stands. */
static uint64_t first_mark(int fd, uint64_t since_usec, uint64_t *known) {
    LogTimesMark marks[PIECE_MARKS];
    uint64_t at = sizeof(LogTimesHeader);
    ssize_t got;
    *known = UINT64_MAX;
    while (at < MARKS_MAX_BYTES &&
           (got = fd_pread_full(fd, marks, sizeof(marks), at)) >= (ssize_t)sizeof(marks[0])) {
        size_t count = (size_t)got / sizeof(marks[0]);
        if (*known == UINT64_MAX)
            *known = marks[0].offset;
        for (size_t i = 0; i < count; i++)
            if (since_usec < LOG_TIMES_STEP_USEC ||
                marks[i].realtime_usec > since_usec - LOG_TIMES_STEP_USEC)
                return marks[i].offset;
        at += count * sizeof(marks[0]);
    }
    return UINT64_MAX;
}

/* The start of the line that holds that offset. */
static uint64_t line_start(int log_fd, uint64_t offset) {
    char buffer[PIECE];
    uint64_t least = offset > LINE_MAX_BYTES ? offset - LINE_MAX_BYTES : 0;
    while (offset > least) {
        size_t size = offset < PIECE ? (size_t)offset : PIECE;
        ssize_t got = fd_pread_full(log_fd, buffer, size, offset - size);
        const char *newline = got == (ssize_t)size ? memrchr(buffer, '\n', size) : NULL;
        if (newline)
            return offset - size + (size_t)(newline + 1 - buffer);
        offset -= size;
    }
    return offset;
}

int log_times_find(int folder_fd, int log_fd, uint64_t since_usec, uint64_t *offset) {
    _cleanup_close_ int marks_fd = -1;
    uint64_t known, found;
    struct stat st;
    *offset = 0;
    if (log_fd < 0 || fstat(log_fd, &st) < 0 || st.st_size == 0)
        return 0;
    marks_fd = find_marks(folder_fd, st.st_ino);
    if (marks_fd < 0)
        return -ENODATA;
    found = first_mark(marks_fd, since_usec, &known);
    if (known == UINT64_MAX || (found == known && known > 0))
        return -ENODATA;
    *offset = found >= (uint64_t)st.st_size ? (uint64_t)st.st_size : line_start(log_fd, found);
    return 0;
}
