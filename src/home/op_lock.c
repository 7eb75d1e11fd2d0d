/* SPDX-License-Identifier: Apache-2.0 */

/* One operation at a time for each VM, and for what else has a name of its own for it.
 *
 * A VM that somebody works on has an Entry: its holder and, in order of arrival, those who wait.
 * Each of them is an OpLock with an eventfd: for a waiter it becomes readable when the lock is its
 * own; for a holder, when it is asked to give up. So a wait is one poll(2) over that and the
 * client's socket. The lock is handed on by the one who lets go, so no newcomer can slip in
 * between. */

#include "home/op_lock.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"

typedef struct Entry Entry;

struct OpLock {
    OpLocks *locks;   /* borrowed */
    Entry *entry;     /* borrowed */
    const char *what; /* borrowed, static */
    int turn_fd;      /* owned */
    int abort_fd;     /* owned */
    OpLock *next;
};

struct Entry {
    char id[NAME_SIZE];
    OpLock *first; /* the holder, then the waiters */
    Entry *next;
};

struct OpLocks {
    pthread_mutex_t mutex;
    Entry *entries;
};

OpLocks *op_locks_new(void) {
    OpLocks *locks = calloc(1, sizeof(*locks));
    if (!locks)
        abort();
    (void)pthread_mutex_init(&locks->mutex, NULL);
    return locks;
}

void op_locks_free(OpLocks *locks) {
    if (!locks)
        return;
    (void)pthread_mutex_destroy(&locks->mutex);
    free(locks);
}

static Entry *find_entry(OpLocks *locks, const char *id) {
    for (Entry *entry = locks->entries; entry; entry = entry->next)
        if (str_equal(entry->id, id))
            return entry;
    return NULL;
}

static Entry *find_or_add_entry(OpLocks *locks, const char *id) {
    Entry *entry = find_entry(locks, id);
    if (entry)
        return entry;
    entry = calloc(1, sizeof(*entry));
    if (!entry)
        abort();
    (void)snprintf(entry->id, sizeof(entry->id), "%s", id);
    entry->next = locks->entries;
    locks->entries = entry;
    return entry;
}

static void drop_entry(OpLocks *locks, Entry *entry) {
    Entry **link = &locks->entries;
    while (*link != entry)
        link = &(*link)->next;
    *link = entry->next;
    free(entry);
}

static OpLock *lock_new(OpLocks *locks, const char *what, Error *error) {
    OpLock *lock = calloc(1, sizeof(*lock));
    if (!lock)
        abort();
    *lock = (OpLock){.locks = locks, .what = what};
    lock->turn_fd = eventfd(0, EFD_CLOEXEC);
    lock->abort_fd = eventfd(0, EFD_CLOEXEC);
    if (lock->turn_fd >= 0 && lock->abort_fd >= 0)
        return lock;
    (void)error_set_errno(error, errno, "cannot make an eventfd");
    (void)fd_close(lock->turn_fd);
    (void)fd_close(lock->abort_fd);
    free(lock);
    return NULL;
}

/* Joins the queue; true: it is ours at once. */
static bool enqueue(OpLocks *locks, const char *id, OpLock *lock) {
    Entry *entry = find_or_add_entry(locks, id);
    OpLock **link = &entry->first;
    while (*link)
        link = &(*link)->next;
    *link = lock;
    lock->entry = entry;
    return entry->first == lock;
}

/* Leaves the queue and hands the lock on when it was the holder. */
static void leave(OpLock *lock) {
    Entry *entry = lock->entry;
    OpLock **link = &entry->first;
    bool held = entry->first == lock;
    while (*link != lock)
        link = &(*link)->next;
    *link = lock->next;
    if (!entry->first)
        drop_entry(lock->locks, entry);
    else if (held)
        (void)eventfd_write(entry->first->turn_fd, 1);
}

/* Waits for our turn. 0, or why not. */
static int wait_turn(OpLock *lock, int cancel_fd, Error *error) {
    uint64_t deadline = clock_monotonic_usec() + OP_LOCK_WAIT_USEC;
    struct pollfd fds[2] = {{.fd = lock->turn_fd, .events = POLLIN},
                            {.fd = cancel_fd, .events = POLLIN}};
    for (;;) {
        int n = poll(fds, 2, clock_poll_timeout(deadline));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set_errno(error, errno, "cannot wait for a VM's lock");
        if (fds[0].revents)
            return 0;
        if (n > 0)
            return error_set(error, ERROR_CANCELLED, ECANCELED, "the client went away");
        return error_set(error, ERROR_CONFLICT, EBUSY,
                         "another operation did not end within %llu s",
                         (unsigned long long)(OP_LOCK_WAIT_USEC / USEC_PER_SEC));
    }
}

int op_lock(OpLocks *locks, const char *id, const char *what, int cancel_fd, OpLock **lock,
            Error *error) {
    _cleanup_op_lock_ OpLock *mine = lock_new(locks, what, error);
    const char *holder = what;
    bool held;
    int r;
    if (!mine)
        return -EMFILE;
    (void)pthread_mutex_lock(&locks->mutex);
    held = enqueue(locks, id, mine);
    if (!held)
        holder = mine->entry->first->what;
    (void)pthread_mutex_unlock(&locks->mutex);
    if (!held) {
        r = wait_turn(mine, cancel_fd, error);
        if (r < 0)
            return r == -EBUSY ? error_add_context(error, "it is %s", holder) : r;
        /* poll(2) says that it is ours; the mutex, that we see what was done before. */
        (void)pthread_mutex_lock(&locks->mutex);
        (void)pthread_mutex_unlock(&locks->mutex);
    }
    *lock = TAKE_PTR(mine);
    return 0;
}

OpLock *op_unlock(OpLock *lock) {
    OpLocks *locks;
    if (!lock)
        return NULL;
    locks = lock->locks;
    (void)pthread_mutex_lock(&locks->mutex);
    leave(lock);
    (void)pthread_mutex_unlock(&locks->mutex);
    (void)fd_close(lock->turn_fd);
    (void)fd_close(lock->abort_fd);
    free(lock);
    return NULL;
}

int op_lock_abort_fd(const OpLock *lock) {
    return lock->abort_fd;
}

bool op_lock_aborted(const OpLock *lock) {
    struct pollfd poll_fd = {.fd = lock->abort_fd, .events = POLLIN};
    return poll(&poll_fd, 1, 0) > 0;
}

void op_lock_abort(OpLocks *locks, const char *id) {
    Entry *entry;
    (void)pthread_mutex_lock(&locks->mutex);
    entry = find_entry(locks, id);
    if (entry && entry->first)
        (void)eventfd_write(entry->first->abort_fd, 1);
    (void)pthread_mutex_unlock(&locks->mutex);
}

bool op_lock_is_held_for(OpLocks *locks, const char *id, const char *what) {
    const Entry *entry;
    bool held;
    (void)pthread_mutex_lock(&locks->mutex);
    entry = find_entry(locks, id);
    held = entry && str_equal(entry->first->what, what);
    (void)pthread_mutex_unlock(&locks->mutex);
    return held;
}
