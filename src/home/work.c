/* SPDX-License-Identifier: Apache-2.0 */

/* Work that nobody waits for: a detached thread each, counted, so that home_close waits for all.
 */

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "home/home.h"
#include "home/inside.h"

#define STACK_BYTES ((size_t)1 << 20)

typedef struct Work {
    Home *home;
    void (*call)(Home *home, void *data);
    void *data;
} Work;

static void work_ended(Home *home) {
    (void)pthread_mutex_lock(&home->mutex);
    if (--home->workers == 0)
        (void)pthread_cond_broadcast(&home->idle);
    (void)pthread_mutex_unlock(&home->mutex);
}

static void *work_thread(void *data) {
    Work work = *(Work *)data;
    free(data);
    work.call(work.home, work.data);
    work_ended(work.home);
    return NULL;
}

static int start_thread(Work *work) {
    pthread_attr_t attributes;
    pthread_t thread;
    int r;
    (void)pthread_attr_init(&attributes);
    (void)pthread_attr_setstacksize(&attributes, STACK_BYTES);
    (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    r = pthread_create(&thread, &attributes, work_thread, work);
    (void)pthread_attr_destroy(&attributes);
    return -r;
}

int home_work(Home *home, void (*call)(Home *home, void *data), void *data) {
    Work *work = malloc(sizeof(*work));
    int r;
    if (!work)
        abort();
    *work = (Work){home, call, data};
    (void)pthread_mutex_lock(&home->mutex);
    home->workers++;
    (void)pthread_mutex_unlock(&home->mutex);
    r = start_thread(work);
    if (r < 0) {
        log_error("cannot start a thread");
        work_ended(home);
        free(work);
    }
    return r;
}

/* They are made durable once the client has its answer. */
static void *sync_thread(void *data) {
    int fd = (int)(intptr_t)data;
    (void)syncfs(fd);
    (void)fd_close(fd);
    return NULL;
}

void home_sync_later(Home *home) {
    int fd = fcntl(home->home_fd, F_DUPFD_CLOEXEC, 3);
    pthread_t thread;
    if (fd < 0)
        return;
    if (pthread_create(&thread, NULL, sync_thread, (void *)(intptr_t)fd) == 0)
        (void)pthread_detach(thread);
    else
        (void)fd_close(fd);
}
