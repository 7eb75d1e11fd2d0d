/* SPDX-License-Identifier: Apache-2.0 */
/* sd_notify(3): a datagram to the socket that NOTIFY_SOCKET names. An agent that systemd starts
 * again has to say so again, and learns from a file that it may. */

#include "agent/base/notify.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "agent/base/util.h"

#define NAMED_FILE RUN_FOLDER "/named"
#define MESSAGE "READY=1"

static void send_ready(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof(address.sun_path))
        return;
    memcpy(address.sun_path, path, length);
    if (path[0] == '@')
        address.sun_path[0] = '\0';
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    if (fd >= 0 &&
        sendto(fd, MESSAGE, strlen(MESSAGE), MSG_NOSIGNAL, (struct sockaddr *)&address, size) < 0)
        agent_log("cannot tell systemd that this VM is itself");
}

void notify_ready(void) {
    static bool told;
    const char *path = getenv("NOTIFY_SOCKET");
    if (told || !path)
        return;
    told = true;
    (void)write_text(NAMED_FILE, "", 0644);
    send_ready(path);
}

void notify_ready_again(void) {
    if (access(NAMED_FILE, F_OK) == 0)
        notify_ready();
}
