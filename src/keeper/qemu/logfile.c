/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/qemu/logfile.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"

/* O_NOFOLLOW and O_NONBLOCK: the folder may belong to the VM's user, who could put a link or a pipe
 * there while this program is still root. */
static int open_file(const LogFile *log, const char *name, int flags) {
    int fd = openat(log->dir_fd, name, O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | flags, 0600);
    return fd < 0 ? -errno : fd;
}

static int open_log(const LogFile *log, int flags) {
    return open_file(log, log->name, O_WRONLY | O_APPEND | flags);
}

static int open_times(const LogFile *log, int flags) {
    return open_file(log, log->times_name, O_RDWR | flags);
}

static int check_file(int fd, uid_t uid, gid_t gid, uint64_t *size_bytes) {
    struct stat info;
    if (fstat(fd, &info) < 0)
        return -errno;
    if (!S_ISREG(info.st_mode) || info.st_nlink != 1)
        return -EINVAL;
    if (uid != 0 && geteuid() == 0 && fchown(fd, uid, gid) < 0)
        return -errno;
    *size_bytes = (uint64_t)info.st_size;
    return 0;
}

int logfile_open(LogFile *log, int dir_fd, const char *name, bool rotate, uint64_t max_bytes,
                 uid_t uid, gid_t gid, Error *error) {
    LogFile opened = {.dir_fd = dir_fd,
                      .name = name,
                      .rotate = rotate,
                      .max_bytes = max_bytes,
                      .fd = -1,
                      .times = LOG_TIMES_INIT};
    _cleanup_close_ int fd = open_log(&opened, 0);
    int r = fd < 0 ? fd : check_file(fd, uid, gid, &opened.size_bytes);
    if (r < 0)
        return error_set_errno(error, -r, "cannot open %s", name);
    opened.fd = TAKE_FD(fd);
    *log = opened;
    return 0;
}

int logfile_keep_times(LogFile *log, const char *name, uid_t uid, gid_t gid, Error *error) {
    log->times_name = name;
    uint64_t size_bytes;
    _cleanup_close_ int fd = open_times(log, 0);
    int r = fd < 0 ? fd : check_file(fd, uid, gid, &size_bytes);
    if (r < 0)
        return error_set_errno(error, -r, "cannot open %s", name);
    log_times_start(&log->times, TAKE_FD(fd), log->fd);
    return 0;
}

void logfile_close(LogFile *log) {
    log_times_close(&log->times);
    log->fd = fd_close(log->fd);
}

static void note_dropping(LogFile *log, const char *why) {
    if (!log->dropping)
        log_warning("%s: %s; dropping what comes", log->name, why);
    log->dropping = true;
}

static int move_away(const LogFile *log, const char *name) {
    _cleanup_free_ char *older = str_format("%s.1", name);
    return renameat(log->dir_fd, name, log->dir_fd, older) < 0 ? -errno : 0;
}

/* Without new marks the log tells no times, which its readers see. */
static void renew_times(LogFile *log) {
    int fd = open_times(log, O_TRUNC);
    log_times_close(&log->times);
    if (fd < 0)
        log_warning("cannot open %s: %s", log->times_name, strerror(-fd));
    else
        log_times_start(&log->times, fd, log->fd);
}

/* The marks go first: so there is no time at which a log is found with those of another one that
 * had the same inode. */
static void rotate(LogFile *log) {
    if (log->times_name)
        (void)move_away(log, log->times_name);
    int r = move_away(log, log->name);
    int fd = r < 0 ? r : open_log(log, O_TRUNC);
    if (fd < 0)
        return note_dropping(log, strerror(-fd));
    fd_close(log->fd);
    log->fd = fd;
    log->size_bytes = 0;
    if (log->times_name)
        renew_times(log);
}

static void keep_tail(LogFile *log, const char *data, size_t size) {
    if (size > LOGFILE_TAIL_BYTES) {
        data += size - LOGFILE_TAIL_BYTES;
        size = LOGFILE_TAIL_BYTES;
    }
    size_t first = MIN_OF(size, LOGFILE_TAIL_BYTES - log->tail_next);
    memcpy(log->tail + log->tail_next, data, first);
    memcpy(log->tail, data + first, size - first);
    log->tail_next = (log->tail_next + size) % LOGFILE_TAIL_BYTES;
}

/* The file may be longer than the limit: that was higher when an earlier run wrote it. */
static bool has_room(const LogFile *log, size_t size) {
    return log->times.size_bytes <= log->max_bytes && log->size_bytes <= log->max_bytes &&
           size <= log->max_bytes - log->size_bytes;
}

static void write_file(LogFile *log, const void *data, size_t size) {
    if (log->fd < 0)
        return;
    if (log->rotate && log->size_bytes > 0 && !has_room(log, size))
        rotate(log);
    if (!has_room(log, size))
        return note_dropping(log, "full");
    if (log->times_name) /* before the bytes: who sees them finds their time */
        log_times_note(&log->times, log->size_bytes, data, size, clock_realtime_usec());
    ssize_t written = write(log->fd, data, size);
    if (written < 0)
        return note_dropping(log, strerror(errno));
    log->size_bytes += (uint64_t)written;
    if ((size_t)written == size)
        log->dropping = false;
}

void logfile_write(LogFile *log, const void *data, size_t size) {
    keep_tail(log, data, size);
    log->total_bytes += size;
    write_file(log, data, size);
}

/* The start of the last `lines` lines of a text. */
static const char *last_lines(const char *text, unsigned lines) {
    const char *at = text + strlen(text);
    while (at > text && at[-1] == '\n')
        at--;
    for (; at > text; at--)
        if (at[-1] == '\n' && --lines == 0)
            break;
    return at;
}

char *logfile_tail(const LogFile *log, unsigned lines) {
    char straight[LOGFILE_TAIL_BYTES];
    size_t size = (size_t)MIN_OF(log->total_bytes, (uint64_t)LOGFILE_TAIL_BYTES);
    size_t start = (log->tail_next + LOGFILE_TAIL_BYTES - size) % LOGFILE_TAIL_BYTES;
    size_t used = 0;
    for (size_t i = 0; i < size; i++) {
        char c = log->tail[(start + i) % LOGFILE_TAIL_BYTES];
        if (c != '\r') /* consoles end lines with both */
            straight[used++] = c;
    }
    _cleanup_free_ char *clean = str_sanitize(straight, used);
    char *tail = str_copy(last_lines(clean, lines));
    while (str_has_suffix(tail, "\n"))
        tail[strlen(tail) - 1] = '\0';
    return tail;
}
