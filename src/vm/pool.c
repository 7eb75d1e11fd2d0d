/* SPDX-License-Identifier: Apache-2.0 */

/* `pool set` and `pool ls`: what shall be warm, and what is. pool_fill.c makes it so. */

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "vm/pool_internal.h"

/* --- which source ------------------------------------------------------------------------------
 */

static int take_snapshot(const SnapshotRow *found, PoolRow *pool, Error *error) {
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

static int take_image(Ramet *ramet, const char *source, PoolRow *pool, Error *error) {
    _cleanup_image_row_ ImageRow image = {0};
    int r = images_find(ramet->store, source, &image, NULL);

    if (r < 0) {
        error_set(error, ERROR_NOT_FOUND, ENOENT, "there is no snapshot and no image %s", source);
        error_set_hint(error, "see ramet snapshot ls and ramet image ls");
        return -ENOENT;
    }
    if (!ramet->boot_cache) {
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

/* A snapshot comes before an image, as with fork. */
static int find_source(Ramet *ramet, const char *source, PoolRow *pool, Error *error) {
    _cleanup_snapshot_row_ SnapshotRow snapshot = {0};
    _cleanup_error_ Error failure = ERROR_INIT;
    int r = snapshots_find(ramet->store, source, &snapshot, &failure);

    if (r == -ENOENT)
        return take_image(ramet, source, pool, error);
    return r < 0 ? error_move(error, &failure) : take_snapshot(&snapshot, pool, error);
}

/* --- the budget --------------------------------------------------------------------------------
 */

static int check_budget(Ramet *ramet, const PoolRow *pool, Error *error) {
    uint64_t clones = pool->wanted, needed;
    PoolRow *rows = NULL;
    size_t count = 0;
    int r = pools_list(ramet->store, &rows, &count, error);

    if (r < 0)
        return r;
    for (size_t i = 0; i < count; i++)
        clones += str_equal(rows[i].source, pool->source) ? 0 : rows[i].wanted;
    free(rows);
    needed = clones * POOL_CLONE_BYTES;
    if (needed <= ramet->pool_budget_bytes)
        return 0;
    error_set(error, ERROR_NO_MEMORY, ENOMEM,
              "%llu warm clones would take some %llu MiB, and the budget for all pools is %llu MiB",
              (unsigned long long)clones, (unsigned long long)(needed / MIB),
              (unsigned long long)(ramet->pool_budget_bytes / MIB));
    error_set_hint(error, "ask for fewer, or raise RAMET_POOL_MEMORY");
    return -ENOMEM;
}

/* --- describing --------------------------------------------------------------------------------
 */

static json_t *describe(Ramet *ramet, const PoolRow *pool, const VmRow *vms, size_t n_vms) {
    _cleanup_free_ char *created = clock_format_realtime(pool->created_at_usec);
    char snapshot[VM_ID_SIZE];
    json_t *failure = NULL;
    uint64_t warm = 0, bytes = 0;

    pools_look(ramet, pool->source, snapshot, &failure);
    if (str_equal(pool->kind, POOL_SNAPSHOT))
        (void)snprintf(snapshot, sizeof(snapshot), "%.32s", pool->source);
    for (size_t i = 0; i < n_vms; i++)
        if (str_equal(vms[i].state, STATE_WARM) && *snapshot &&
            str_equal(vms[i].snapshot, snapshot)) {
            warm++;
            bytes += row_u64(&vms[i], "warm_bytes");
        }
    return json_pack("{s:s, s:s, s:o, s:I, s:I, s:I, s:s, s:o}", "source", pool->name, "kind",
                     pool->kind, "snapshot", *snapshot ? json_string(snapshot) : json_null(),
                     "wanted", (json_int_t)pool->wanted, "warm", (json_int_t)warm, "memory_bytes",
                     (json_int_t)bytes, "created_at", created, "error",
                     failure ? failure : json_null());
}

static int describe_one(Ramet *ramet, const PoolRow *pool, json_t **json, Error *error) {
    size_t n_vms = 0;
    VmRow *vms = NULL;
    int r = vms_list(ramet->store, &vms, &n_vms, error);

    if (r < 0)
        return r;
    *json = describe(ramet, pool, vms, n_vms);
    vm_rows_free(vms, n_vms);
    return 0;
}

int pool_list(Ramet *ramet, json_t **list, Error *error) {
    size_t count = 0, n_vms = 0;
    PoolRow *rows = NULL;
    VmRow *vms = NULL;
    int r = pools_list(ramet->store, &rows, &count, error);

    if (r >= 0)
        r = vms_list(ramet->store, &vms, &n_vms, error);
    if (r >= 0) {
        *list = json_array();
        for (size_t i = 0; i < count; i++)
            (void)json_array_append_new(*list, describe(ramet, &rows[i], vms, n_vms));
    }
    vm_rows_free(vms, n_vms);
    free(rows);
    return r;
}

/* --- setting -----------------------------------------------------------------------------------
 */

/* With the pools' lock. A client that leaves now has ended the pool; the filler removes the rest.
 */
static int end_pool(Ramet *ramet, const PoolRow *pool, int cancel_fd, Error *error) {
    char snapshot[VM_ID_SIZE];
    json_t *failure = NULL;
    int r;

    pools_look(ramet, pool->source, snapshot, &failure); /* the filler forgets it with the row */
    json_decref(failure);
    r = pools_delete(ramet->store, pool->source, error);
    if (str_equal(pool->kind, POOL_SNAPSHOT))
        (void)snprintf(snapshot, sizeof(snapshot), "%.32s", pool->source);
    if (r >= 0 && *snapshot)
        r = pool_trim(ramet, snapshot, 0, cancel_fd, error);
    return r;
}

static int change(Ramet *ramet, const Operation *operation, const PoolRow *pool, Error *error) {
    _cleanup_op_lock_ OpLock *lock = NULL;
    int r = pools_lock(ramet, "being changed", operation->cancel_fd, &lock, error);

    if (r < 0)
        return error_add_context(error, "cannot change the pool of %s", pool->name);
    if (pool->wanted == 0)
        r = end_pool(ramet, pool, operation->cancel_fd, error);
    else
        r = pools_set(ramet->store, pool, error);
    lock = op_unlock(lock);
    pools_forgive(ramet, pool->source);
    pools_kick(ramet);
    return r;
}

/* 1: all of them are warm. */
static int is_filled(Ramet *ramet, const PoolRow *pool, Error *error) {
    _cleanup_json_ json_t *json = NULL;
    const json_t *failure;
    int r = describe_one(ramet, pool, &json, error);

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

static int await_filled(Ramet *ramet, Operation *operation, const PoolRow *pool, Error *error) {
    int fd = ramet_subscribe(ramet), r;
    eventfd_t events;

    if (fd < 0)
        return error_set_errno(error, -fd, "cannot follow the events");
    while ((r = is_filled(ramet, pool, error)) == 0) {
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
    ramet_unsubscribe(ramet, fd);
    return r < 0 ? error_add_context(error, "the pool of %s is not filled", pool->name) : 0;
}

int pool_set(Ramet *ramet, Operation *operation, const char *source, unsigned count, bool wait,
             json_t **pool, Error *error) {
    PoolRow row = {.wanted = count, .created_at_usec = clock_realtime_usec()};
    int r;

    operation_enter(operation, "pool");
    if (count > POOL_COUNT_MAX)
        return error_set(error, ERROR_USAGE, EINVAL, "a pool has at most %d clones",
                         POOL_COUNT_MAX);
    r = find_source(ramet, source, &row, error);
    if (r >= 0 && count > 0)
        r = check_budget(ramet, &row, error);
    if (r >= 0)
        r = change(ramet, operation, &row, error);
    if (r >= 0 && wait && count > 0)
        r = await_filled(ramet, operation, &row, error);
    if (r < 0 || !pool)
        return r;
    return describe_one(ramet, &row, pool, error);
}

/* --- for those who remove what a pool stands on ------------------------------------------------
 */

int pool_check_absent(Ramet *ramet, const char *source, const char *what, const char *name,
                      Error *error) {
    PoolRow row;

    if (pools_get(ramet->store, source, &row, NULL) < 0)
        return 0;
    error_set(error, ERROR_CONFLICT, EBUSY, "%s %s has a pool", what, name);
    error_set_hint(error, "end it first: ramet pool set %s 0", name);
    return -EBUSY;
}

int pool_forget(Ramet *ramet, const Operation *operation, const char *snapshot, Error *error) {
    PoolRow row = {.kind = POOL_SNAPSHOT};

    if (pools_get(ramet->store, snapshot, &row, NULL) < 0)
        return 0;
    row.wanted = 0;
    return change(ramet, operation, &row, error);
}
