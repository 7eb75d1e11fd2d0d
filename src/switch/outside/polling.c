/* SPDX-License-Identifier: Apache-2.0 */
#include "switch/outside/polling.h"

/* A descriptor is of one uplink at a time, so one table by number does for all. Closed by one, it
 * may be another's before the first looked again: `listed` says in whose list it is now. */

#include <errno.h>
#include <slirp/libslirp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"

#define EVENTS_PER_ROUND 64
#define FDS_STEP 16

typedef struct Polled {
    const Polling *listed; /* in whose list it is; NULL: in nobody's */
    uint32_t registered;   /* with epoll; 0: not */
    uint32_t wanted;       /* in the last generation that named it */
    uint32_t generation;
    int ready; /* SLIRP_POLL_… */
} Polled;

struct Uplinks {
    LoopSource *timer;
    Loop *loop;     /* borrowed */
    Polled *polled; /* owned, by descriptor */
    int n_polled;
    unsigned n_fds;         /* of all uplinks */
    unsigned most;          /* that they may have */
    Polling *dirty, *timed; /* borrowed: lists */
};

/* ---- descriptors ---- */

static Polled *find_polled(Uplinks *all, int fd) {
    if (fd >= all->n_polled) {
        int n = (fd + 64) & ~63;
        Polled *grown = realloc(all->polled, (size_t)n * sizeof(*grown));
        if (!grown)
            abort();
        memset(grown + all->n_polled, 0, (size_t)(n - all->n_polled) * sizeof(*grown));
        all->polled = grown;
        all->n_polled = n;
    }
    return &all->polled[fd];
}

static void list_fd(Polling *polling, int fd) {
    if (polling->n_fds == polling->room) {
        unsigned room = polling->room + FDS_STEP;
        int *grown = realloc(polling->fds, room * sizeof(*grown));
        if (!grown)
            abort();
        polling->fds = grown;
        polling->room = room;
    }
    polling->fds[polling->n_fds++] = fd;
    polling->all->n_fds++;
}

static uint32_t to_epoll(int events) {
    return (events & SLIRP_POLL_IN ? EPOLLIN : 0) | (events & SLIRP_POLL_OUT ? EPOLLOUT : 0) |
           (events & SLIRP_POLL_PRI ? EPOLLPRI : 0);
}

static int from_epoll(uint32_t events) {
    return (events & EPOLLIN ? SLIRP_POLL_IN : 0) | (events & EPOLLOUT ? SLIRP_POLL_OUT : 0) |
           (events & EPOLLPRI ? SLIRP_POLL_PRI : 0) | (events & EPOLLERR ? SLIRP_POLL_ERR : 0) |
           (events & EPOLLHUP ? SLIRP_POLL_HUP : 0);
}

static void watch(const Polling *polling, int fd, Polled *polled, uint32_t wanted) {
    struct epoll_event event = {.events = wanted, .data.fd = fd};
    int operation = polled->registered ? (wanted ? EPOLL_CTL_MOD : EPOLL_CTL_DEL) : EPOLL_CTL_ADD;
    if (polled->registered == wanted)
        return;
    if (epoll_ctl(polling->events.fd, operation, fd, &event) < 0 && wanted)
        log_warning("cannot wait for descriptor %d: %m", fd);
    polled->registered = wanted;
}

static int add_poll(int fd, int events, void *opaque) {
    Polling *polling = opaque;
    Polled *polled = find_polled(polling->all, fd);
    if (polled->listed != polling) {
        polled->listed = polling;
        list_fd(polling, fd);
    }
    polled->generation = polling->generation;
    polled->wanted = to_epoll(events);
    return fd;
}

static int get_ready(int fd, void *opaque) {
    const Uplinks *all = ((const Polling *)opaque)->all;
    return fd >= 0 && fd < all->n_polled ? all->polled[fd].ready : 0;
}

/* epoll forgets by itself what is closed. It stays in the list until the round's end. */
void polling_forget(Polling *polling, int fd) {
    Polled *polled = fd >= 0 ? find_polled(polling->all, fd) : NULL;
    if (polled && polled->listed == polling)
        watch(polling, fd, polled, 0);
    polling_touch(polling);
}

/* Those that libslirp did not name any more leave the list. */
static void watch_all(Polling *polling) {
    Uplinks *all = polling->all;
    unsigned kept = 0;
    for (unsigned i = 0; i < polling->n_fds; i++) {
        int fd = polling->fds[i];
        Polled *polled = &all->polled[fd];
        if (polled->listed != polling)
            continue;
        bool named = polled->generation == polling->generation;
        watch(polling, fd, polled, named ? polled->wanted : 0);
        if (named) {
            polling->fds[kept++] = fd;
        } else {
            polled->listed = NULL;
        }
    }
    all->n_fds -= polling->n_fds - kept;
    polling->n_fds = kept;
}

static bool is_socket(int fd, const struct sockaddr_in *address, int type) {
    struct sockaddr_in own = {.sin_family = AF_UNSPEC};
    socklen_t size = sizeof(own), type_size = sizeof(int);
    int own_type = 0;
    return getsockname(fd, (struct sockaddr *)&own, &size) == 0 && own.sin_family == AF_INET &&
           own.sin_port == address->sin_port && own.sin_addr.s_addr == address->sin_addr.s_addr &&
           getsockopt(fd, SOL_SOCKET, SO_TYPE, &own_type, &type_size) == 0 && own_type == type;
}

int polling_find_socket(const Polling *polling, const struct sockaddr_in *address, int type) {
    for (unsigned i = 0; i < polling->n_fds; i++) {
        int fd = polling->fds[i];
        const Polled *polled = &polling->all->polled[fd];
        if (polled->listed == polling && polled->registered && is_socket(fd, address, type))
            return fd;
    }
    return -1;
}

/* ---- rounds ---- */

void polling_touch(Polling *polling) {
    if (polling->dirty)
        return;
    polling->dirty = true;
    polling->next_dirty = polling->all->dirty;
    polling->all->dirty = polling;
}

static void poll_slirp(Polling *polling) {
    struct epoll_event events[EVENTS_PER_ROUND];
    Uplinks *all = polling->all;
    int n = epoll_wait(polling->events.fd, events, EVENTS_PER_ROUND, 0);
    for (int i = 0; i < n; i++)
        find_polled(all, events[i].data.fd)->ready = from_epoll(events[i].events);
    slirp_pollfds_poll(polling->slirp, n < 0, get_ready, polling);
    for (int i = 0; i < n; i++)
        all->polled[events[i].data.fd].ready = 0;
    polling_touch(polling);
}

static void on_events(void *data, uint32_t events) {
    poll_slirp(data);
}

static void on_timer(void *data) {
    const Uplinks *all = data;
    uint64_t now = clock_monotonic_usec();
    for (Polling *polling = all->timed; polling; polling = polling->next_timed)
        if (polling->due_usec <= now) {
            polling->due_usec = UINT64_MAX;
            poll_slirp(polling);
        }
}

static void settle(Polling *polling) {
    uint32_t timeout_ms = UINT32_MAX;
    bool again = polling->before(polling->data);
    polling->dirty = false;
    polling->generation++;
    slirp_pollfds_fill(polling->slirp, &timeout_ms, add_poll, polling);
    watch_all(polling);
    uint64_t now = clock_monotonic_usec();
    polling->due_usec = again                      ? now
                        : timeout_ms == UINT32_MAX ? UINT64_MAX
                                                   : now + timeout_ms * USEC_PER_MSEC;
    if (polling->due_usec == UINT64_MAX || polling->timed)
        return;
    polling->timed = true;
    polling->next_timed = polling->all->timed;
    polling->all->timed = polling;
}

/* The first time of all; who has none any more leaves the list. */
static uint64_t first_time(Uplinks *all) {
    uint64_t first = UINT64_MAX;
    for (Polling **link = &all->timed; *link;) {
        Polling *polling = *link;
        if (polling->due_usec != UINT64_MAX) {
            first = MIN_OF(first, polling->due_usec);
            link = &polling->next_timed;
            continue;
        }
        polling->timed = false;
        *link = polling->next_timed;
    }
    return first;
}

void uplinks_settle(Uplinks *all) {
    if (!all->dirty)
        return;
    while (all->dirty) {
        Polling *polling = all->dirty;
        all->dirty = polling->next_dirty;
        settle(polling);
    }
    loop_set_timer(all->timer, first_time(all));
}

/* ---- begin and end ---- */

int uplinks_new(Loop *loop, Uplinks **uplinks) {
    Uplinks *made = calloc(1, sizeof(*made));
    struct rlimit limit = {.rlim_cur = 1024};
    if (!made)
        return -ENOMEM;
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    made->most = (unsigned)(MIN_OF(limit.rlim_cur, (rlim_t)65536) / 2);
    made->loop = loop;
    made->timer = loop_add_timer(loop, UINT64_MAX, on_timer, made);
    *uplinks = made;
    return 0;
}

void uplinks_free(Uplinks *uplinks) {
    if (!uplinks)
        return;
    (void)loop_remove(uplinks->timer);
    free(uplinks->polled);
    free(uplinks);
}

unsigned uplinks_share(const Uplinks *uplinks) {
    return uplinks->n_fds < uplinks->most ? (uplinks->most - uplinks->n_fds) / 4 : 0;
}

int polling_begin(Polling *polling, Uplinks *uplinks) {
    polling->all = uplinks;
    polling->due_usec = UINT64_MAX;
    polling->events.fd = epoll_create1(EPOLL_CLOEXEC);
    if (polling->events.fd < 0)
        return -errno;
    int r = watched_add(uplinks->loop, &polling->events, EPOLLIN, on_events, polling);
    if (r < 0)
        watched_close(&polling->events);
    else
        polling_touch(polling);
    return r;
}

static void leave_dirty(Polling *polling) {
    Polling **link = &polling->all->dirty;
    while (*link && *link != polling)
        link = &(*link)->next_dirty;
    if (*link)
        *link = polling->next_dirty;
}

static void leave_timed(Polling *polling) {
    Polling **link = &polling->all->timed;
    while (*link && *link != polling)
        link = &(*link)->next_timed;
    if (*link)
        *link = polling->next_timed;
}

/* Its descriptors are closed by now, and others get their numbers. */
void polling_end(Polling *polling) {
    for (unsigned i = 0; i < polling->n_fds; i++) {
        Polled *polled = &polling->all->polled[polling->fds[i]];
        if (polled->listed == polling)
            *polled = (Polled){.listed = NULL};
    }
    polling->all->n_fds -= polling->n_fds;
    leave_dirty(polling);
    leave_timed(polling);
    watched_close(&polling->events);
    free(polling->fds);
    *polling = (Polling){.events = {.fd = -1}, .all = polling->all};
}
