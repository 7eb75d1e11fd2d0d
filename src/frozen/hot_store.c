/* SPDX-License-Identifier: Apache-2.0 */
#include "frozen/hot_store.h"

#include <string.h>
#include <systemd/sd-daemon.h>

#include "base/log.h"
#include "base/str.h"

/* fd: -1 for none. */
static void tell(const char *what, const char *id, int fd) {
    _cleanup_free_ char *text = str_format("%s\nFDNAME=" HOT_STORE_PREFIX "%s", what, id);
    int r = sd_pid_notify_with_fds(0, 0, text, &fd, fd >= 0 ? 1 : 0);
    if (r < 0)
        log_warning("cannot tell the service manager of hot memory: %s", strerror(-r));
}

void hot_store_put(const char *id, int fd) {
    tell("FDSTORE=1", id, fd);
}

void hot_store_remove(const char *id) {
    tell("FDSTOREREMOVE=1", id, -1);
}
