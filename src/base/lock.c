/* SPDX-License-Identifier: Apache-2.0 */
#include "base/lock.h"

/* How waiting works: flock(2) either blocks without a bound or does not block at all, and tells no
 * descriptor when a lock becomes free. So the lock is tried again and again, at first after a
 * millisecond and then more seldom, and in between the cancel descriptor is waited for. What is
 * locked here takes milliseconds to minutes, so up to LOOK_MAX_USEC more are not felt. (A thread
 * that blocks in flock would have to be cancelled in the middle of it, and nothing that it runs may
 * take a lock of its own there, which a sanitizer's runtime does.) */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"

#define LOOK_MIN_USEC 1000u
#define LOOK_MAX_USEC 20000u

static int open_lock(const char *folder, const char *key) {
    if (*key == '\0' || strchr(key, '/'))
        return -EINVAL;
    _cleanup_free_ char *path = str_format("%s/%s.lock", folder, key);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
    return fd < 0 ? -errno : fd;
}

static int flock_retry(int fd, int operation) {
    while (flock(fd, operation) < 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

/* 0 when the time is over, or -ECANCELED. */
static int wait_until(uint64_t when_usec, int cancel_fd) {
    struct pollfd item = {.fd = cancel_fd, .events = POLLIN | POLLRDHUP};
    for (;;) {
        int n = poll(&item, 1, clock_poll_timeout(when_usec));
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0)
            return -ECANCELED;
        if (n == 0 && clock_poll_timeout(when_usec) == 0)
            return 0;
    }
}

static int wait_for_lock(int fd, uint64_t deadline_usec, int cancel_fd) {
    uint64_t pause = LOOK_MIN_USEC;
    int r = -EWOULDBLOCK;
    while (r == -EWOULDBLOCK) {
        uint64_t now = clock_monotonic_usec();
        if (now >= deadline_usec)
            return -ETIMEDOUT;
        r = wait_until(MIN_OF(now + pause, deadline_usec), cancel_fd);
        if (r == 0)
            r = flock_retry(fd, LOCK_EX | LOCK_NB);
        pause = MIN_OF(pause * 2, (uint64_t)LOOK_MAX_USEC);
    }
    return r;
}

static int lock_error(int r, const char *key, Error *error) {
    if (r == -ETIMEDOUT)
        return error_set(error, ERROR_TIMEOUT, ETIMEDOUT, "another operation still holds %s", key);
    if (r == -ECANCELED)
        return error_set(error, ERROR_CANCELLED, ECANCELED, "stopped while waiting for %s", key);
    if (r == -EINVAL)
        return error_set(error, ERROR_USAGE, EINVAL, "'%s' is no name for a lock", key);
    return error_set_errno(error, -r, "cannot lock %s", key);
}

int lock_acquire(const char *folder, const char *key, uint64_t deadline_usec, int cancel_fd,
                 int *fd, Error *error) {
    _cleanup_close_ int lock_fd = open_lock(folder, key);
    if (lock_fd < 0)
        return lock_error(lock_fd, key, error);
    int r = flock_retry(lock_fd, LOCK_EX | LOCK_NB);
    if (r == -EWOULDBLOCK)
        r = wait_for_lock(lock_fd, deadline_usec, cancel_fd);
    if (r < 0)
        return lock_error(r, key, error);
    *fd = TAKE_FD(lock_fd);
    return 0;
}

int lock_try(const char *folder, const char *key, int *fd) {
    _cleanup_close_ int lock_fd = open_lock(folder, key);
    if (lock_fd < 0)
        return lock_fd;
    int r = flock_retry(lock_fd, LOCK_EX | LOCK_NB);
    if (r < 0)
        return r;
    *fd = TAKE_FD(lock_fd);
    return 0;
}
