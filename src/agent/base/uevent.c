/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/base/uevent.h"

#include <errno.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sys/socket.h>

#include "agent/base/util.h"

int uevent_open(void) {
    _cleanup_close_ int fd =
        socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);
    struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = 1};
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return -errno;
    return TAKE_FD(fd);
}

void uevent_wait(int fd, uint64_t deadline_usec) {
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    uint64_t now = now_usec();
    char message[4096];
    if (now >= deadline_usec)
        return;
    uint64_t left_ms = (deadline_usec - now) / 1000 + 1;
    if (fd < 0)
        left_ms = MIN_OF(left_ms, 20u);
    (void)poll(&wait, 1, (int)left_ms);
    while (fd >= 0 && (recv(fd, message, sizeof(message), 0) > 0 || errno == ENOBUFS))
        ;
}
