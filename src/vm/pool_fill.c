/* SPDX-License-Identifier: Apache-2.0 */

/* The thread that makes the world agree with the table of pools.
 *
 * It takes one step at a time: a clone too few is made, one too many is removed, one of no pool is
 * removed; until there is nothing to do. Then it sleeps until somebody kicks it (a clone was
 * claimed or died, a pool was set) or until a pool whose last clone failed may be tried again,
 * which takes longer from failure to failure. So it does not matter what was going on when a daemon
 * died: reconcile keeps the warm clones whose keepers answer, and the first steps do the rest.
 *
 * While the pools' lock is held no clone is made and no snapshot is looked for, so that who ends a
 * pool knows that none follows, and may remove what it grew from.
 * It is one of the OpLocks, under a name that no VM has, since who waits for it may leave. */

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "vm/boot_cache.h"
#include "vm/pool_internal.h"

#define LOCK_ID "pools" /* a VM's is hexadecimal */

struct Pools {
    pthread_t thread;
    PoolStates *states;    /* owned */
    int stop_fd;           /* owned: readable once it shall end */
    pthread_mutex_t mutex; /* guards what follows; taken before that of the states */
    pthread_cond_t kicked;
    bool dirty;
    bool stop;
};

/* --- what is known of the pools ----------------------------------------------------------------
 */

void pools_look(Ramet *ramet, const char *source, char snapshot[VM_ID_SIZE], json_t **failure) {
    snapshot[0] = '\0';
    *failure = NULL;
    if (ramet->pools)
        pool_states_look(ramet->pools->states, source, snapshot, failure);
}

void pools_forgive(Ramet *ramet, const char *source) {
    if (ramet->pools)
        pool_states_forgive(ramet->pools->states, source);
}

static void note_failure(Ramet *ramet, const PoolRow *pool, const Error *error) {
    _cleanup_json_ json_t *wrapped = json_from_error(error);
    json_t *failure = json_object_get(wrapped, "error");

    pool_states_note_failure(ramet->pools->states, pool->source, failure);
    log_warning("the pool of %s: %s", pool->name, error_message(error));
    ramet_event(ramet, "pool.failed", NULL, pool->name, failure);
}

/* Told once each time that it becomes full. */
static void note_full(Ramet *ramet, const PoolRow *pool, bool full) {
    _cleanup_json_ json_t *detail = json_pack("{s:I}", "warm", (json_int_t)pool->wanted);

    if (pool_states_note_full(ramet->pools->states, pool->source, full))
        ramet_event(ramet, "pool.filled", NULL, pool->name, detail);
}

static bool is_stopping(Pools *pools) {
    bool stop;

    (void)pthread_mutex_lock(&pools->mutex);
    stop = pools->stop;
    (void)pthread_mutex_unlock(&pools->mutex);
    return stop;
}

/* --- one step ----------------------------------------------------------------------------------
 */

static int open_image(Ramet *ramet, const PoolRow *pool, SnapshotRow *snapshot, Error *error) {
    _cleanup_image_row_ ImageRow image = {0};
    _cleanup_json_ json_t *failure = NULL;
    _cleanup_vm_row_ VmRow planned = {0};
    _cleanup_vm_spec_ VmSpec spec;
    Operation operation;
    int r;

    vm_spec_init(&spec);
    (void)snprintf(spec.image, sizeof(spec.image), "%s", pool->source);
    operation_init(&operation, 0, ramet->pools->stop_fd);
    operation_enter(&operation, "plan");
    r = images_find(ramet->store, pool->source, &image, error); /* never built for a pool alone */
    if (r >= 0)
        r = vm_plan_row(ramet, &operation, &spec, CREATE_ONLY, &planned, error);
    if (r >= 0)
        r = boot_cache_open(ramet, &operation, &planned, snapshot, &failure, error);
    if (r == 0)
        r = error_set(error, ERROR_FAILED, EIO, "image %s has no boot cache: %s", pool->source,
                      failure ? json_string_value(json_object_get(failure, "message"))
                              : "it is off");
    return r < 0 ? r : 0;
}

/* The snapshot that the pool's clones grow from, pinned. */
static int open_source(Ramet *ramet, const PoolRow *pool, SnapshotRow *snapshot, Error *error) {
    int r = str_equal(pool->kind, POOL_IMAGE) ? open_image(ramet, pool, snapshot, error)
                                              : snapshot_pin(ramet, pool->source, snapshot, error);

    if (r >= 0)
        pool_states_note_snapshot(ramet->pools->states, pool->source, snapshot->id);
    return r;
}

static int check_budget(Ramet *ramet, const Clones *clones, Error *error) {
    uint64_t bytes = clones_sum_bytes(clones) + POOL_CLONE_BYTES;

    if (bytes <= ramet->pool_budget_bytes)
        return 0;
    error_set(error, ERROR_NO_MEMORY, ENOMEM,
              "warm clones take %llu MiB, and the budget for all pools is %llu MiB",
              (unsigned long long)((bytes - POOL_CLONE_BYTES) / MIB),
              (unsigned long long)(ramet->pool_budget_bytes / MIB));
    error_set_hint(error, "ask for fewer, or raise RAMET_POOL_MEMORY");
    return -ENOMEM;
}

/* With the pools' lock. 1: something was done. */
static int mend_pool(Ramet *ramet, const PoolRow *pool, const SnapshotRow *snapshot, Error *error) {
    _cleanup_(clones_free) Clones clones = {0};
    uint64_t warm;
    int r;

    r = vms_list(ramet->store, &clones.rows, &clones.count, error);
    if (r < 0)
        return r;
    warm = clones_count(&clones, snapshot->id);
    note_full(ramet, pool, warm == pool->wanted);
    if (warm == pool->wanted)
        return 0;
    if (warm > pool->wanted) {
        r = pool_trim(ramet, snapshot->id, pool->wanted, ramet->pools->stop_fd, error);
    } else {
        r = check_budget(ramet, &clones, error);
        if (r >= 0)
            r = pool_make_clone(ramet, snapshot, ramet->pools->stop_fd, error);
    }
    return r < 0 ? r : 1;
}

/* 1: something was done; 0: it is as it should be, or must wait. */
static int step_pool(Ramet *ramet, const PoolRow *pool) {
    _cleanup_snapshot_row_ SnapshotRow snapshot = {0};
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_op_lock_ OpLock *lock = NULL;
    PoolRow now;
    int r;

    if (!pool_states_may_try(ramet->pools->states, pool->source))
        return 0;
    r = pools_lock(ramet, "being filled", ramet->pools->stop_fd, &lock, &error);
    if (r >= 0 && pools_get(ramet->store, pool->source, &now, NULL) < 0)
        return 0; /* it was ended meanwhile */
    if (r >= 0)
        r = open_source(ramet, &now, &snapshot, &error);
    if (r >= 0) {
        r = mend_pool(ramet, &now, &snapshot, &error);
        snapshot_unpin(ramet, snapshot.id);
    }
    lock = op_unlock(lock);
    if (r < 0 && !is_stopping(ramet->pools))
        note_failure(ramet, pool, &error);
    else if (r > 0)
        pools_forgive(ramet, pool->source);
    return MAX_OF(r, 0);
}

static bool has_pool(Pools *pools, const PoolRow *rows, size_t count, const char *snapshot) {
    for (size_t i = 0; i < count; i++)
        if (pool_states_may_want(pools->states, rows[i].source, snapshot))
            return true;
    return false;
}

/* Clones of no pool, and those whose keepers answer no more. */
static int remove_strays(Ramet *ramet, const PoolRow *pools, size_t count) {
    _cleanup_(clones_free) Clones clones = {0};
    _cleanup_error_ Error error = ERROR_INIT;
    int done = 0;

    if (vms_list(ramet->store, &clones.rows, &clones.count, NULL) < 0)
        return 0;
    for (size_t i = 0; i < clones.count; i++) {
        const VmRow *row = &clones.rows[i];
        bool ours = str_equal(row_text(row, "hidden"), "pool") && state_is_active(row->state);

        if (!ours || (str_equal(row->state, STATE_WARM) &&
                      has_pool(ramet->pools, pools, count, row->snapshot)))
            continue;
        if (pool_remove_clone(ramet, row->id, ramet->pools->stop_fd, &error) >= 0)
            done = 1;
        else
            log_warning("cannot remove the clone %s: %s", row->name, error_message(&error));
    }
    return done;
}

/* Whether anything was done. */
static bool step(Ramet *ramet) {
    PoolRow *rows = NULL;
    size_t count = 0;
    int done = 0;

    if (pools_list(ramet->store, &rows, &count, NULL) < 0)
        return false;
    for (size_t i = 0; i < count && !is_stopping(ramet->pools); i++)
        done |= step_pool(ramet, &rows[i]);
    if (!done && !is_stopping(ramet->pools))
        done = remove_strays(ramet, rows, count);
    free(rows);
    return done;
}

/* --- the thread --------------------------------------------------------------------------------
 */

/* False: it shall end. */
static bool wait_for_work(Pools *pools) {
    bool go_on;

    (void)pthread_mutex_lock(&pools->mutex);
    while (!pools->dirty && !pools->stop) {
        uint64_t until = pool_states_next_retry(pools->states);
        struct timespec time = {.tv_sec = (time_t)(until / USEC_PER_SEC),
                                .tv_nsec = (long)(until % USEC_PER_SEC) * 1000};

        if (until <= clock_monotonic_usec())
            break;
        if (until == UINT64_MAX)
            (void)pthread_cond_wait(&pools->kicked, &pools->mutex);
        else
            (void)pthread_cond_timedwait(&pools->kicked, &pools->mutex, &time);
    }
    pools->dirty = false;
    go_on = !pools->stop;
    (void)pthread_mutex_unlock(&pools->mutex);
    return go_on;
}

static void *fill_thread(void *data) {
    Ramet *ramet = data;

    while (wait_for_work(ramet->pools)) {
        while (!is_stopping(ramet->pools) && step(ramet))
            ;
        pool_states_forget(ramet->pools->states, ramet->store);
    }
    return NULL;
}

void pools_kick(Ramet *ramet) {
    Pools *pools = ramet->pools;

    if (!pools)
        return;
    (void)pthread_mutex_lock(&pools->mutex);
    pools->dirty = true;
    (void)pthread_cond_signal(&pools->kicked);
    (void)pthread_mutex_unlock(&pools->mutex);
}

int pools_lock(Ramet *ramet, const char *what, int cancel_fd, OpLock **lock, Error *error) {
    return op_lock(ramet->locks, LOCK_ID, what, cancel_fd, lock, error);
}

static void pools_free(Pools *pools) {
    pool_states_free(pools->states);
    (void)fd_close(pools->stop_fd);
    (void)pthread_cond_destroy(&pools->kicked);
    (void)pthread_mutex_destroy(&pools->mutex);
    free(pools);
}

static Pools *pools_new(void) {
    Pools *pools = calloc(1, sizeof(*pools));
    pthread_condattr_t attributes;

    if (!pools)
        abort();
    pools->states = pool_states_new();
    (void)pthread_mutex_init(&pools->mutex, NULL);
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&pools->kicked, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    pools->stop_fd = eventfd(0, EFD_CLOEXEC);
    pools->dirty = true;
    return pools;
}

void pools_start(Ramet *ramet) {
    Pools *pools;

    if (ramet->pools)
        return;
    pools = pools_new();
    ramet->pools = pools;
    if (pools->stop_fd >= 0 && pthread_create(&pools->thread, NULL, fill_thread, ramet) == 0)
        return;
    log_error("cannot start the thread that fills pools");
    ramet->pools = NULL;
    pools_free(pools);
}

void pools_stop(Ramet *ramet) {
    Pools *pools = ramet->pools;

    if (!pools)
        return;
    (void)pthread_mutex_lock(&pools->mutex);
    pools->stop = true;
    (void)pthread_cond_signal(&pools->kicked);
    (void)pthread_mutex_unlock(&pools->mutex);
    (void)eventfd_write(pools->stop_fd, 1);
    (void)pthread_join(pools->thread, NULL);
    ramet->pools = NULL;
    pools_free(pools);
}
