/* SPDX-License-Identifier: Apache-2.0 */
#include "base/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "scratch.h"

static void held_lock_is_refused(void) {
    _cleanup_scratch_ char *folder = scratch_new();
    _cleanup_free_ char *path = path_join(folder, "web1.lock");
    int first = -1, second = -1;
    CHECK_INT(lock_try(folder, "web1", &first), 0);
    CHECK_INT(fcntl(first, F_GETFD), FD_CLOEXEC);
    struct stat info;
    CHECK_INT(stat(path, &info), 0);
    CHECK_INT(info.st_mode & 0777, 0600);
    CHECK_INT(lock_try(folder, "web1", &second), -EWOULDBLOCK);
    CHECK_INT(second, -1);
    CHECK_INT(lock_try(folder, "web2", &second), 0);
    fd_close(second);
    fd_close(first);
    CHECK_INT(lock_acquire(folder, "web1", 0, -1, &first, NULL), 0);
    fd_close(first);
}

static void bad_keys_are_refused(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    int fd = -1;
    CHECK_INT(lock_try("/tmp", "../x", &fd), -EINVAL);
    CHECK_INT(lock_try("/tmp", "", &fd), -EINVAL);
    CHECK_INT(lock_acquire("/tmp", "a/b", 0, -1, &fd, &error), -EINVAL);
    CHECK_INT(error.kind, ERROR_USAGE);
    CHECK_INT(lock_acquire("/nonexistent", "x", 0, -1, &fd, &error), -ENOENT);
    CHECK_INT(fd, -1);
}

static void deadline_ends_the_wait(void) {
    _cleanup_scratch_ char *folder = scratch_new();
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_close_ int held = -1;
    int fd = -1;
    CHECK_INT(lock_try(folder, "x", &held), 0);
    CHECK_INT(lock_acquire(folder, "x", 0, -1, &fd, &error), -ETIMEDOUT);
    CHECK_INT(error.kind, ERROR_TIMEOUT);
    uint64_t deadline = clock_monotonic_usec() + 20 * USEC_PER_MSEC;
    CHECK_INT(lock_acquire(folder, "x", deadline, -1, &fd, &error), -ETIMEDOUT);
    CHECK(clock_monotonic_usec() >= deadline);
    CHECK_INT(fd, -1);
}

static void cancel_ends_the_wait(void) {
    _cleanup_scratch_ char *folder = scratch_new();
    _cleanup_error_ Error error = ERROR_INIT;
    int held = -1, fd = -1, pair[2];
    CHECK_INT(lock_try(folder, "x", &held), 0);
    _cleanup_close_ int event = eventfd(1, EFD_CLOEXEC);
    CHECK_INT(lock_acquire(folder, "x", UINT64_MAX, event, &fd, &error), -ECANCELED);
    CHECK_INT(error.kind, ERROR_CANCELLED);
    CHECK_INT(fd_socketpair(SOCK_STREAM, pair), 0);
    fd_close(pair[1]);
    CHECK_INT(lock_acquire(folder, "x", UINT64_MAX, pair[0], &fd, NULL), -ECANCELED);
    fd_close(pair[0]);
    fd_close(held);
    CHECK_INT(lock_try(folder, "x", &fd), 0); /* the ended waits left nothing behind */
    fd_close(fd);
}

typedef struct Shared {
    const char *folder;
    int inside;
    int total;
} Shared;

static void *take_often(void *data) {
    Shared *shared = data;
    for (int i = 0; i < 50; i++) {
        int fd = -1;
        CHECK_INT(lock_acquire(shared->folder, "x", UINT64_MAX, -1, &fd, NULL), 0);
        CHECK_INT(__atomic_add_fetch(&shared->inside, 1, __ATOMIC_SEQ_CST), 1);
        __atomic_add_fetch(&shared->total, 1, __ATOMIC_SEQ_CST);
        __atomic_sub_fetch(&shared->inside, 1, __ATOMIC_SEQ_CST);
        fd_close(fd);
    }
    return NULL;
}

static void threads_exclude_each_other(void) {
    _cleanup_scratch_ char *folder = scratch_new();
    Shared shared = {.folder = folder};
    pthread_t threads[4];
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        CHECK_INT(pthread_create(&threads[i], NULL, take_often, &shared), 0);
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        pthread_join(threads[i], NULL);
    CHECK_INT(shared.total, 200);
}

int main(void) {
    RUN(held_lock_is_refused);
    RUN(bad_keys_are_refused);
    RUN(deadline_ends_the_wait);
    RUN(cancel_ends_the_wait);
    RUN(threads_exclude_each_other);
    return 0;
}
