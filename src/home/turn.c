/* SPDX-License-Identifier: Apache-2.0 */
#include "home/turn.h"

#include "base/lock.h"
#include "base/path.h"
#include "base/str.h"
#include "home/inside.h"

int home_wait_for_turn(const Home *home, const char *what, const char *key, int cancel_fd,
                       int *lock_fd, Error *error) {
    _cleanup_free_ char *folder = path_join(home->path, "locks");
    _cleanup_free_ char *name = str_format("%s-%s", what, key);
    return lock_acquire(folder, name, UINT64_MAX, cancel_fd, lock_fd, error);
}
