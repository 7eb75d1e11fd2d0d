/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "daemon/handlers.h"
#include "verbs/doctor_home.h"

#define API_VERSION_NUMBER 1

HANDLER(handle_version) {
    (void)error;
    *answer = json_pack("{s:s, s:i, s:i, s:s}", "version", RAMET_VERSION, "api", API_VERSION_NUMBER,
                        "pid", (int)getpid(), "home", home_path(request->home));
    return 0;
}

HANDLER(handle_openapi) {
    (void)request;
    (void)error;
    *answer = api_openapi();
    return 0;
}

/* The main thread waits on stop_fd; it lets this request end first. */
HANDLER(handle_daemon_stop) {
    (void)answer;
    if (eventfd_write(request->stop_fd, 1) < 0)
        return error_set_errno(error, errno, "cannot stop the daemon");
    return 0;
}

HANDLER(handle_doctor) {
    return home_doctor(request->home, answer, error);
}
