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

#include "pool/pool_fill.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "frozen/pins.h"
#include "home/home.h"
#include "home/inside.h"
#include "home/op_lock.h"
#include "home/operation.h"
#include "home/spec.h"
#include "machine/create.h"
#include "pool/boot_cache.h"
#include "pool/pool_clone.h"
#include "pool/pool_lab.h"
#include "pool/pool_state.h"
#include "store/images.h"
#include "store/pools.h"
#include "store/snapshots.h"
#include "store/vms.h"

#define LOCK_ID "pools" /* a VM's is hexadecimal */

struct Pools {
    pthread_t thread;
    PoolStates *states; /* owned */
    int stop_fd;        /* owned: readable once it shall end */
};

/* ---- what is known of the pools ---- */

void pools_get_status(Home *home, const char *source, char snapshot[VM_ID_SIZE], json_t **failure) {
    snapshot[0] = '\0';
    *failure = NULL;
    if (home->pools)
        pool_states_get(home->pools->states, source, snapshot, failure);
}

void pools_reset_retry(Home *home, const char *source) {
    if (home->pools)
        pool_states_reset_retry(home->pools->states, source);
}

static void note_failure(Home *home, const PoolRow *pool, const Error *error) {
    _cleanup_json_ json_t *wrapped = json_from_error(error);
    json_t *failure = json_object_get(wrapped, "error");
    pool_states_note_failure(home->pools->states, pool->source, failure);
    log_warning("the pool of %s: %s", pool->name, error_message(error));
    home_event(home, "pool.failed", NULL, pool->name, failure);
}

/* Told once each time that it becomes full. */
static void note_full(Home *home, const PoolRow *pool, bool full) {
    _cleanup_json_ json_t *detail = json_pack("{s:I}", "warm", (json_int_t)pool->wanted);
    if (pool_states_note_full(home->pools->states, pool->source, full))
        home_event(home, "pool.filled", NULL, pool->name, detail);
}

static bool is_stopping(const Pools *pools) {
    struct pollfd item = {.fd = pools->stop_fd, .events = POLLIN};
    return poll(&item, 1, 0) > 0;
}

/* ---- one step ---- */

static int open_image(Home *home, const PoolRow *pool, SnapshotRow *snapshot, Error *error) {
    _cleanup_image_row_ ImageRow image = {0};
    _cleanup_json_ json_t *failure = NULL;
    _cleanup_vm_row_ VmRow planned = {0};
    _cleanup_vm_spec_ VmSpec spec;
    Operation operation;
    int r;
    vm_spec_init(&spec);
    (void)snprintf(spec.image, sizeof(spec.image), "%s", pool->source);
    operation_init(&operation, 0, home->pools->stop_fd);
    operation_enter(&operation, "plan");
    r = images_find(home->store, pool->source, &image, error); /* never built for a pool alone */
    if (r >= 0)
        r = vm_plan_row(home, &operation, &spec, CREATE_ONLY, &planned, error);
    if (r >= 0)
        r = boot_cache_open(home, &operation, &planned, snapshot, &failure, error);
    if (r == 0)
        r = error_set(error, ERROR_FAILED, EIO, "image %s has no boot cache: %s", pool->source,
                      failure ? json_string_value(json_object_get(failure, "message"))
                              : "it is off");
    return r < 0 ? r : 0;
}

/* What the pool's clones grow from: a snapshot, pinned, or one of a lab. */
typedef struct Source {
    SnapshotRow snapshot; /* owned */
    LabSnapshotRow lab;   /* owned */
    bool is_lab;
} Source;

static int open_source(Home *home, const PoolRow *pool, Source *source, Error *error) {
    int r;
    source->is_lab = str_equal(pool->kind, POOL_LAB);
    if (source->is_lab)
        r = lab_snapshots_get(home->store, pool->source, &source->lab, error);
    else if (str_equal(pool->kind, POOL_IMAGE))
        r = open_image(home, pool, &source->snapshot, error);
    else
        r = snapshot_pin(home, pool->source, &source->snapshot, error);
    if (r >= 0)
        pool_states_note_snapshot(home->pools->states, pool->source,
                                  source->is_lab ? source->lab.id : source->snapshot.id);
    return r;
}

static void close_source(Home *home, Source *source) {
    if (*source->snapshot.id)
        snapshot_unpin(home, source->snapshot.id);
    snapshot_row_free(&source->snapshot);
    lab_snapshot_row_free(&source->lab);
}

static uint64_t count_warm(Home *home, const Source *source, const Clones *clones) {
    return source->is_lab ? pool_lab_count(home, clones->rows, clones->count, source->lab.id, NULL)
                          : clones_count(clones, source->snapshot.id);
}

static int make_one(Home *home, const Source *source, Error *error) {
    int cancel_fd = home->pools->stop_fd;
    return source->is_lab ? home->warm_labs->make(home, &source->lab, cancel_fd, error)
                          : pool_make_clone(home, &source->snapshot, cancel_fd, error);
}

static int trim(Home *home, const Source *source, uint64_t keep, Error *error) {
    return source->is_lab ? pool_lab_trim(home, source->lab.id, keep, error)
                          : pool_trim(home, source->snapshot.id, keep, home->pools->stop_fd, error);
}

static int check_budget(Home *home, const PoolRow *pool, const Clones *clones, Error *error) {
    uint64_t held = clones_sum_bytes(clones), more = pool_vms_each(home, pool) * POOL_CLONE_BYTES;
    if (held + more <= home->pool_budget_bytes)
        return 0;
    error_set(error, ERROR_NO_MEMORY, ENOMEM,
              "warm clones take %llu MiB, and the budget for all pools is %llu MiB",
              (unsigned long long)(held / MIB),
              (unsigned long long)(home->pool_budget_bytes / MIB));
    error_set_hint(error, "ask for fewer, or raise RAMET_POOL_MEMORY");
    return -ENOMEM;
}

/* With the pools' lock. 1: something was done. */
static int mend_pool(Home *home, const PoolRow *pool, const Source *source, Error *error) {
    _cleanup_(clones_free) Clones clones = {0};
    uint64_t warm;
    int r;
    r = vms_list(home->store, &clones.rows, &clones.count, error);
    if (r < 0)
        return r;
    warm = count_warm(home, source, &clones);
    note_full(home, pool, warm == pool->wanted);
    if (warm == pool->wanted)
        return 0;
    if (warm > pool->wanted) {
        r = trim(home, source, pool->wanted, error);
    } else {
        r = check_budget(home, pool, &clones, error);
        if (r >= 0)
            r = make_one(home, source, error);
    }
    return r < 0 ? r : 1;
}

/* 1: something was done; 0: it is as it should be, or must wait. */
static int step_pool(Home *home, const PoolRow *pool) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_op_lock_ OpLock *lock = NULL;
    Source source = {.is_lab = false};
    PoolRow now;
    int r;
    if (!pool_states_may_try(home->pools->states, pool->source))
        return 0;
    r = pools_lock(home, "being filled", home->pools->stop_fd, &lock, &error);
    if (r >= 0 && pools_get(home->store, pool->source, &now, NULL) < 0)
        return 0; /* it was ended meanwhile */
    if (r >= 0)
        r = open_source(home, &now, &source, &error);
    if (r >= 0)
        r = mend_pool(home, &now, &source, &error);
    close_source(home, &source);
    lock = op_unlock(lock);
    if (r < 0 && !is_stopping(home->pools))
        note_failure(home, pool, &error);
    else if (r > 0)
        pools_reset_retry(home, pool->source);
    return MAX_OF(r, 0);
}

static bool has_pool(Pools *pools, const PoolRow *rows, size_t count, const char *snapshot) {
    for (size_t i = 0; i < count; i++)
        if (pool_states_may_want(pools->states, rows[i].source, snapshot))
            return true;
    return false;
}

/* Clones of no pool, and those whose keepers answer no more. */
static int remove_strays(Home *home, const PoolRow *pools, size_t count) {
    _cleanup_(clones_free) Clones clones = {0};
    _cleanup_error_ Error error = ERROR_INIT;
    int done = 0;
    if (vms_list(home->store, &clones.rows, &clones.count, NULL) < 0)
        return 0;
    for (size_t i = 0; i < clones.count; i++) {
        const VmRow *row = &clones.rows[i];
        bool ours =
            str_equal(row->runtime.hidden, "pool") && vm_state_is_active(row->state) && !*row->lab;
        if (!ours ||
            (row->state == STATE_WARM && has_pool(home->pools, pools, count, row->snapshot)))
            continue;
        if (pool_remove_clone(home, row->id, home->pools->stop_fd, &error) >= 0)
            done = 1;
        else
            log_warning("cannot remove the clone %s: %s", row->name, error_message(&error));
    }
    return done;
}

/* Whether anything was done. */
static bool step(Home *home) {
    PoolRow *rows = NULL;
    size_t count = 0;
    int done = 0;
    if (pools_list(home->store, &rows, &count, NULL) < 0)
        return false;
    for (size_t i = 0; i < count && !is_stopping(home->pools); i++)
        done |= step_pool(home, &rows[i]);
    if (!done && !is_stopping(home->pools))
        done = remove_strays(home, rows, count) | pool_lab_remove_strays(home, rows, count);
    free(rows);
    return done;
}

/* ---- the thread ---- */

/* False: it shall end. */
static bool wait_for_work(Home *home) {
    Pools *pools = home->pools;
    struct pollfd items[] = {{.fd = home->pools_fd, .events = POLLIN},
                             {.fd = pools->stop_fd, .events = POLLIN}};
    uint64_t retry = pool_states_next_retry(pools->states);
    eventfd_t changes;
    while (poll(items, ARRAY_SIZE(items), retry == UINT64_MAX ? -1 : clock_poll_timeout(retry)) <
               0 &&
           errno == EINTR)
        ;
    (void)eventfd_read(home->pools_fd, &changes);
    return !(items[1].revents & POLLIN);
}

/* The clones of an earlier daemon count once they were looked at: before, they are neither warm nor
 * strays. Returns at once when the pools shall end. */
static void await_reconciled(const Home *home) {
    struct pollfd items[] = {{.fd = home->reconciled_fd, .events = POLLIN},
                             {.fd = home->pools->stop_fd, .events = POLLIN}};
    while (poll(items, ARRAY_SIZE(items), -1) < 0 && errno == EINTR)
        ;
}

static void *fill_thread(void *data) {
    Home *home = data;
    await_reconciled(home);
    do {
        while (!is_stopping(home->pools) && step(home))
            ;
        pool_states_forget(home->pools->states, home->store);
    } while (wait_for_work(home));
    return NULL;
}

int pools_lock(Home *home, const char *what, int cancel_fd, OpLock **lock, Error *error) {
    return op_lock(home->locks, LOCK_ID, what, cancel_fd, lock, error);
}

static void pools_free(Pools *pools) {
    pool_states_free(pools->states);
    (void)fd_close(pools->stop_fd);
    free(pools);
}

static Pools *pools_new(void) {
    Pools *pools = calloc(1, sizeof(*pools));
    if (!pools)
        abort();
    pools->states = pool_states_new();
    pools->stop_fd = eventfd(0, EFD_CLOEXEC);
    return pools;
}

static void pools_stop(Home *home) {
    Pools *pools = home->pools;
    if (!pools)
        return;
    (void)eventfd_write(pools->stop_fd, 1);
    (void)pthread_join(pools->thread, NULL);
    home->pools = NULL;
    pools_free(pools);
}

void pools_start(Home *home) {
    Pools *pools;
    if (home->pools)
        return;
    pools = pools_new();
    home->pools = pools;
    if (pools->stop_fd >= 0 && pthread_create(&pools->thread, NULL, fill_thread, home) == 0) {
        home_add_part(home, pools_stop, NULL);
        return;
    }
    log_error("cannot start the thread that fills pools");
    home->pools = NULL;
    pools_free(pools);
}
