/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/tasks/loop_job.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "base/fd.h"

struct LoopJob {
    pthread_t thread;
    Watched ended; /* an eventfd */
    LoopJobCall work, done;
    void *data; /* borrowed */
};

static void *run(void *data) {
    LoopJob *job = data;
    job->work(job->data);
    (void)eventfd_write(job->ended.fd, 1);
    return NULL;
}

static void free_job(LoopJob *job) {
    watched_close(&job->ended);
    free(job);
}

LoopJob *loop_job_wait(LoopJob *job) {
    if (!job)
        return NULL;
    (void)pthread_join(job->thread, NULL);
    free_job(job);
    return NULL;
}

static void on_ended(void *data, uint32_t events) {
    LoopJob *job = data;
    LoopJobCall done = job->done;
    void *argument = job->data;
    (void)loop_job_wait(job);
    done(argument);
}

int loop_job_start(Loop *loop, LoopJobCall work, LoopJobCall done, void *data, LoopJob **job,
                   Error *error) {
    LoopJob *made = calloc(1, sizeof(*made));
    if (!made)
        abort();
    *made = (LoopJob){.work = work, .done = done, .data = data};
    made->ended.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int r = made->ended.fd < 0 ? -errno : watched_add(loop, &made->ended, EPOLLIN, on_ended, made);
    if (r == 0)
        r = -pthread_create(&made->thread, NULL, run, made);
    if (r < 0) {
        free_job(made);
        return error_set_errno(error, -r, "cannot start a thread");
    }
    *job = made;
    return 0;
}
