/* SPDX-License-Identifier: Apache-2.0 */

/* One thread that waits for keepers.
 *
 * It polls two kinds of descriptors: the `watch` connection of each running VM's keeper, and a
 * pidfd of each keeper that is our child. A keeper that says something or whose connection ends
 * leads to vm_refresh, in a thread of its own, since that waits for the VM's lock. A child that
 * ended is reaped by its pidfd, so that no other waiter of this process (spawn_run) loses a child
 * to us.
 *
 * Sources are added by any thread and taken away by the watcher's alone, so an event never points
 * to one that is gone. */

#include "run/watcher.h"

#include <errno.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "home/home.h"
#include "home/inside.h"
#include "home/row.h"
#include "proto/keeper.h"
#include "store/vms.h"

#define CALL_TIMEOUT_USEC (30 * USEC_PER_SEC)
#define EVENTS_AT_ONCE 16

typedef enum SourceKind { SOURCE_STOP, SOURCE_CHILD, SOURCE_VM } SourceKind;

typedef struct Source {
    SourceKind kind;
    int fd; /* owned */
    char id[VM_ID_SIZE];
    pid_t keeper; /* SOURCE_VM: which keeper of that VM */
    struct Source *next;
} Source;

struct Watcher {
    Home *home; /* borrowed */
    void (*changed)(Home *home, const char *id);
    int epoll_fd; /* owned */
    int stop_fd;  /* of the source of that kind */
    pthread_t thread;
    bool running;
    pthread_mutex_t mutex; /* guards the list */
    Source *sources;
};

/* Takes the descriptor over, also on failure. */
static int add_source(Watcher *watcher, const Source *template, Error *error) {
    Source *source = calloc(1, sizeof(*source));
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = source};
    if (!source)
        abort();
    *source = *template;
    (void)pthread_mutex_lock(&watcher->mutex);
    source->next = watcher->sources;
    watcher->sources = source;
    (void)pthread_mutex_unlock(&watcher->mutex);
    if (epoll_ctl(watcher->epoll_fd, EPOLL_CTL_ADD, source->fd, &event) == 0)
        return 0;
    /* Nobody will ever hear of it; it goes with the watcher. */
    return error_set_errno(error, errno, "cannot watch a descriptor");
}

static void drop_source(Watcher *watcher, Source *source) {
    Source **link;
    (void)pthread_mutex_lock(&watcher->mutex);
    for (link = &watcher->sources; *link != source;)
        link = &(*link)->next;
    *link = source->next;
    (void)pthread_mutex_unlock(&watcher->mutex);
    (void)epoll_ctl(watcher->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
    (void)fd_close(source->fd);
    free(source);
}

static void reap_child(Watcher *watcher, Source *source) {
    siginfo_t info;
    while (waitid(P_PIDFD, (id_t)source->fd, &info, WEXITED) < 0 && errno == EINTR)
        ;
    drop_source(watcher, source);
}

/* What a keeper says is only a reason to ask it: its status is the truth, however many messages
 * were late or lost. */
static void on_keeper_message(Watcher *watcher, Source *source) {
    KeeperConnection connection = {.fd = source->fd};
    char id[VM_ID_SIZE];
    json_t *message = NULL;
    int r =
        keeper_receive(&connection, clock_monotonic_usec() + CALL_TIMEOUT_USEC, -1, &message, NULL);
    (void)snprintf(id, sizeof(id), "%s", source->id);
    if (r < 0)
        drop_source(watcher, source);
    if (r < 0 || json_object_get(message, "event"))
        watcher->changed(watcher->home, id);
    json_decref(message);
}

static bool handle(Watcher *watcher, Source *source) {
    switch (source->kind) {
    case SOURCE_STOP:
        return false;
    case SOURCE_CHILD:
        reap_child(watcher, source);
        return true;
    case SOURCE_VM:
        on_keeper_message(watcher, source);
        return true;
    }
    return true;
}

static void *watch_thread(void *data) {
    Watcher *watcher = data;
    struct epoll_event events[EVENTS_AT_ONCE];
    for (;;) {
        int n = epoll_wait(watcher->epoll_fd, events, EVENTS_AT_ONCE, -1);
        if (n < 0 && errno != EINTR) {
            log_error("the watcher cannot wait: errno %d", errno);
            return NULL;
        }
        for (int i = 0; i < n; i++)
            if (!handle(watcher, events[i].data.ptr))
                return NULL;
    }
}

static void watcher_stop(Watcher *watcher) {
    if (!watcher->running)
        return;
    (void)eventfd_write(watcher->stop_fd, 1);
    (void)pthread_join(watcher->thread, NULL);
    watcher->running = false;
}

static void watcher_free(Watcher *watcher) {
    watcher_stop(watcher);
    while (watcher->sources)
        drop_source(watcher, watcher->sources);
    (void)fd_close(watcher->epoll_fd);
    (void)pthread_mutex_destroy(&watcher->mutex);
    free(watcher);
}

static void stop_part(Home *home) {
    watcher_stop(home->watcher);
}

static void release_part(Home *home) {
    watcher_free(home->watcher);
}

int watcher_start(Home *home, void (*changed)(Home *home, const char *id), Error *error) {
    Watcher *made = calloc(1, sizeof(*made));
    Source stop = {.kind = SOURCE_STOP};
    int r;
    if (!made)
        abort();
    made->home = home;
    made->changed = changed;
    (void)pthread_mutex_init(&made->mutex, NULL);
    made->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    made->stop_fd = stop.fd = eventfd(0, EFD_CLOEXEC);
    if (made->epoll_fd < 0 || stop.fd < 0)
        r = error_set_errno(error, errno, "cannot make the watcher");
    else
        r = add_source(made, &stop, error);
    if (r >= 0) {
        r = -pthread_create(&made->thread, NULL, watch_thread, made);
        if (r < 0)
            (void)error_set_errno(error, -r, "cannot start the watcher's thread");
    }
    if (r < 0) {
        watcher_free(made);
        return r;
    }
    made->running = true;
    home->watcher = made;
    home_add_part(home, stop_part, release_part);
    return 0;
}

int watcher_add_child(Watcher *watcher, pid_t pid, Error *error) {
    Source child = {.kind = SOURCE_CHILD};
    child.fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (child.fd < 0)
        return error_set_errno(error, errno, "cannot watch process %d", (int)pid);
    return add_source(watcher, &child, error);
}

static bool is_watched(Watcher *watcher, const char *id, pid_t keeper) {
    bool found = false;
    (void)pthread_mutex_lock(&watcher->mutex);
    for (Source *s = watcher->sources; s && !found; s = s->next)
        found = s->kind == SOURCE_VM && s->keeper == keeper && str_equal(s->id, id);
    (void)pthread_mutex_unlock(&watcher->mutex);
    return found;
}

int watcher_add_vm(Watcher *watcher, const char *id, pid_t keeper, int vm_dir_fd, Error *error) {
    _cleanup_json_ json_t *request = json_pack("{s:s}", "op", "watch");
    Source source = {.kind = SOURCE_VM, .keeper = keeper};
    KeeperConnection connection;
    int r;
    if (is_watched(watcher, id, keeper))
        return 0;
    r = keeper_connect(vm_dir_fd, &connection, error);
    if (r < 0)
        return r;
    r = keeper_send(&connection, request, NULL, 0, error);
    if (r < 0) {
        keeper_close(&connection);
        return r;
    }
    source.fd = connection.fd;
    (void)snprintf(source.id, sizeof(source.id), "%s", id);
    return add_source(watcher, &source, error);
}

void watcher_changed(Home *home, const char *id) {
    home->watcher->changed(home, id);
}

void vm_watch(Home *home, const VmRow *row) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_close_ int dir_fd = -1;
    int r = vm_folder_open(home, row->id, &dir_fd, &error);
    if (r >= 0)
        r = watcher_add_vm(home->watcher, row->id, row->runtime.keeper.pid, dir_fd, &error);
    if (r < 0) {
        log_debug("cannot watch %s: %s", row->name, error_message(&error));
        watcher_changed(home, row->id);
    }
}
