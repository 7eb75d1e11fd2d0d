/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/process/clock_watch.h"

#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* In some hundred years: what counts is the jump, which ends the wait with ECANCELED. */
#define NEVER_SEC ((time_t)1 << 34)

static void on_timer(void *data, uint32_t events) {
    ClockWatch *watch = data;
    uint64_t count;
    (void)events;
    if (read(watch->timer.fd, &count, sizeof(count)) < 0 && errno == ECANCELED)
        watch->jumped(watch->data);
}

int clock_watch_start(ClockWatch *watch, Loop *loop, void (*jumped)(void *data), void *data) {
    const struct itimerspec never = {.it_value.tv_sec = NEVER_SEC};
    int fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC), r;
    *watch = (ClockWatch){.timer = {.fd = fd}, .jumped = jumped, .data = data};
    if (fd < 0)
        return -errno;
    r = timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, NULL) < 0 ? -errno
                                                                                           : 0;
    if (r == 0)
        r = watched_add(loop, &watch->timer, EPOLLIN, on_timer, watch);
    if (r < 0)
        clock_watch_stop(watch);
    return r;
}

void clock_watch_stop(ClockWatch *watch) {
    watched_close(&watch->timer);
}
