/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "cli/client.h"
#include "cli/output.h"
#include "cli/verb_rows.h"

#define STOP_BOUND_USEC (60 * USEC_PER_SEC)

static int call_running(ApiId id, json_t **answer, Error *error) {
    _cleanup_free_ char *path = api_path(id, NULL, NULL);
    HttpCall call = HTTP_CALL(api_operation(id)->method, path);
    _cleanup_close_ int fd = -1;
    int r = client_connect_running(&fd, error);
    return r < 0 ? r : http_call_json(fd, &call, answer, error);
}

/* Its pid was told by itself while it ran, and the pidfd was opened before it was asked to stop. */
static int wait_gone(int pidfd, Error *error) {
    struct pollfd poll_fd = {.fd = pidfd, .events = POLLIN};
    uint64_t deadline = clock_monotonic_usec() + STOP_BOUND_USEC;
    int r;
    do {
        r = poll(&poll_fd, 1, clock_poll_timeout(deadline));
    } while (r < 0 && errno == EINTR);
    return r > 0 ? 0
                 : error_set(error, ERROR_TIMEOUT, ETIMEDOUT, "the daemon did not end within 60 s");
}

static int daemon_stop_run(const Args *args, Error *error) {
    _cleanup_json_ json_t *version = NULL, *answer = NULL;
    _cleanup_close_ int pidfd = -1;
    uint64_t pid = 0;
    int r = call_running(API_VERSION, &version, error);
    if (r == 0 && json_get_u64("version", version, "pid", &pid, error) == 0)
        pidfd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
    if (r == 0)
        r = call_running(API_DAEMON_STOP, &answer, error);
    if (r == 0 && pidfd >= 0)
        r = wait_gone(pidfd, error);
    return r == 0 && args->json ? output_json(answer, error) : r;
}

const Verb verb_daemon_stop = {
    .name = "daemon stop",
    .summary = "end the daemon; VMs stay",
    .description = "Asks the daemon to end and waits until it is gone. VMs run on; the next daemon "
                   "finds them. The exit status is 3 when none runs.",
    .examples = "ramet daemon stop",
    .flags = VERB_JSON,
    .run = daemon_stop_run,
};
