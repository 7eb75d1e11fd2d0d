/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

int result_fail(Result *result, int error, const char *format, ...) {
    va_list arguments;
    if (result->error != 0)
        return -error;
    result->error = error;
    va_start(arguments, format);
    int length = vsnprintf(result->text, sizeof(result->text), format, arguments);
    va_end(arguments);
    if (length >= 0 && (size_t)length < sizeof(result->text))
        (void)snprintf(result->text + length, sizeof(result->text) - (size_t)length, ": %s",
                       strerror(error));
    return -error;
}

int result_say(Result *result, int error, const char *format, ...) {
    va_list arguments;
    if (result->error != 0)
        return -error;
    result->error = error;
    va_start(arguments, format);
    (void)vsnprintf(result->text, sizeof(result->text), format, arguments);
    va_end(arguments);
    return -error;
}

void result_note(Result *result, const char *format, ...) {
    va_list arguments;
    if (result->note[0])
        return;
    va_start(arguments, format);
    (void)vsnprintf(result->note, sizeof(result->note), format, arguments);
    va_end(arguments);
}

void agent_log(const char *format, ...) {
    char line[600];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    (void)dprintf(STDERR_FILENO, "ramet-agent: %s\n", line);
}

static uint64_t read_clock(clockid_t clock) {
    struct timespec now;
    (void)clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

uint64_t now_usec(void) {
    return read_clock(CLOCK_BOOTTIME);
}

uint64_t realtime_usec(void) {
    return read_clock(CLOCK_REALTIME);
}

void copy_text(char *out, size_t room, const char *text) {
    size_t length = MIN_OF(strlen(text), room - 1);
    memcpy(out, text, length);
    out[length] = '\0';
}

void close_fd(int *fd) {
    int taken = TAKE_FD(*fd);
    if (taken >= 0)
        (void)close(taken);
}

/* High numbers first, so that none is overwritten that is still needed. */
void keep_fds(int *fds, size_t n) {
    for (size_t i = 0; i < n; i++)
        fds[i] = fds[i] < 0 ? -1 : fcntl(fds[i], F_DUPFD_CLOEXEC, 10);
    for (size_t i = 0; i < n; i++)
        fds[i] = fds[i] < 0 ? -1 : dup3(fds[i], 3 + (int)i, O_CLOEXEC);
    if (syscall(SYS_close_range, 3 + (unsigned)n, ~0u, 0) < 0)
        for (int fd = 3 + (int)n; fd < 4096; fd++) /* before Linux 5.9 */
            (void)close(fd);
}

int map_run_file(const char *path, mode_t mode, size_t size, void **map, int *fd) {
    int r = make_folders(RUN_FOLDER, 0755);
    if (r < 0)
        return r;
    _cleanup_close_ int opened = open(path, O_RDWR | O_CREAT | O_CLOEXEC, mode);
    if (opened < 0 || ftruncate(opened, (off_t)size) < 0)
        return -errno;
    void *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, opened, 0);
    if (page == MAP_FAILED)
        return -errno;
    *map = page;
    if (fd)
        *fd = TAKE_FD(opened);
    return 0;
}

int set_nonblocking(int fd) {
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return -errno;
    return 0;
}

int write_all(int fd, const void *data, size_t size) {
    const char *bytes = data;
    while (size > 0) {
        ssize_t n = write(fd, bytes, size);
        if (n < 0 && errno == EAGAIN) {
            (void)poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, -1);
            continue;
        }
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        bytes += n;
        size -= (size_t)n;
    }
    return 0;
}

ssize_t read_text(const char *path, char *text, size_t room) {
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t size = 0;
    if (fd < 0)
        return -errno;
    while (size < room - 1) {
        ssize_t n = read(fd, text + size, room - 1 - size);
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        size += (size_t)n;
    }
    if (size > 0 && text[size - 1] == '\n')
        size--;
    text[size] = '\0';
    return (ssize_t)size;
}

int write_text(const char *path, const char *text, mode_t mode) {
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, mode);
    size_t size = strlen(text);
    if (fd < 0)
        return -errno;
    int r = write_all(fd, text, size);

    /* Kernel files refuse to be cut; nothing is left over in them. */
    if (r == 0 && ftruncate(fd, (off_t)size) < 0 && errno != EINVAL)
        r = -errno;
    return r;
}

int make_folders(const char *path, mode_t mode) {
    char part[4096];
    size_t length = strlen(path);
    if (length >= sizeof(part))
        return -ENAMETOOLONG;
    /* mkdir asks for the right to write even when there is nothing to do, which on a frozen file
     * system waits for the thaw. */
    if (access(path, F_OK) == 0)
        return 0;
    memcpy(part, path, length + 1);
    for (char *slash = strchr(part + 1, '/');; slash = strchr(slash + 1, '/')) {
        if (slash)
            *slash = '\0';
        if (mkdir(part, mode) < 0 && errno != EEXIST)
            return -errno;
        if (!slash)
            return 0;
        *slash = '/';
    }
}

int cmdline_value(const char *key, char *value, size_t room) {
    char line[4096];
    ssize_t size = read_text("/proc/cmdline", line, sizeof(line));
    char *rest = line;
    if (size < 0)
        return (int)size;
    for (char *word; (word = strsep(&rest, " "));) {
        if (strncmp(word, key, strlen(key)) != 0)
            continue;
        word += strlen(key);
        if (strlen(word) >= room)
            return -E2BIG;
        strcpy(value, word);
        return 0;
    }
    return -ENOENT;
}
