/* SPDX-License-Identifier: Apache-2.0 */

/* `pool set` and `pool ls`: what shall be warm, and what is. pool_fill.c makes it so. */

#include "pool/pool.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/str.h"
#include "frozen/snapshot_files.h"
#include "home/home.h"
#include "home/inside.h"
#include "home/op_lock.h"
#include "home/operation.h"
#include "pool/pool_clone.h"
#include "pool/pool_fill.h"
#include "pool/pool_lab.h"
#include "store/images.h"
#include "store/pools.h"
#include "store/snapshots.h"
#include "store/vms.h"

/* ---- which source ---- */

static int use_snapshot(const SnapshotRow *found, PoolRow *pool, Error *error) {
    if (!snapshot_has_memory(found)) {
        error_set(error, ERROR_UNSUPPORTED, ENOTSUP, "snapshot %s has no memory to restore",
                  *found->name ? found->name : found->id);
        error_set_hint(error, "take it of a VM that runs");
        return -ENOTSUP;
    }
    (void)snprintf(pool->source, sizeof(pool->source), "%s", found->id);
    (void)snprintf(pool->kind, sizeof(pool->kind), POOL_SNAPSHOT);
    (void)snprintf(pool->name, sizeof(pool->name), "%s", *found->name ? found->name : found->id);
    return 0;
}

static int use_image(Home *home, const char *source, PoolRow *pool, Error *error) {
    _cleanup_image_row_ ImageRow image = {0};
    int r = images_find(home->store, source, &image, NULL);
    if (r < 0) {
        error_set(error, ERROR_NOT_FOUND, ENOENT, "there is no snapshot and no image %s", source);
        error_set_hint(error, "see ramet snapshot ls, ramet lab snapshot ls and ramet image ls");
        return -ENOENT;
    }
    if (!home->boot_cache) {
        error_set(error, ERROR_UNSUPPORTED, ENOTSUP,
                  "the boot cache is off, and a pool of an image grows from it");
        error_set_hint(error, "unset RAMET_BOOT_CACHE for the daemon");
        return -ENOTSUP;
    }
    (void)snprintf(pool->source, sizeof(pool->source), "%s", image.name);
    (void)snprintf(pool->kind, sizeof(pool->kind), POOL_IMAGE);
    (void)snprintf(pool->name, sizeof(pool->name), "%s", image.name);
    return 0;
}

/* A snapshot comes before a lab's, and that before an image, as with fork. */
static int find_source(Home *home, const char *source, PoolRow *pool, Error *error) {
    _cleanup_snapshot_row_ SnapshotRow snapshot = {0};
    _cleanup_error_ Error failure = ERROR_INIT;
    int r = snapshots_find(home->store, source, &snapshot, &failure);
    if (r != -ENOENT)
        return r < 0 ? error_move(error, &failure) : use_snapshot(&snapshot, pool, error);
    error_clear(&failure);
    r = pool_lab_find(home, source, pool, &failure);
    if (r == -ENOENT)
        return use_image(home, source, pool, error);
    return r < 0 ? error_move(error, &failure) : 0;
}

/* ---- the budget ---- */

static int check_budget(Home *home, const PoolRow *pool, Error *error) {
    uint64_t clones = pool->wanted * pool_vms_each(home, pool), needed;
    PoolRow *rows = NULL;
    size_t count = 0;
    int r = pools_list(home->store, &rows, &count, error);
    if (r < 0)
        return r;
    for (size_t i = 0; i < count; i++)
        if (!str_equal(rows[i].source, pool->source))
            clones += rows[i].wanted * pool_vms_each(home, &rows[i]);
    free(rows);
    needed = clones * POOL_CLONE_BYTES;
    if (needed <= home->pool_budget_bytes)
        return 0;
    error_set(error, ERROR_NO_MEMORY, ENOMEM,
              "%llu warm clones would take some %llu MiB, and the budget for all pools is %llu MiB",
              (unsigned long long)clones, (unsigned long long)(needed / MIB),
              (unsigned long long)(home->pool_budget_bytes / MIB));
    error_set_hint(error, "ask for fewer, or raise RAMET_POOL_MEMORY");
    return -ENOMEM;
}

/* ---- describing ---- */

/* As many as of the snapshot are warm, and what they hold. */
static uint64_t count_warm(const VmRow *vms, size_t n_vms, const char *snapshot, uint64_t *bytes) {
    uint64_t warm = 0;
    *bytes = 0;
    for (size_t i = 0; i < n_vms; i++) {
        if (!*snapshot || !clone_is_warm(&vms[i], snapshot))
            continue;
        warm++;
        *bytes += vms[i].runtime.warm_bytes;
    }
    return warm;
}

static json_t *describe(Home *home, const PoolRow *pool, const VmRow *vms, size_t n_vms) {
    _cleanup_free_ char *created = clock_format_realtime(pool->created_at_usec);
    char snapshot[VM_ID_SIZE];
    json_t *failure = NULL;
    uint64_t warm, bytes;
    pools_get_status(home, pool->source, snapshot, &failure);
    if (!str_equal(pool->kind, POOL_IMAGE))
        (void)snprintf(snapshot, sizeof(snapshot), "%.32s", pool->source);
    warm = str_equal(pool->kind, POOL_LAB) ? pool_lab_count(home, vms, n_vms, snapshot, &bytes)
                                           : count_warm(vms, n_vms, snapshot, &bytes);
    return json_pack("{s:s, s:s, s:o, s:I, s:I, s:I, s:s, s:o}", "source", pool->name, "kind",
                     pool->kind, "snapshot", *snapshot ? json_string(snapshot) : json_null(),
                     "wanted", (json_int_t)pool->wanted, "warm", (json_int_t)warm, "memory_bytes",
                     (json_int_t)bytes, "created_at", created, "error",
                     failure ? failure : json_null());
}

static int describe_one(Home *home, const PoolRow *pool, json_t **json, Error *error) {
    size_t n_vms = 0;
    VmRow *vms = NULL;
    int r = vms_list(home->store, &vms, &n_vms, error);
    if (r < 0)
        return r;
    *json = describe(home, pool, vms, n_vms);
    vm_rows_free(vms, n_vms);
    return 0;
}

int pool_list(Home *home, json_t **list, Error *error) {
    size_t count = 0, n_vms = 0;
    PoolRow *rows = NULL;
    VmRow *vms = NULL;
    int r = pools_list(home->store, &rows, &count, error);
    if (r >= 0)
        r = vms_list(home->store, &vms, &n_vms, error);
    if (r >= 0) {
        *list = json_array();
        for (size_t i = 0; i < count; i++)
            (void)json_array_append_new(*list, describe(home, &rows[i], vms, n_vms));
    }
    vm_rows_free(vms, n_vms);
    free(rows);
    return r;
}

/* ---- setting ---- */

/* With the pools' lock. A client that leaves now has ended the pool; the filler removes the rest.
 */
static int end_pool(Home *home, const PoolRow *pool, int cancel_fd, Error *error) {
    char snapshot[VM_ID_SIZE];
    json_t *failure = NULL;
    int r;
    pools_get_status(home, pool->source, snapshot,
                     &failure); /* the filler forgets it with the row */
    json_decref(failure);
    r = pools_delete(home->store, pool->source, error);
    if (r >= 0 && str_equal(pool->kind, POOL_LAB))
        return MIN_OF(pool_lab_trim(home, pool->source, 0, error), 0);
    if (str_equal(pool->kind, POOL_SNAPSHOT))
        (void)snprintf(snapshot, sizeof(snapshot), "%.32s", pool->source);
    if (r >= 0 && *snapshot)
        r = pool_trim(home, snapshot, 0, cancel_fd, error);
    return r;
}

static int change(Home *home, const Operation *operation, const PoolRow *pool, Error *error) {
    _cleanup_op_lock_ OpLock *lock = NULL;
    int r = pools_lock(home, "being changed", operation->cancel_fd, &lock, error);
    if (r < 0)
        return error_add_context(error, "cannot change the pool of %s", pool->name);
    if (pool->wanted == 0)
        r = end_pool(home, pool, operation->cancel_fd, error);
    else
        r = pools_set(home->store, pool, error);
    lock = op_unlock(lock);
    pools_reset_retry(home, pool->source);
    home_pools_changed(home);
    return r;
}

/* 1: all of them are warm. */
static int is_filled(Home *home, const PoolRow *pool, Error *error) {
    _cleanup_json_ json_t *json = NULL;
    const json_t *failure;
    int r = describe_one(home, pool, &json, error);
    if (r < 0)
        return r;
    failure = json_object_get(json, "error");
    if (json_is_object(failure)) {
        _cleanup_json_ json_t *wrapped = json_pack("{s:O}", "error", failure);
        _cleanup_error_ Error told = ERROR_INIT;
        if (json_to_error(wrapped, &told) >= 0)
            return error_move(error, &told);
    }
    return json_integer_value(json_object_get(json, "warm")) >= (json_int_t)pool->wanted;
}

static int await_filled(Home *home, Operation *operation, const PoolRow *pool, Error *error) {
    int fd = home_subscribe(home), r;
    eventfd_t events;
    if (fd < 0)
        return error_set_errno(error, -fd, "cannot follow the events");
    while ((r = is_filled(home, pool, error)) == 0) {
        struct pollfd fds[2] = {{.fd = fd, .events = POLLIN},
                                {.fd = operation->cancel_fd, .events = POLLIN}};
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            r = error_set_errno(error, errno, "cannot wait for an event");
        else if (fds[1].revents)
            r = error_set(error, ERROR_CANCELLED, ECANCELED, "the client went away");
        if (r < 0)
            break;
        if (fds[0].revents)
            (void)eventfd_read(fd, &events);
    }
    home_unsubscribe(home, fd);
    return r < 0 ? error_add_context(error, "the pool of %s is not filled", pool->name) : 0;
}

int pool_set(Home *home, Operation *operation, const char *source, unsigned count, bool wait,
             json_t **pool, Error *error) {
    PoolRow row = {.wanted = count, .created_at_usec = clock_realtime_usec()};
    int r;
    operation_enter(operation, "pool");
    if (count > POOL_COUNT_MAX)
        return error_set(error, ERROR_USAGE, EINVAL, "a pool has at most %d clones",
                         POOL_COUNT_MAX);
    r = find_source(home, source, &row, error);
    if (r >= 0 && count > 0)
        r = check_budget(home, &row, error);
    if (r >= 0)
        r = change(home, operation, &row, error);
    if (r >= 0 && wait && count > 0)
        r = await_filled(home, operation, &row, error);
    if (r < 0 || !pool)
        return r;
    return describe_one(home, &row, pool, error);
}

/* ---- for those who remove what a pool stands on ---- */

int pool_forget(Home *home, const Operation *operation, const char *snapshot, Error *error) {
    PoolRow row = {.kind = POOL_SNAPSHOT};
    if (pools_get(home->store, snapshot, &row, NULL) < 0)
        return 0;
    row.wanted = 0;
    return change(home, operation, &row, error);
}

bool pool_exists(Home *home) {
    PoolRow *rows = NULL;
    size_t count = 0;
    (void)pools_list(home->store, &rows, &count, NULL);
    free(rows);
    return count > 0;
}
