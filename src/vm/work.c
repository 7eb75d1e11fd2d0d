/* SPDX-License-Identifier: Apache-2.0 */

/* Work that nobody waits for: a detached thread each, counted, so that ramet_close waits for all.
 */

#include <stdlib.h>

#include "base/log.h"
#include "vm/internal.h"

#define STACK_BYTES ((size_t)512 << 10)

typedef struct Work {
    Ramet *ramet;
    void (*call)(Ramet *ramet, void *data);
    void *data;
} Work;

static void work_ended(Ramet *ramet) {
    (void)pthread_mutex_lock(&ramet->mutex);
    if (--ramet->workers == 0)
        (void)pthread_cond_broadcast(&ramet->idle);
    (void)pthread_mutex_unlock(&ramet->mutex);
}

static void *work_thread(void *data) {
    Work work = *(Work *)data;

    free(data);
    work.call(work.ramet, work.data);
    work_ended(work.ramet);
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

int ramet_work(Ramet *ramet, void (*call)(Ramet *ramet, void *data), void *data) {
    Work *work = malloc(sizeof(*work));
    int r;

    if (!work)
        abort();
    *work = (Work){ramet, call, data};
    (void)pthread_mutex_lock(&ramet->mutex);
    ramet->workers++;
    (void)pthread_mutex_unlock(&ramet->mutex);
    r = start_thread(work);
    if (r < 0) {
        log_error("cannot start a thread");
        work_ended(ramet);
        free(work);
    }
    return r;
}
