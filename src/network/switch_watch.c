/* SPDX-License-Identifier: Apache-2.0 */

#include "network/switch_watch.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/wait.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "home/inside.h"
#include "store/vm_runtime.h"

typedef struct Watched {
    char network[VM_ID_SIZE];
    int fd; /* owned pidfd */
} Watched;

struct SwitchWatch {
    Home *home; /* borrowed */
    void (*ended)(Home *home, const char *network);
    pthread_t thread;
    int wake_fd;           /* owned eventfd: something was added, or it is over */
    pthread_mutex_t mutex; /* guards what follows */
    bool over;
    size_t count;
    Watched *items; /* owned */
};

typedef struct SwitchWatch SwitchWatch;

/* The descriptors to wait for, the wake one first; the caller's. NULL: it is over. */
static struct pollfd *list_fds(SwitchWatch *watch, size_t *count) {
    struct pollfd *fds = NULL;
    (void)pthread_mutex_lock(&watch->mutex);
    if (!watch->over) {
        fds = calloc(watch->count + 1, sizeof(*fds));
        if (!fds)
            abort();
        fds[0] = (struct pollfd){.fd = watch->wake_fd, .events = POLLIN};
        for (size_t i = 0; i < watch->count; i++)
            fds[i + 1] = (struct pollfd){.fd = watch->items[i].fd, .events = POLLIN};
        *count = watch->count + 1;
    }
    (void)pthread_mutex_unlock(&watch->mutex);
    return fds;
}

/* Its network; false: it is not there. */
static bool drop(SwitchWatch *watch, int fd, char network[VM_ID_SIZE]) {
    bool found = false;
    (void)pthread_mutex_lock(&watch->mutex);
    for (size_t i = 0; i < watch->count && !found; i++) {
        if (watch->items[i].fd != fd)
            continue;
        (void)snprintf(network, VM_ID_SIZE, "%s", watch->items[i].network);
        watch->items[i] = watch->items[--watch->count];
        found = true;
    }
    (void)pthread_mutex_unlock(&watch->mutex);
    return found;
}

static void reap(SwitchWatch *watch, int fd) {
    char network[VM_ID_SIZE];
    siginfo_t info;
    if (!drop(watch, fd, network))
        return;
    (void)waitid(P_PIDFD, (id_t)fd, &info,
                 WEXITED | WNOHANG); /* not a child: an earlier daemon's */
    (void)fd_close(fd);
    watch->ended(watch->home, network);
}

static void *watch_thread(void *data) {
    SwitchWatch *watch = data;
    for (;;) {
        size_t count = 0;
        _cleanup_free_ struct pollfd *fds = list_fds(watch, &count);
        eventfd_t value;
        if (!fds)
            return NULL;
        if (poll(fds, count, -1) < 0)
            continue;
        if (fds[0].revents)
            (void)eventfd_read(watch->wake_fd, &value);
        for (size_t i = 1; i < count; i++)
            if (fds[i].revents)
                reap(watch, fds[i].fd);
    }
}

static void stop_part(Home *home) {
    SwitchWatch *watch = home->switches;
    (void)pthread_mutex_lock(&watch->mutex);
    watch->over = true;
    (void)pthread_mutex_unlock(&watch->mutex);
    (void)eventfd_write(watch->wake_fd, 1);
    (void)pthread_join(watch->thread, NULL);
}

static void release_part(Home *home) {
    SwitchWatch *watch = home->switches;
    for (size_t i = 0; i < watch->count; i++)
        (void)fd_close(watch->items[i].fd);
    free(watch->items);
    (void)fd_close(watch->wake_fd);
    (void)pthread_mutex_destroy(&watch->mutex);
    free(watch);
    home->switches = NULL;
}

int switch_watch_start(Home *home, void (*ended)(Home *home, const char *network), Error *error) {
    SwitchWatch *watch = calloc(1, sizeof(*watch));
    int r;
    if (!watch)
        abort();
    *watch = (SwitchWatch){.home = home, .ended = ended, .wake_fd = eventfd(0, EFD_CLOEXEC)};
    (void)pthread_mutex_init(&watch->mutex, NULL);
    r = watch->wake_fd < 0 ? -errno : -pthread_create(&watch->thread, NULL, watch_thread, watch);
    if (r < 0) {
        (void)fd_close(watch->wake_fd);
        free(watch);
        return error_set_errno(error, -r, "cannot watch switches");
    }
    home->switches = watch;
    home_add_part(home, stop_part, release_part);
    return 0;
}

int switch_watch_add(Home *home, const char *network, const ProcessIdentity *process,
                     Error *error) {
    SwitchWatch *watch = home->switches;
    Watched item = {.fd = process_open(process)};
    if (item.fd < 0)
        return error_set_errno(error, -item.fd, "the switch ended");
    str_set(item.network, network);
    (void)pthread_mutex_lock(&watch->mutex);
    watch->items = reallocarray(watch->items, watch->count + 1, sizeof(*watch->items));
    if (!watch->items)
        abort();
    watch->items[watch->count++] = item;
    (void)pthread_mutex_unlock(&watch->mutex);
    (void)eventfd_write(watch->wake_fd, 1);
    return 0;
}
