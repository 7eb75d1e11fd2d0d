/* SPDX-License-Identifier: Apache-2.0 */

/* One thread that sleeps until something is due for a VM, or until a VM with a policy changed. It
 * reads the rows of those VMs alone, so a home without policies costs nothing, and decides by them
 * and the clocks alone, so it does not matter what was going on when a daemon died. What is due is
 * done in threads of its own, a few at a time, under the VM's lock, where it is looked at again.
 *
 * A step that fails is tried again after RETRY_USEC. */

#include "tend/tend.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "home/inside.h"
#include "home/policy.h"
#include "home/row.h"
#include "network/doors.h"
#include "network/sleep.h"
#include "store/vms.h"
#include "tend/idle.h"
#include "tend/steps.h"

#define AT_ONCE 4
#define RETRY_USEC (10 * USEC_PER_SEC)

/* A VM that is worked on, or was without success. */
typedef struct Work {
    char id[VM_ID_SIZE];
    TendWish wish;
    bool busy;
    uint64_t retry_usec; /* CLOCK_BOOTTIME: not before */
    struct Work *next;
} Work;

typedef struct Tend {
    Home *home; /* borrowed */
    pthread_t thread;
    int stop_fd;  /* owned */
    int timer_fd; /* owned: CLOCK_BOOTTIME */
    pthread_mutex_t mutex;
    Work *work; /* owned; with the mutex */
    unsigned busy;
    IdleWatches idle;             /* owned; the thread's */
    struct pollfd *doors;         /* owned, as are the descriptors: of VMs that sleep */
    char (*door_vms)[VM_ID_SIZE]; /* owned: whose they are */
    size_t n_doors;
} Tend;

/* ---- who is worked on ---- */

static Work **find_work(Tend *tend, const char *id) {
    Work **link = &tend->work;
    while (*link && !str_equal((*link)->id, id))
        link = &(*link)->next;
    return link;
}

static void drop_work(Work **link) {
    Work *work = *link;
    *link = work->next;
    free(work);
}

/* NULL: it is worked on, or not to be now. Then *left_usec says when. */
static Work *begin_work(Tend *tend, const char *id, TendWish wish, uint64_t now_usec,
                        uint64_t *left_usec) {
    Work *begun = NULL, **link;
    (void)pthread_mutex_lock(&tend->mutex);
    link = find_work(tend, id);
    if (*link && !(*link)->busy && (*link)->retry_usec > now_usec)
        *left_usec = (*link)->retry_usec - now_usec;
    else if ((!*link || !(*link)->busy) && tend->busy < AT_ONCE)
        begun = *link ? *link : calloc(1, sizeof(*begun));
    if (begun && !*link) {
        str_set(begun->id, id);
        *link = begun;
    }
    if (begun) {
        begun->busy = true;
        begun->wish = wish;
        tend->busy++;
    }
    (void)pthread_mutex_unlock(&tend->mutex);
    return begun;
}

static void end_work(Tend *tend, const char *id, bool failed) {
    Work **link;
    (void)pthread_mutex_lock(&tend->mutex);
    link = find_work(tend, id);
    (*link)->busy = false;
    (*link)->retry_usec = clock_boottime_usec() + RETRY_USEC;
    if (!failed)
        drop_work(link);
    tend->busy--;
    (void)pthread_mutex_unlock(&tend->mutex);
    home_tend_changed(tend->home);
}

static void do_work(Home *home, void *data) {
    _cleanup_error_ Error error = ERROR_INIT;
    const Work *work = data;
    _cleanup_free_ char *id = str_copy(work->id);
    int r = tend_step(home, id, work->wish, &error);
    if (r < 0)
        log_warning("cannot tend VM %s: %s", id, error_message(&error));
    end_work(home->tend, id, r < 0);
}

/* ---- the thread ---- */

static uint64_t begin(Tend *tend, const char *id, TendWish wish, const Now *now) {
    uint64_t left = UINT64_MAX; /* its end wakes us */
    Work *begun = begin_work(tend, id, wish, now->boot_usec, &left);
    if (begun && home_work(tend->home, do_work, begun) < 0)
        end_work(tend, id, true);
    return left;
}

/* A row of a VM that sleeps: who knocks wakes it. */
static void watch_doors(Tend *tend, const VmRow *row) {
    int fds[DOORS_MAX];
    size_t count = doors_take_all(row->id, fds), total = tend->n_doors + count;
    if (count == 0)
        return;
    tend->doors = realloc(tend->doors, (total + 1) * sizeof(*tend->doors));
    tend->door_vms = realloc(tend->door_vms, (total + 1) * sizeof(*tend->door_vms));
    if (!tend->doors || !tend->door_vms)
        abort();
    for (size_t i = 0; i < count; i++) {
        tend->doors[tend->n_doors] = (struct pollfd){.fd = fds[i], .events = POLLIN};
        str_set(tend->door_vms[tend->n_doors], row->id);
        tend->n_doors++;
    }
}

static void forget_doors(Tend *tend) {
    while (tend->n_doors > 0)
        (void)fd_close(tend->doors[--tend->n_doors].fd);
}

static bool is_busy(Tend *tend, const char *id) {
    (void)pthread_mutex_lock(&tend->mutex);
    Work **link = find_work(tend, id);
    bool busy = *link && ((*link)->busy || (*link)->retry_usec > clock_boottime_usec());
    (void)pthread_mutex_unlock(&tend->mutex);
    return busy;
}

/* Its sleep; the time until it is to be looked at again for that. */
static uint64_t look_at_sleep(Tend *tend, const VmRow *row, const Now *now) {
    uint64_t left = UINT64_MAX;
    if (row->state == STATE_STANDBY && row->runtime.timers.dozing) {
        if (is_busy(tend, row->id))
            return RETRY_USEC;
        watch_doors(tend, row);
    }
    if (row->state == STATE_RUNNING && row->spec.policy.idle_usec && !row->runtime.standing_by &&
        idle_look(&tend->idle, tend->home, row, now, &left))
        left = MIN_OF(left, begin(tend, row->id, TEND_DOZE, now));
    return left;
}

/* What is due begins; the time until something else is. */
static uint64_t look_at(Tend *tend, const VmRow *row, const Now *now) {
    uint64_t left, sleep;
    if (row_is_hidden(row))
        return UINT64_MAX;
    if (policy_next(row, now, &left) != STEP_NONE)
        return begin(tend, row->id, TEND_POLICY, now);
    sleep = look_at_sleep(tend, row, now);
    return MIN_OF(left, sleep);
}

static uint64_t look_at_all(Tend *tend) {
    uint64_t left = UINT64_MAX;
    VmRow *rows = NULL;
    size_t count = 0;
    Now now = now_read();
    forget_doors(tend);
    if (vms_list_tended(tend->home->store, &rows, &count, NULL) < 0)
        return RETRY_USEC;
    for (size_t i = 0; i < count; i++) {
        uint64_t next = look_at(tend, &rows[i], &now);
        left = MIN_OF(left, next);
    }
    vm_rows_free(rows, count);
    idle_end_round(&tend->idle);
    return left;
}

static void set_timer(const Tend *tend, uint64_t left_usec) {
    struct itimerspec at = {0};
    if (left_usec != UINT64_MAX)
        at.it_value = (struct timespec){.tv_sec = (time_t)(left_usec / USEC_PER_SEC),
                                        .tv_nsec = (long)(left_usec % USEC_PER_SEC) * 1000 + 1};
    (void)timerfd_settime(tend->timer_fd, 0, &at, NULL);
}

/* The first items of what is waited for; the doors follow. */
enum { ITEM_STOP, ITEM_CHANGED, ITEM_TIMER, ITEM_COUNT };

static void answer_doors(Tend *tend, const struct pollfd *items) {
    Now now = now_read();
    for (size_t i = 0; i < tend->n_doors; i++)
        if (items[i].revents)
            (void)begin(tend, tend->door_vms[i], TEND_WAKE, &now);
}

/* False: it shall end. */
static bool await(Tend *tend) {
    size_t count = ITEM_COUNT + tend->n_doors;
    _cleanup_free_ struct pollfd *items = calloc(count, sizeof(*items));
    eventfd_t changes;
    if (!items)
        abort();
    items[ITEM_STOP] = (struct pollfd){.fd = tend->stop_fd, .events = POLLIN};
    items[ITEM_CHANGED] = (struct pollfd){.fd = tend->home->tend_fd, .events = POLLIN};
    items[ITEM_TIMER] = (struct pollfd){.fd = tend->timer_fd, .events = POLLIN};
    for (size_t i = 0; i < tend->n_doors; i++)
        items[ITEM_COUNT + i] = tend->doors[i];
    while (poll(items, count, -1) < 0 && errno == EINTR)
        ;
    (void)eventfd_read(tend->home->tend_fd, &changes);
    answer_doors(tend, items + ITEM_COUNT);
    return !(items[ITEM_STOP].revents & POLLIN);
}

/* Those of an earlier daemon went with it, perhaps between a VM's waking and its doors'. */
static void set_doors(Tend *tend) {
    VmRow *rows = NULL;
    size_t count = 0;
    if (vms_list_tended(tend->home->store, &rows, &count, NULL) < 0)
        return;
    for (size_t i = 0; i < count; i++)
        if (rows[i].state == STATE_STANDBY && rows[i].runtime.timers.dozing)
            network_shut_doors(tend->home, &rows[i]);
        else if (rows[i].state == STATE_RUNNING && rows[i].spec.policy.idle_usec)
            network_open_doors(tend->home, &rows[i]);
    vm_rows_free(rows, count);
}

static bool await_reconciled(const Tend *tend) {
    struct pollfd items[] = {{.fd = tend->stop_fd, .events = POLLIN},
                             {.fd = tend->home->reconciled_fd, .events = POLLIN}};
    while (poll(items, ARRAY_SIZE(items), -1) < 0 && errno == EINTR)
        ;
    return !(items[0].revents & POLLIN);
}

static void *tend_thread(void *data) {
    Tend *tend = data;
    if (!await_reconciled(tend))
        return NULL;
    set_doors(tend);
    do
        set_timer(tend, look_at_all(tend));
    while (await(tend));
    return NULL;
}

static void tend_free(Tend *tend) {
    while (tend->work)
        drop_work(&tend->work);
    idle_end_round(&tend->idle);
    idle_end_round(&tend->idle); /* whom nobody looked at since */
    forget_doors(tend);
    free(tend->doors);
    free(tend->door_vms);
    (void)fd_close(tend->stop_fd);
    (void)fd_close(tend->timer_fd);
    (void)pthread_mutex_destroy(&tend->mutex);
    free(tend);
}

static void stop_part(Home *home) {
    (void)eventfd_write(home->tend->stop_fd, 1);
    (void)pthread_join(home->tend->thread, NULL);
}

static void release_part(Home *home) {
    tend_free(home->tend);
    home->tend = NULL;
}

void tend_start(Home *home) {
    Tend *tend = calloc(1, sizeof(*tend));
    if (!tend)
        abort();
    tend->home = home;
    tend->stop_fd = eventfd(0, EFD_CLOEXEC);
    tend->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC);
    (void)pthread_mutex_init(&tend->mutex, NULL);
    home->tend = tend;
    if (tend->stop_fd >= 0 && tend->timer_fd >= 0 &&
        pthread_create(&tend->thread, NULL, tend_thread, tend) == 0) {
        home_add_part(home, stop_part, release_part);
        return;
    }
    log_error("cannot start the thread that tends VMs");
    home->tend = NULL;
    tend_free(tend);
}
