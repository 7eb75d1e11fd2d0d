/* SPDX-License-Identifier: Apache-2.0 */

/* A fork of a running VM needs no file: its clones map the copy that was taken. The file is written
 * behind, so that the snapshot outlives the daemon. Many such forks are for a moment only, so this
 * waits for some seconds; a snapshot that nobody needs any more is gone by then, and was never
 * written.
 *
 * One that a crash of the daemon left unwritten is written by the next one, which gets the memory
 * from the service manager or from a clone. Where neither has it, it is lost: the clones that ran
 * go on, and nothing else stands on it, since diffs stand on what files have
 * (machine/snapshot/snapshot_create.c). */

#include "frozen/behind.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "frozen/hot_memory.h"
#include "frozen/memory_digest.h"
#include "frozen/restore_memory.h"
#include "frozen/snapshot_files.h"
#include "frozen/stamp.h"
#include "home/home.h"
#include "home/inside.h"
#include "memory/copy.h"
#include "store/snapshots.h"

#define NICE_BEHIND 10
#define GRACE_USEC (10 * USEC_PER_SEC)

/* ---- writing ---- */

/* It is not read before the row says that it is written. What fails is tried again when the next
 * snapshot is taken, and when the home is closed. */
static int write_file(int memfd, const char *path, uint64_t bytes, FileStamp *stamp, Error *error) {
    _cleanup_close_ int fd = -1;
    int r;
    if (chmod(path, 0600) < 0)
        return error_set_errno(error, errno, "cannot write to %s", path);
    fd = open(path, O_RDWR | O_TRUNC | O_CLOEXEC | O_NOFOLLOW);
    r = fd < 0 ? -errno : memory_write_file(memfd, fd, bytes);
    if (r >= 0 && (fchmod(fd, 0444) < 0 || fsync(fd) < 0))
        r = -errno;
    if (r < 0 && fd >= 0)
        (void)!ftruncate(fd, 0); /* a full disk has room again */
    return r < 0 ? error_set_errno(error, -r, "cannot write %s", path)
                 : stamp_make(fd, stamp, error);
}

static int write_one(Home *home, const SnapshotRow *row, Error *error) {
    _cleanup_free_ char *path = snapshot_path(home, row->id, row->data.files.memory.name);
    _cleanup_close_ int memfd = -1;
    FileStamp stamp = {0};
    int r = restore_memory_open_hot(home, row, &memfd, error);
    if (r >= 0)
        r = write_file(memfd, path, row->data.memory_bytes, &stamp, error);
    if (r >= 0)
        r = snapshots_set_written(home->store, row->id, &stamp, error);
    if (r >= 0)
        hot_memory_written(home, row->id);
    return r;
}

/* ---- one after the other ---- */

/* One that was removed meanwhile is nothing to complain of. */
static void complain(Home *home, const SnapshotRow *row, int r, const Error *error) {
    _cleanup_snapshot_row_ SnapshotRow now = {0};
    if (r >= 0 || error->kind == ERROR_CANCELLED ||
        snapshots_get(home->store, row->id, &now, NULL) < 0 || now.state != SNAPSHOT_READY)
        return;
    log_warning("snapshot %s: %s", row->id, error_message(error));
}

/* *due: when the next one is to be written. */
static void finish_one(Home *home, SnapshotRow *row, uint64_t *due_usec) {
    _cleanup_error_ Error error = ERROR_INIT;
    uint64_t due = row->created_at_usec + GRACE_USEC;
    bool closing = home_is_closing(home);
    if (row->state != SNAPSHOT_READY)
        return;
    if (row->data.unwritten && (closing || due <= clock_realtime_usec()))
        complain(home, row, write_one(home, row, &error), &error);
    else if (row->data.unwritten)
        *due_usec = MIN_OF(*due_usec, due);
    else if (!closing)
        complain(home, row, snapshot_await_digest(home, home->closing_fd, row, &error), &error);
}

/* Returns when it has to look again; UINT64_MAX: never. */
static uint64_t finish_all(Home *home) {
    uint64_t due = UINT64_MAX;
    size_t count = 0;
    SnapshotRow *rows = NULL;
    if (snapshots_list(home->store, &rows, &count, NULL) < 0)
        return due;
    for (size_t i = 0; i < count; i++)
        finish_one(home, &rows[i], &due);
    snapshot_rows_free(rows, count);
    return due;
}

/* Returns whether a thread has to be started: who is at it looks once more. */
static bool begin(Home *home) {
    (void)pthread_mutex_lock(&home->mutex);
    bool first = home->finishing == 0;
    home->finishing = first ? 1 : 2;
    (void)pthread_mutex_unlock(&home->mutex);
    return first;
}

/* Returns whether it shall look once more. */
static bool end(Home *home) {
    (void)pthread_mutex_lock(&home->mutex);
    bool again = home->finishing == 2;
    home->finishing = again ? 1 : 0;
    (void)pthread_mutex_unlock(&home->mutex);
    return again;
}

static void await(Home *home, uint64_t due_usec) {
    struct pollfd closing = {.fd = home->closing_fd, .events = POLLIN};
    uint64_t now = clock_realtime_usec();
    uint64_t wait_usec = due_usec > now ? MIN_OF(due_usec - now, (uint64_t)GRACE_USEC) : 0;
    (void)poll(&closing, 1, (int)(wait_usec / USEC_PER_MSEC) + 1);
}

static void work(Home *home, void *data) {
    uint64_t due;
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), NICE_BEHIND);
    do {
        due = finish_all(home);
        if (due != UINT64_MAX) {
            (void)begin(home); /* it comes again */
            await(home, due);
        }
    } while (end(home));
}

void snapshots_finish_later(Home *home) {
    if (begin(home) && home_work(home, work, NULL) < 0)
        while (end(home)) /* the next snapshot, or daemon, does it */
            ;
}
