/* SPDX-License-Identifier: Apache-2.0 */

#include "lab/lab_lock.h"

#include "base/path.h"
#include "base/str.h"
#include "home/inside.h"

/* VMs' locks are known by ids, which have no slash. */
static void make_id(const char *name, char id[NAME_SIZE]) {
    (void)snprintf(id, NAME_SIZE, "lab/%.63s", name);
}

int lab_lock(Home *home, const char *name, const char *what, int cancel_fd, OpLock **lock,
             Error *error) {
    char id[NAME_SIZE];
    make_id(name, id);
    return op_lock(home->locks, id, what, cancel_fd, lock, error);
}

void lab_lock_abort(Home *home, const char *name) {
    char id[NAME_SIZE];
    make_id(name, id);
    op_lock_abort(home->locks, id);
}
