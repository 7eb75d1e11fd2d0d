/* SPDX-License-Identifier: Apache-2.0 */

/* Ready means that a guest's agent has answered and that it is itself; under systemd that is early
 * in a cold start. Who needs more names a command, which is run in the guest until it succeeds. */

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "home/home.h"
#include "home/inside.h"
#include "home/operation.h"
#include "machine/machine.h"
#include "run/guest_run.h"
#include "store/vms.h"

#define PAUSE_USEC (200 * USEC_PER_MSEC)

/* What was waited for may never come when the VM's own program has ended. */
static void add_hint(Home *home, const VmRow *row, Error *error) {
    _cleanup_vm_row_ VmRow now = {0};
    const json_t *status = NULL;
    if (vms_get(home->store, row->id, &now, NULL) >= 0)
        status = json_object_get(now.runtime.program, "exit_status");
    if (status)
        error_set_hint(error, "its program has ended with exit status %d: ramet logs %s",
                       (int)json_integer_value(status), row->name);
    else
        error_set_hint(error, "give it longer with --wait-timeout, or look: ramet exec %s",
                       row->name);
}

/* One line of the last attempt. */
static int explain(Home *home, const VmRow *row, const char *command, uint64_t timeout_s,
                   int status, const StrBuf *output, Error *error) {
    _cleanup_free_ char *said = str_sanitize(output->data ? output->data : "", output->size);
    size_t length = strlen(said);

    while (length > 0 && (said[length - 1] == '\n' || said[length - 1] == ' '))
        said[--length] = '\0';
    if (status < 0)
        (void)error_set(error, ERROR_GUEST_NOT_READY, ETIMEDOUT,
                        "%s runs, but `%.200s` did not end within %llu s; it said: %s", row->name,
                        command, (unsigned long long)timeout_s, length ? said : "nothing");
    else
        (void)error_set(error, ERROR_GUEST_NOT_READY, ETIMEDOUT,
                        "%s runs, but `%.200s` did not succeed within %llu s: exit status %d; it "
                        "said: %s",
                        row->name, command, (unsigned long long)timeout_s, status,
                        length ? said : "nothing");
    add_hint(home, row, error);
    return -ETIMEDOUT;
}

static int pause_between(const Operation *operation, Error *error) {
    struct pollfd client = {.fd = operation->cancel_fd, .events = POLLIN};
    if (poll(&client, 1, (int)(PAUSE_USEC / USEC_PER_MSEC)) > 0)
        return operation_check(operation, error);
    return 0;
}

typedef struct Attempt {
    int status; /* -1: it did not end */
    GuestOutput output;
} Attempt;

/* The one before, if that ended, is kept when this one does not. */
static void keep_attempt(Attempt *last, Attempt *attempt) {
    if (attempt->status >= 0 || last->status < 0) {
        strbuf_free(&last->output.last);
        *last = *attempt;
    } else {
        strbuf_free(&attempt->output.last);
    }
}

static int try_once(Home *home, Operation *operation, const VmRow *row, const char *command,
                    uint64_t timeout_usec, Attempt *last, Error *error) {
    const char *const argv[] = {"/bin/sh", "-c", command, NULL};
    _cleanup_error_ Error failure = ERROR_INIT;
    Attempt attempt = {.status = -1};
    int r = guest_run(home, operation, row, argv, timeout_usec, &attempt.status, &attempt.output,
                      &failure);
    keep_attempt(last, &attempt);
    return r < 0 && failure.kind != ERROR_TIMEOUT ? error_move(error, &failure) : 0;
}

static int try_until(Home *home, Operation *operation, const VmRow *row, const char *command,
                     uint64_t timeout_s, Error *error) {
    uint64_t deadline = clock_monotonic_usec() + timeout_s * USEC_PER_SEC;
    Attempt last = {.status = -1};
    int r = 0;
    for (uint64_t now; r == 0 && last.status != 0 && (now = clock_monotonic_usec()) < deadline;) {
        r = try_once(home, operation, row, command, deadline - now, &last, error);
        if (r == 0 && last.status != 0)
            r = pause_between(operation, error);
    }
    if (r == 0 && last.status != 0)
        r = explain(home, row, command, timeout_s, last.status, &last.output.last, error);
    strbuf_free(&last.output.last);
    return r;
}

int vm_wait_for(Home *home, Operation *operation, const char *reference, const char *command,
                uint64_t timeout_s, Error *error) {
    _cleanup_vm_row_ VmRow row = {0};
    int r = vms_find(home->store, reference, &row, error);
    return r < 0 ? r : try_until(home, operation, &row, command, timeout_s, error);
}
