/* SPDX-License-Identifier: Apache-2.0 */

/* Hot memory beyond the daemon's life.
 *
 * Each hot base is put into the home's memory holder (proto/holder.h) once it is filled, under the
 * id of its snapshot. The holder runs while there is hot memory: it is started with the first base,
 * and told to quit with the last. At its start a daemon takes all of them back whose snapshot is
 * still there, and drops the others.
 *
 * The holder's content is trusted, unlike that of a clone's process: it talks only to the daemon's
 * user and root, and what it holds was hashed before it was sealed. So only seal and size are
 * looked at; the snapshot's file is compared with its stamp at each use anyway.
 *
 * The holder also knows when each was last used, to within a minute, so that the next daemon lets
 * the right ones go first.
 *
 * Without a holder all works as well, but for a refill after a restart: failures are logged. All
 * functions are called with hot_mutex held. */

#include <errno.h>
#include <sys/stat.h>

#include "base/log.h"
#include "memory/seal.h"
#include "proto/holder.h"
#include "vm/snapshot_internal.h"

#define TOUCH_USEC (60 * USEC_PER_SEC)

/* Ids are never used twice and content was hashed, so one that is held already is the right one. */
static int put(Ramet *ramet, const HotMemory *hot, Error *error) {
    _cleanup_error_ Error failure = ERROR_INIT;
    int r = hot->filling ? 0 : holder_put(ramet->home_fd, hot->id, hot->fd, &failure);

    return r == 0 || failure.kind == ERROR_CONFLICT ? 0 : error_move(error, &failure);
}

/* All of them, since the holder may be a new one. */
static int put_all(Ramet *ramet, Error *error) {
    int r = holder_ensure(ramet->home_fd, ramet->keeper, error);

    for (const HotMemory *hot = ramet->hot; r >= 0 && hot; hot = hot->next)
        r = put(ramet, hot, error);
    return r;
}

void hot_holder_put(Ramet *ramet, HotMemory *hot) {
    _cleanup_error_ Error error = ERROR_INIT;
    int r;

    (void)holder_drop(ramet->home_fd, hot->id, NULL); /* one that could not be taken back */
    r = put_all(ramet, &error);
    if (r == -ECONNRESET || r == -ENOENT || r == -ECONNREFUSED) { /* it was just quitting */
        error_clear(&error);
        r = put_all(ramet, &error);
    }
    if (r < 0)
        log_warning("hot memory will not outlive this daemon: %s", error_message(&error));
    hot->touched_usec = clock_monotonic_usec();
}

void hot_holder_touch(Ramet *ramet, HotMemory *hot) {
    _cleanup_close_ int fd = -1;

    if (hot->used_usec < hot->touched_usec + TOUCH_USEC)
        return;
    (void)holder_get(ramet->home_fd, hot->id, &fd, NULL);
    hot->touched_usec = hot->used_usec;
}

void hot_holder_drop(Ramet *ramet, const char *id) {
    _cleanup_error_ Error error = ERROR_INIT;
    int r =
        ramet->hot ? holder_drop(ramet->home_fd, id, &error) : holder_quit(ramet->home_fd, &error);

    if (r < 0 && error.kind != ERROR_NOT_FOUND)
        log_warning("cannot let go of hot memory: %s", error_message(&error));
}

static bool is_base(Ramet *ramet, const char *id, int fd) {
    _cleanup_snapshot_row_ SnapshotRow row = {0};
    struct stat info;

    return snapshots_get(ramet->store, id, &row, NULL) >= 0 &&
           str_equal(row.state, SNAPSHOT_READY) && str_equal(row.base, row.id) &&
           memory_is_sealed(fd) && fstat(fd, &info) == 0 &&
           (uint64_t)info.st_size == snapshot_u64(&row, "memory_bytes");
}

static void take_back(Ramet *ramet, const json_t *held) {
    const char *id = json_string_value(json_object_get(held, "key"));
    _cleanup_close_ int fd = -1;
    HotMemory *hot;

    for (hot = ramet->hot; hot; hot = hot->next)
        if (str_equal(hot->id, id)) /* filled anew while VMs were settled */
            return;
    if (!id || holder_get(ramet->home_fd, id, &fd, NULL) < 0)
        return;
    if (!is_base(ramet, id, fd)) {
        (void)holder_drop(ramet->home_fd, id, NULL);
        return;
    }
    hot = calloc(1, sizeof(*hot));
    if (!hot)
        abort();
    *hot =
        (HotMemory){.fd = TAKE_FD(fd),
                    .bytes = (uint64_t)json_integer_value(json_object_get(held, "allocated_bytes")),
                    .used_usec = (uint64_t)json_integer_value(json_object_get(held, "used_at_us")),
                    .touched_usec = clock_monotonic_usec(),
                    .next = ramet->hot};
    (void)snprintf(hot->id, sizeof(hot->id), "%s", id);
    ramet->hot = hot;
}

void hot_holder_take_back(Ramet *ramet) {
    _cleanup_json_ json_t *list = NULL;
    json_t *held;
    size_t i;

    if (holder_list(ramet->home_fd, &list, NULL) < 0)
        return;
    json_array_foreach(list, i, held) take_back(ramet, held);
}
