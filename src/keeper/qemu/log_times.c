/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/qemu/log_times.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"

void log_times_close(LogTimes *times) {
    times->fd = fd_close(times->fd);
    times->size_bytes = 0;
}

static void give_up(LogTimes *times, int r) {
    log_warning("cannot note when the console's lines came: %s", strerror(-r));
    (void)ftruncate(times->fd, 0);
    log_times_close(times);
}

/* Are these the marks of the log with that inode? A keeper that was killed may have left a part of
 * a mark at the end: the next one takes its place. */
static bool belongs_to(LogTimes *times, uint64_t inode) {
    LogTimesHeader header;
    struct stat info;
    if (fstat(times->fd, &info) < 0 || info.st_size < (off_t)sizeof(header) ||
        fd_pread_full(times->fd, &header, sizeof(header), 0) != (ssize_t)sizeof(header) ||
        header.magic != LOG_TIMES_MAGIC || header.inode != inode)
        return false;
    times->size_bytes = (uint64_t)info.st_size - (uint64_t)info.st_size % sizeof(LogTimesMark);
    return true;
}

static int begin_anew(LogTimes *times, uint64_t inode) {
    LogTimesHeader header = {.magic = LOG_TIMES_MAGIC, .inode = inode};
    if (ftruncate(times->fd, 0) < 0)
        return -errno;
    times->size_bytes = sizeof(header);
    return fd_pwrite_full(times->fd, &header, sizeof(header), 0);
}

void log_times_start(LogTimes *times, int fd, int log_fd) {
    struct stat info;
    int r = 0;
    log_times_close(times);
    *times = (LogTimes){.fd = fd};
    if (fstat(log_fd, &info) < 0)
        r = -errno;
    else if (!belongs_to(times, info.st_ino))
        r = begin_anew(times, info.st_ino);
    if (r < 0)
        give_up(times, r);
}

/* A line that goes on gets the time of what came last; else there is a new mark. */
void log_times_note(LogTimes *times, uint64_t offset, const void *data, size_t size,
                    uint64_t realtime_usec) {
    bool ends_line = memchr(data, '\n', size);
    int r;
    if (times->fd < 0)
        return;
    /* a clock that was set back makes a huge difference here, and so a mark */
    if (realtime_usec - times->last.realtime_usec >= LOG_TIMES_STEP_USEC) {
        times->last.realtime_usec = realtime_usec;
        if (!times->same_line) {
            times->last.offset = offset;
            times->size_bytes += sizeof(times->last);
        }
        r = fd_pwrite_full(times->fd, &times->last, sizeof(times->last),
                           times->size_bytes - sizeof(times->last));
        if (r < 0)
            return give_up(times, r);
        times->same_line = true;
    }
    if (ends_line)
        times->same_line = false;
}
