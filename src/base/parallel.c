/* SPDX-License-Identifier: Apache-2.0 */
#include "base/parallel.h"

#include <pthread.h>
#include <unistd.h>

#include "base/util.h"

typedef struct Work {
    void (*work)(void *data);
    void *data;
} Work;

static void *run(void *data) {
    const Work *work = data;
    work->work(work->data);
    return NULL;
}

void parallel_run(size_t threads, void (*work)(void *data), void *data) {
    pthread_t others[PARALLEL_MAX];
    Work shared = {.work = work, .data = data};
    size_t wanted = MIN_OF(threads, (size_t)PARALLEL_MAX), count = 0;
    while (count + 1 < wanted && pthread_create(&others[count], NULL, run, &shared) == 0)
        count++;
    work(data);
    while (count > 0)
        (void)pthread_join(others[--count], NULL);
}

size_t parallel_threads(size_t most) {
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online < 1 ? 1 : MIN_OF((size_t)online, most);
}
