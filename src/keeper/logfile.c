/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/logfile.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"

/* O_NOFOLLOW and O_NONBLOCK: the folder may belong to the VM's user, who could put a link or a pipe
 * there while this program is still root. */
static int open_file(const LogFile *log, int flags) {
    int fd =
        openat(log->dir_fd, log->name,
               O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | flags, 0600);
    return fd < 0 ? -errno : fd;
}

static int take_file(LogFile *log, int fd, uid_t uid, gid_t gid) {
    struct stat info;
    if (fstat(fd, &info) < 0)
        return -errno;
    if (!S_ISREG(info.st_mode) || info.st_nlink != 1)
        return -EINVAL;
    if (uid != 0 && geteuid() == 0 && fchown(fd, uid, gid) < 0)
        return -errno;
    log->size_bytes = (uint64_t)info.st_size;
    return 0;
}

int logfile_open(LogFile *log, int dir_fd, const char *name, bool rotate, uint64_t max_bytes,
                 uid_t uid, gid_t gid, Error *error) {
    LogFile opened = {
        .dir_fd = dir_fd, .name = name, .rotate = rotate, .max_bytes = max_bytes, .fd = -1};
    _cleanup_close_ int fd = open_file(&opened, 0);
    int r = fd < 0 ? fd : take_file(&opened, fd, uid, gid);
    if (r < 0)
        return error_set_errno(error, -r, "cannot open %s", name);
    opened.fd = TAKE_FD(fd);
    *log = opened;
    return 0;
}

void logfile_close(LogFile *log) {
    log->fd = fd_close(log->fd);
}

static void note_dropping(LogFile *log, const char *why) {
    if (!log->dropping)
        log_warning("%s: %s; dropping what comes", log->name, why);
    log->dropping = true;
}

static void rotate(LogFile *log) {
    _cleanup_free_ char *older = str_format("%s.1", log->name);
    if (renameat(log->dir_fd, log->name, log->dir_fd, older) < 0)
        return note_dropping(log, strerror(errno));
    int fd = open_file(log, O_TRUNC);
    if (fd < 0)
        return note_dropping(log, strerror(-fd));
    fd_close(log->fd);
    log->fd = fd;
    log->size_bytes = 0;
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

static void write_file(LogFile *log, const void *data, size_t size) {
    if (log->fd < 0)
        return;
    if (log->rotate && log->size_bytes > 0 && size > log->max_bytes - log->size_bytes)
        rotate(log);
    if (log->size_bytes >= log->max_bytes || size > log->max_bytes - log->size_bytes)
        return note_dropping(log, "full");
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
