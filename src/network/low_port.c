/* SPDX-License-Identifier: Apache-2.0 */

#include "network/low_port.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"

#define FIRST_FREE_PORT 1024 /* without a privilege, unless the host says otherwise (ip(7)) */
#define BACKLOG 16

static int bind_there(int fd, const SwitchForward *forward) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)forward->host_port)};
    int one = 1;
    memcpy(&address.sin_addr, forward->host_ip, sizeof(forward->host_ip));
    if (!forward->udp)
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    int r = bind(fd, (struct sockaddr *)&address, sizeof(address));
    return r < 0 || forward->udp ? r : listen(fd, BACKLOG);
}

int low_port_open(const SwitchForward *forward) {
    if (forward->host_port >= FIRST_FREE_PORT || geteuid() != 0)
        return -1;
    int type = forward->udp ? SOCK_DGRAM : SOCK_STREAM;
    int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return fd >= 0 && bind_there(fd, forward) < 0 ? fd_close(fd) : fd;
}
