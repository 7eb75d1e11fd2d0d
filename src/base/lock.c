/* SPDX-License-Identifier: Apache-2.0 */
#include "base/lock.h"

/* How waiting works: flock(2) either blocks without a bound or does not block at all, and tells no
 * descriptor when a lock becomes free. So only when the lock is held, a thread makes the blocking
 * call, and the caller polls for the thread's eventfd, the cancel descriptor and the deadline at
 * once. When the caller gives up it cancels the thread, which is asynchronously cancellable in
 * that one system call and nowhere else. The lock's descriptor stays the caller's all along:
 * closing it after the join undoes a lock that the thread got in the last moment. */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"

typedef struct Waiter {
    int lock_fd;  /* borrowed */
    int event_fd; /* borrowed */
    int result;   /* valid once event_fd is readable */
} Waiter;

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

static void *waiter_main(void *data) {
    Waiter *waiter = data;
    (void)pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    int r = flock_retry(waiter->lock_fd, LOCK_EX);
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    waiter->result = r;
    (void)eventfd_write(waiter->event_fd, 1);
    return NULL;
}

/* The thread runs with all signals blocked: those belong to the program's own threads. */
static int start_waiter(Waiter *waiter, pthread_t *thread) {
    sigset_t all, old;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    int r = pthread_create(thread, NULL, waiter_main, waiter);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    return -r;
}

/* 0 when the thread is done, -ECANCELED or -ETIMEDOUT. */
static int poll_waiter(int event_fd, int cancel_fd, uint64_t deadline_usec) {
    struct pollfd items[] = {{.fd = event_fd, .events = POLLIN},
                             {.fd = cancel_fd, .events = POLLIN | POLLRDHUP}};
    for (;;) {
        int n = poll(items, ARRAY_SIZE(items), clock_poll_timeout(deadline_usec));
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0)
            return items[0].revents ? 0 : -ECANCELED;
        if (n == 0 && clock_poll_timeout(deadline_usec) == 0)
            return -ETIMEDOUT;
    }
}

static int wait_for_lock(int fd, uint64_t deadline_usec, int cancel_fd) {
    _cleanup_close_ int event_fd = eventfd(0, EFD_CLOEXEC);
    if (event_fd < 0)
        return -errno;
    Waiter waiter = {.lock_fd = fd, .event_fd = event_fd};
    pthread_t thread;
    int r = start_waiter(&waiter, &thread);
    if (r < 0)
        return r;
    r = poll_waiter(event_fd, cancel_fd, deadline_usec);
    if (r < 0)
        (void)pthread_cancel(thread);
    (void)pthread_join(thread, NULL);
    return r < 0 ? r : waiter.result;
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
