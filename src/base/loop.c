/* SPDX-License-Identifier: Apache-2.0 */
#include "base/loop.h"

/* How it works: a round waits in epoll_pwait2(2) until a descriptor is ready or the first timer is
 * due, then calls the handlers of the ready descriptors, then those of the due timers in order of
 * their times. A timer that a handler sets waits for the next round, so a round always ends.
 *
 * Descriptors are in one list, timers in another; timers are few, so the next one is found by
 * walking over them. A source that is removed leaves epoll at once but stays in memory, marked
 * dead, until the outermost round ends: the round may still have an event that points to it. */

#include <errno.h>
#include <time.h>

#include "base/clock.h"
#include "base/fd.h"

#define EVENTS_PER_ROUND 32

struct LoopSource {
    Loop *loop;       /* borrowed */
    LoopSource *next; /* owned by the loop */
    int fd;           /* borrowed; -1: a timer */
    bool dead;
    uint64_t when_usec; /* UINT64_MAX: never */
    uint64_t set_round; /* the round in which the timer was set */
    LoopFdHandler fd_handler;
    LoopTimerHandler timer_handler;
    void *data; /* borrowed */
};

struct Loop {
    int epoll_fd;        /* owned */
    LoopSource *sources; /* owned: descriptors */
    LoopSource *timers;  /* owned */
    unsigned depth;      /* rounds that are under way: handlers may run rounds of their own */
    uint64_t round;
    bool quit;
    bool any_dead;
    LoopTimerHandler after_round; /* NULL: none */
    void *after_round_data;       /* borrowed */
};

int loop_new(Loop **loop) {
    Loop *made = calloc(1, sizeof(*made));
    if (!made)
        return -ENOMEM;
    made->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (made->epoll_fd < 0) {
        int r = -errno;
        free(made);
        return r;
    }
    *loop = made;
    return 0;
}

static void free_list(LoopSource *list) {
    while (list) {
        LoopSource *source = list;
        list = source->next;
        free(source);
    }
}

void loop_free(Loop *loop) {
    if (!loop)
        return;
    free_list(loop->sources);
    free_list(loop->timers);
    fd_close(loop->epoll_fd);
    free(loop);
}

static LoopSource *add_source(Loop *loop, LoopSource **list, LoopSource source) {
    LoopSource *added = malloc(sizeof(*added));
    if (!added)
        abort();
    *added = source;
    added->loop = loop;
    added->set_round = loop->round;
    added->next = *list;
    *list = added;
    return added;
}

static int control(LoopSource *source, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = source};
    return epoll_ctl(source->loop->epoll_fd, operation, source->fd, &event) < 0 ? -errno : 0;
}

LoopSource *loop_add_fd(Loop *loop, int fd, uint32_t events, LoopFdHandler handler, void *data) {
    LoopSource *source = add_source(
        loop, &loop->sources,
        (LoopSource){.fd = fd, .when_usec = UINT64_MAX, .fd_handler = handler, .data = data});
    int r = control(source, EPOLL_CTL_ADD, events);
    if (r == 0)
        return source;
    loop->sources = source->next;
    free(source);
    errno = -r;
    return NULL;
}

int loop_set_events(LoopSource *source, uint32_t events) {
    return control(source, EPOLL_CTL_MOD, events);
}

LoopSource *loop_add_timer(Loop *loop, uint64_t when_usec, LoopTimerHandler handler, void *data) {
    return add_source(
        loop, &loop->timers,
        (LoopSource){.fd = -1, .when_usec = when_usec, .timer_handler = handler, .data = data});
}

void loop_set_timer(LoopSource *source, uint64_t when_usec) {
    source->when_usec = when_usec;
    source->set_round = source->loop->round;
}

static void free_dead_of(LoopSource **link) {
    while (*link) {
        LoopSource *source = *link;
        if (source->dead) {
            *link = source->next;
            free(source);
        } else {
            link = &source->next;
        }
    }
}

static void free_dead(Loop *loop) {
    if (!loop->any_dead || loop->depth > 0)
        return;
    free_dead_of(&loop->sources);
    free_dead_of(&loop->timers);
    loop->any_dead = false;
}

LoopSource *loop_remove(LoopSource *source) {
    if (!source || source->dead)
        return NULL;
    if (source->fd >= 0)
        (void)control(source, EPOLL_CTL_DEL, 0); /* fails when the descriptor was closed before */
    source->dead = true;
    source->when_usec = UINT64_MAX;
    source->loop->any_dead = true;
    free_dead(source->loop);
    return NULL;
}

int watched_add(Loop *loop, Watched *watched, uint32_t events, LoopFdHandler handler, void *data) {
    watched->source = loop_add_fd(loop, watched->fd, events, handler, data);
    return watched->source ? 0 : -errno;
}

void watched_close(Watched *watched) {
    watched->source = loop_remove(watched->source);
    watched->fd = fd_close(watched->fd);
}

void loop_set_after_round(Loop *loop, LoopTimerHandler handler, void *data) {
    loop->after_round = handler;
    loop->after_round_data = data;
}

/* The timer with the earliest time, of those set before `round`; NULL when none is set. */
static LoopSource *next_timer(const Loop *loop, uint64_t round) {
    LoopSource *next = NULL;
    for (LoopSource *source = loop->timers; source; source = source->next)
        if (source->when_usec < (next ? next->when_usec : UINT64_MAX) && source->set_round < round)
            next = source;
    return next;
}

static void run_timers(Loop *loop, uint64_t round) {
    uint64_t now = clock_monotonic_usec();
    LoopSource *timer;
    while ((timer = next_timer(loop, round)) && timer->when_usec <= now) {
        timer->when_usec = UINT64_MAX;
        timer->timer_handler(timer->data);
    }
}

static int wait_events(Loop *loop, uint64_t deadline_usec, struct epoll_event *events) {
    const LoopSource *timer = next_timer(loop, UINT64_MAX);
    uint64_t until = timer ? MIN_OF(timer->when_usec, deadline_usec) : deadline_usec;
    uint64_t now = clock_monotonic_usec();
    uint64_t left = until > now ? until - now : 0;
    struct timespec timeout = {.tv_sec = (time_t)(left / USEC_PER_SEC),
                               .tv_nsec = (long)(left % USEC_PER_SEC * 1000)};
    int n = epoll_pwait2(loop->epoll_fd, events, EVENTS_PER_ROUND,
                         until == UINT64_MAX ? NULL : &timeout, NULL);
    if (n < 0)
        return errno == EINTR ? 0 : -errno;
    return n;
}

int loop_run_once(Loop *loop, uint64_t deadline_usec) {
    struct epoll_event events[EVENTS_PER_ROUND];
    int n = wait_events(loop, deadline_usec, events);
    if (n < 0)
        return n;
    uint64_t round = ++loop->round;
    loop->depth++;
    for (int i = 0; i < n; i++) {
        LoopSource *source = events[i].data.ptr;
        if (!source->dead)
            source->fd_handler(source->data, events[i].events);
    }
    run_timers(loop, round);
    if (loop->after_round)
        loop->after_round(loop->after_round_data);
    loop->depth--;
    free_dead(loop);
    return 0;
}

int loop_run(Loop *loop) {
    int r = 0;
    while (!loop->quit && r == 0)
        r = loop_run_once(loop, UINT64_MAX);
    loop->quit = false;
    return r;
}

void loop_quit(Loop *loop) {
    loop->quit = true;
}
