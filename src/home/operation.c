/* SPDX-License-Identifier: Apache-2.0 */

#include "home/operation.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/epoll.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/str.h"

void operation_init(Operation *operation, uint64_t origin_usec, int cancel_fd) {
    *operation = (Operation){
        .origin_usec = origin_usec ? origin_usec : clock_monotonic_usec(),
        .cancel_fd = cancel_fd,
    };
    stages_start(&operation->stages, operation->origin_usec);
}

/* Takes the event over. */
static void tell(Operation *operation, json_t *event) {
    if (operation->on_event && event)
        operation->on_event(operation->data, event);
    json_decref(event);
}

static void tell_stage(Operation *operation, const char *stage) {
    const Stages *stages = &operation->stages;
    uint64_t start = stages->count ? stages->items[stages->count - 1].start_usec : 0;
    if (operation->on_event)
        tell(operation, json_pack("{s:s, s:s, s:I}", "event", "stage", "name", stage, "start_us",
                                  (json_int_t)start));
}

void operation_enter(Operation *operation, const char *stage) {
    stages_enter(&operation->stages, stage);
    tell_stage(operation, stage);
}

void operation_enter_at(Operation *operation, const char *stage, uint64_t monotonic_usec) {
    stages_enter_at(&operation->stages, stage, monotonic_usec);
    tell_stage(operation, stage);
}

void operation_progress(Operation *operation, const char *what, uint64_t done_bytes,
                        uint64_t total_bytes) {
    if (operation->on_event)
        tell(operation,
             json_pack("{s:s, s:s, s:I, s:I}", "event", "progress", "what", what, "done_bytes",
                       (json_int_t)done_bytes, "total_bytes", (json_int_t)total_bytes));
}

void operation_note(Operation *operation, const char *format, ...) {
    _cleanup_free_ char *message = NULL;
    va_list args;
    va_start(args, format);
    message = str_format_va(format, args);
    va_end(args);
    tell(operation, json_pack("{s:s, s:s}", "event", "note", "message", message));
}

void operation_output(Operation *operation, const char *line) {
    if (operation->on_event)
        tell(operation, json_pack("{s:s, s:s}", "event", "output", "line", line));
}

int operation_check(const Operation *operation, Error *error) {
    struct pollfd poll_fd = {.fd = operation->cancel_fd, .events = POLLIN};
    if (operation->cancel_fd < 0 || poll(&poll_fd, 1, 0) <= 0)
        return 0;
    return error_set(error, ERROR_CANCELLED, ECANCELED, "the client went away");
}

int operation_join_cancel(const Operation *operation, int abort_fd, Error *error) {
    _cleanup_close_ int joined = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    if (joined < 0 || epoll_ctl(joined, EPOLL_CTL_ADD, abort_fd, &event) < 0 ||
        (operation->cancel_fd >= 0 &&
         epoll_ctl(joined, EPOLL_CTL_ADD, operation->cancel_fd, &event) < 0))
        return error_set_errno(error, errno, "cannot watch the client");
    return TAKE_FD(joined);
}
