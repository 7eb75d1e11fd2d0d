/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_HOME_OPERATION_H
#define RAMET_HOME_OPERATION_H

/* One request on its way: when it arrived, who hears of its progress, what ends it early. Each
 * operation on VMs, images and snapshots takes one; it belongs to one thread. */

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"

typedef struct Operation {
    uint64_t origin_usec; /* monotonic: when the request arrived */
    int cancel_fd; /* borrowed; readable or hung up: the client is gone. -1: cannot be cancelled */
    void (*on_event)(void *data, const json_t *event); /* may be NULL */
    void *data;                                        /* borrowed, for on_event */
    Stages stages;
} Operation;

/* origin_usec 0: now. */
void operation_init(Operation *operation, uint64_t origin_usec, int cancel_fd);

/* Begins a stage, and tells: {"event":"stage","name","start_us"}. */
void operation_enter(Operation *operation, const char *stage);

/* The same with a time taken elsewhere (the keeper). */
void operation_enter_at(Operation *operation, const char *stage, uint64_t monotonic_usec);

/* {"event":"progress","what","done_bytes","total_bytes"} (total 0: unknown). */
void operation_progress(Operation *operation, const char *what, uint64_t done_bytes,
                        uint64_t total_bytes);

/* {"event":"note","message"}: something the user should hear of, such as a boot tried again. */
void operation_note(Operation *operation, const char *format, ...) PRINTF_LIKE(2, 3);

/* {"event":"output","line"}: what a command in a guest printed, as text without control characters
 * (utf8_show). */
void operation_output(Operation *operation, const char *line);

/* -ECANCELED (ERROR_CANCELLED) when the client is gone; costs one poll(2). */
int operation_check(const Operation *operation, Error *error);

/* One descriptor, the caller's, that is readable when the client is gone or abort_fd is. Negative
 * errno. */
int operation_join_cancel(const Operation *operation, int abort_fd, Error *error);

#endif
