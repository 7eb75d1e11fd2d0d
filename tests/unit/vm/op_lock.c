/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>

#include "base/fd.h"
#include "home/op_lock.h"

#include "check.h"

static OpLocks *locks;
static int inside;
static int total;

static void *work(void *data) {
    for (int i = 0; i < 200; i++) {
        _cleanup_op_lock_ OpLock *lock = NULL;
        CHECK_INT(op_lock(locks, data, "busy", -1, &lock, NULL), 0);
        CHECK_INT(++inside, 1); /* a race, if the lock did not hold */
        total++;
        inside--;
    }
    return NULL;
}

static void test_exclusive(void) {
    pthread_t threads[6];
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        CHECK_INT(pthread_create(&threads[i], NULL, work, (void *)"a"), 0);
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        CHECK_INT(pthread_join(threads[i], NULL), 0);
    CHECK_INT(total, 6 * 200);
    CHECK(!op_lock_is_held_for(locks, "a", "being tested"));
}

static void test_cancel(void) {
    _cleanup_op_lock_ OpLock *held = NULL, *other = NULL;
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_close_ int cancel = eventfd(1, EFD_CLOEXEC);
    OpLock *waiting = NULL;
    CHECK_INT(op_lock(locks, "a", "being started", -1, &held, &error), 0);
    CHECK_INT(op_lock(locks, "b", "being started", -1, &other, &error), 0);
    CHECK_INT(op_lock(locks, "a", "being stopped", cancel, &waiting, &error), -ECANCELED);
    CHECK_INT(error.kind, ERROR_CANCELLED);
    CHECK(op_lock_is_held_for(locks, "a", "being started"));
}

static void test_abort(void) {
    _cleanup_op_lock_ OpLock *held = NULL;
    op_lock_abort(locks, "a"); /* nobody there */
    CHECK_INT(op_lock(locks, "a", "being started", -1, &held, NULL), 0);
    CHECK(!op_lock_aborted(held));
    op_lock_abort(locks, "a");
    CHECK(op_lock_aborted(held));
}

int main(void) {
    locks = op_locks_new();
    RUN(test_exclusive);
    RUN(test_cancel);
    RUN(test_abort);
    op_locks_free(locks);
    return 0;
}
