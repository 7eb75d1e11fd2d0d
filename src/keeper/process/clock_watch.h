/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_KEEPER_PROCESS_CLOCK_WATCH_H
#define RAMET_KEEPER_PROCESS_CLOCK_WATCH_H

/* Tells when the host's wall clock jumped: somebody set it, or the host slept, and meanwhile the
 * clocks of its VMs stood still. timerfd_create(2), TFD_TIMER_CANCEL_ON_SET. */

#include "base/loop.h"

typedef struct ClockWatch {
    Watched timer;
    void (*jumped)(void *data);
    void *data; /* borrowed */
} ClockWatch;

/* 0 or a negative errno. The watch must stay where it is until it is stopped. */
int clock_watch_start(ClockWatch *watch, Loop *loop, void (*jumped)(void *data), void *data);
void clock_watch_stop(ClockWatch *watch);

#endif
