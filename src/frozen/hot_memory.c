/* SPDX-License-Identifier: Apache-2.0 */

/* Memory that clones map, in memfds that are sealed against writing.
 *
 * One is made when a snapshot is taken, from the very copy that is written to its file; but not
 * when nobody is likely to fork it soon (standby) or when others would have to go for it. Else it
 * is made at first use (restore_memory.c), by one thread while others wait. There is a budget; what
 * was used least recently goes first (clones that map it keep it alive for themselves).
 *
 * When the daemon ends the memfds live on in the service manager's descriptor store (hot_store.h),
 * where there is one. The next daemon gets them from the store at its start. What is nowhere any
 * more is made again.
 *
 * The list is guarded by hot_mutex. What leaves it goes to a list of its caller's, who unlocks the
 * mutex before that is let go, since the service manager is told then. */

#include "frozen/hot_memory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "base/str.h"
#include "base/tree_digest.h"
#include "frozen/hot_store.h"
#include "frozen/packed.h"
#include "frozen/snapshot_files.h"
#include "frozen/stamp.h"
#include "home/home.h"
#include "home/host.h"
#include "home/inside.h"
#include "memory/seal.h"
#include "qemu/features.h"
#include "store/snapshots.h"
#include "store/vms.h"

static HotMemory *find(Home *home, const char *id) {
    for (HotMemory *hot = home->hot; hot; hot = hot->next)
        if (str_equal(hot->id, id))
            return hot;
    return NULL;
}

static HotMemory *add(Home *home, const char *id, int fd) {
    HotMemory *hot = calloc(1, sizeof(*hot));
    if (!hot)
        abort();
    *hot = (HotMemory){.fd = fd, .used_usec = clock_monotonic_usec(), .next = home->hot};
    (void)snprintf(hot->id, sizeof(hot->id), "%s", id);
    return home->hot = hot;
}

static void unlink_hot(Home *home, HotMemory *hot, HotMemory **unlinked) {
    HotMemory **link = &home->hot;
    while (*link != hot)
        link = &(*link)->next;
    *link = hot->next;
    hot->next = *unlinked;
    *unlinked = hot;
}

/* Without the mutex. */
static void free_list(HotMemory *list) {
    while (list) {
        HotMemory *hot = list;
        list = hot->next;
        (void)fd_close(hot->fd);
        free(hot);
    }
}

/* Without the mutex. */
static void discard(HotMemory *unlinked) {
    for (const HotMemory *hot = unlinked; hot; hot = hot->next)
        if (hot->fd >= 0)
            hot_store_remove(hot->id);
    free_list(unlinked);
}

int hot_memory_new(const char *id, uint64_t bytes, Error *error) {
    _cleanup_free_ char *name = str_format(HOT_STORE_PREFIX "%s", id);
    _cleanup_close_ int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0)
        return error_set_errno(error, errno, "cannot make a memfd of %llu MiB",
                               (unsigned long long)(bytes / MIB));
    return TAKE_FD(fd);
}

/* ---- the budget ---- */

static uint64_t allocated(int fd) {
    struct stat info;
    return fstat(fd, &info) < 0 ? 0 : (uint64_t)info.st_blocks * 512;
}

static HotMemory *least_recent(Home *home) {
    HotMemory *oldest = NULL;
    for (HotMemory *hot = home->hot; hot; hot = hot->next)
        if (!hot->filling && !hot->only && (!oldest || hot->used_usec < oldest->used_usec))
            oldest = hot;
    return oldest;
}

static uint64_t sum_bytes(Home *home) {
    uint64_t sum = 0;
    for (HotMemory *hot = home->hot; hot; hot = hot->next)
        sum += hot->filling ? 0 : hot->bytes;
    return sum;
}

/* Unlinks what was used least recently. */
static bool make_room(Home *home, uint64_t wanted, HotMemory **unlinked) {
    for (;;) {
        uint64_t sum = sum_bytes(home);
        HotMemory *oldest = least_recent(home);
        if (sum + wanted <= home->hot_budget_bytes || !oldest)
            return sum + wanted <= home->hot_budget_bytes;
        unlink_hot(home, oldest, unlinked);
    }
}

static int check_room(Home *home, uint64_t wanted, HotMemory **unlinked, Error *error) {
    if (make_room(home, wanted, unlinked))
        return 0;
    error_set(error, ERROR_NO_MEMORY, ENOMEM,
              "the snapshot's memory (%llu MiB) is more than the budget for hot memory (%llu MiB)",
              (unsigned long long)(wanted / MIB),
              (unsigned long long)(home->hot_budget_bytes / MIB));
    error_set_hint(error, "raise RAMET_HOT_MEMORY");
    return -ENOMEM;
}

/* ---- from the copy that a snapshot takes ---- */

bool hot_memory_has_room(Home *home, uint64_t wanted, bool certain) {
    (void)pthread_mutex_lock(&home->hot_mutex);
    bool room = sum_bytes(home) + wanted <= home->hot_budget_bytes / (certain ? 1 : 2);
    (void)pthread_mutex_unlock(&home->hot_mutex);
    return room;
}

bool hot_memory_keep(Home *home, const char *id, int memfd, bool certain, bool only) {
    uint64_t bytes = allocated(memfd);
    int fd;
    if (memory_seal(memfd) < 0 ||
        !hot_memory_has_room(home, bytes, certain)) /* others may have come meanwhile */
        return false;
    fd = fcntl(memfd, F_DUPFD_CLOEXEC, 3);
    if (fd < 0)
        return false;
    hot_store_put(id, fd);
    (void)pthread_mutex_lock(&home->hot_mutex);
    HotMemory *hot = add(home, id, fd);
    hot->bytes = bytes;
    hot->only = only;
    (void)pthread_mutex_unlock(&home->hot_mutex);
    return true;
}

void hot_memory_written(Home *home, const char *id) {
    (void)pthread_mutex_lock(&home->hot_mutex);
    HotMemory *hot = find(home, id);
    if (hot)
        hot->only = false;
    (void)pthread_mutex_unlock(&home->hot_mutex);
}

/* ---- getting it ---- */

/* With the mutex held; gives it up while the memory is made. */
static int make_hot(Home *home, const HotMemoryMaker *maker, HotMemory **made, HotMemory **unlinked,
                    Error *error) {
    int r = check_room(home, maker->bytes, unlinked, error);
    if (r < 0)
        return r;
    HotMemory *hot = add(home, maker->id, -1);
    hot->filling = true;
    (void)pthread_mutex_unlock(&home->hot_mutex);
    int fd = maker->make(maker->data, error);
    if (fd >= 0)
        hot_store_put(hot->id, fd);
    (void)pthread_mutex_lock(&home->hot_mutex);
    hot->filling = false;
    (void)pthread_cond_broadcast(&home->hot_filled);
    if (fd < 0) {
        unlink_hot(home, hot, unlinked);
        return fd;
    }
    hot->fd = fd;
    hot->bytes = allocated(fd);
    hot->only = maker->only;
    *made = hot;
    return 0;
}

static int duplicate(HotMemory *hot, int *fd, Error *error) {
    hot->used_usec = clock_monotonic_usec();
    *fd = fcntl(hot->fd, F_DUPFD_CLOEXEC, 3);
    return *fd < 0 ? error_set_errno(error, errno, "cannot duplicate a descriptor") : 0;
}

int hot_memory_get(Home *home, const HotMemoryMaker *maker, int *fd, Error *error) {
    HotMemory *hot, *unlinked = NULL;
    int r = 0;
    (void)pthread_mutex_lock(&home->hot_mutex);
    while ((hot = find(home, maker->id)) && hot->filling)
        (void)pthread_cond_wait(&home->hot_filled, &home->hot_mutex);
    if (!hot)
        r = make_hot(home, maker, &hot, &unlinked, error);
    if (r >= 0)
        r = duplicate(hot, fd, error);
    (void)pthread_mutex_unlock(&home->hot_mutex);
    discard(unlinked);
    return r;
}

int hot_memory_find(Home *home, const char *id) {
    int fd = -1;
    (void)pthread_mutex_lock(&home->hot_mutex);
    HotMemory *hot = find(home, id);
    if (hot && !hot->filling)
        (void)duplicate(hot, &fd, NULL);
    (void)pthread_mutex_unlock(&home->hot_mutex);
    return fd;
}

uint64_t hot_memory_inode(Home *home, const char *id) {
    _cleanup_close_ int fd = hot_memory_find(home, id);
    struct stat info;
    return fd >= 0 && fstat(fd, &info) == 0 ? (uint64_t)info.st_ino : 0;
}

static HotMemoryInfo describe(const HotMemory *hot) {
    HotMemoryInfo info = {.bytes = hot->bytes,
                          .used_usec = hot->used_usec,
                          .filling = hot->filling,
                          .only = hot->only};
    struct stat status;
    str_set(info.id, hot->id);
    if (hot->fd >= 0 && fstat(hot->fd, &status) == 0)
        info.inode = status.st_ino;
    return info;
}

void hot_memory_list(Home *home, HotMemoryInfo **list, size_t *count) {
    size_t n = 0;
    (void)pthread_mutex_lock(&home->hot_mutex);
    for (const HotMemory *hot = home->hot; hot; hot = hot->next)
        n++;
    *list = calloc(n + 1, sizeof(**list));
    if (!*list)
        abort();
    *count = 0;
    for (const HotMemory *hot = home->hot; hot; hot = hot->next)
        (*list)[(*count)++] = describe(hot);
    (void)pthread_mutex_unlock(&home->hot_mutex);
}

void hot_memory_drop(Home *home, const char *base_id) {
    HotMemory *hot, *unlinked = NULL;
    (void)pthread_mutex_lock(&home->hot_mutex);
    hot = find(home, base_id);
    if (hot && !hot->filling)
        unlink_hot(home, hot, &unlinked);
    (void)pthread_mutex_unlock(&home->hot_mutex);
    discard(unlinked);
}

static void release(Home *home) {
    free_list(home->hot);
    home->hot = NULL;
}

/* ---- taking it back from the service manager ---- */

static bool is_wanted(Home *home, const char *id, int fd, bool *only) {
    _cleanup_snapshot_row_ SnapshotRow row = {0};
    struct stat info;
    if (snapshots_get(home->store, id, &row, NULL) < 0 || row.state != SNAPSHOT_READY)
        return false;
    *only = row.data.unwritten;
    return memory_is_sealed(fd) && fstat(fd, &info) == 0 &&
           (uint64_t)info.st_size == row.data.memory_bytes;
}

/* The store's content is trusted, unlike that of a clone's process: only the daemon can put
 * something there, and what it puts was hashed before it was sealed. So only seal and size are
 * looked at; the snapshot's file is compared with its stamp at each use anyway. */
void hot_memory_adopt(Home *home, const char *name, int memfd) {
    _cleanup_close_ int fd = memfd;
    const char *id = name + strlen(HOT_STORE_PREFIX);
    HotMemory *unlinked = NULL;
    bool only;
    if (!is_wanted(home, id, fd, &only)) {
        hot_store_remove(id);
        return;
    }
    (void)pthread_mutex_lock(&home->hot_mutex);
    if (!find(home, id)) {
        uint64_t bytes = allocated(fd);
        HotMemory *hot = add(home, id, TAKE_FD(fd));
        hot->bytes = bytes;
        hot->only = only;
    }
    (void)make_room(home, 0, &unlinked); /* the budget may be another now */
    (void)pthread_mutex_unlock(&home->hot_mutex);
    discard(unlinked);
}

void hot_memory_start(Home *home) {
    home_add_part(home, NULL, release);
}
