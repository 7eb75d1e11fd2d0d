/* SPDX-License-Identifier: Apache-2.0 */

#include "network/bridge/link.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "base/util.h"

#ifndef IFF_TUN_EXCL
#define IFF_TUN_EXCL 0x8000
#endif

typedef struct Each {
    void (*call)(const Link *link, void *data);
    void *data;
} Each;

static int on_message(const struct nlmsghdr *message, void *data) {
    const Each *each = data;
    Link link;
    if (each && link_message_read(message, &link))
        each->call(&link, each->data);
    return MNL_CB_OK;
}

/* Until the acknowledgement, or the end of a dump. */
static int receive(struct mnl_socket *socket, const struct nlmsghdr *request, const Each *each) {
    char buffer[32768];
    int r = MNL_CB_OK;
    while (r > MNL_CB_STOP) {
        ssize_t n = mnl_socket_recvfrom(socket, buffer, sizeof(buffer));
        if (n < 0)
            return -errno;
        r = mnl_cb_run(buffer, (size_t)n, request->nlmsg_seq, mnl_socket_get_portid(socket),
                       on_message, (void *)each);
    }
    return r < 0 ? -errno : 0;
}

static int ask(struct nlmsghdr *request, const Each *each) {
    struct mnl_socket *socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
    int r = 0;
    if (!socket)
        return -errno;
    request->nlmsg_seq = 1;
    if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0 ||
        mnl_socket_sendto(socket, request, request->nlmsg_len) < 0)
        r = -errno;
    if (r == 0)
        r = receive(socket, request, each);
    (void)mnl_socket_close(socket);
    return r;
}

int link_tell(struct nlmsghdr *request) {
    return ask(request, NULL);
}

int link_make_bridge(const char *name, const uint8_t mac[6], unsigned *index) {
    char buffer[LINK_MESSAGE_SIZE];
    int r = ask(link_message_bridge(buffer, name, mac), NULL);
    if (r < 0)
        return r;
    *index = if_nametoindex(name);
    return *index ? 0 : -errno;
}

int link_change(unsigned index, const LinkChange *change) {
    char buffer[LINK_MESSAGE_SIZE];
    return ask(link_message_change(buffer, index, change), NULL);
}

int link_isolate(unsigned index) {
    char buffer[LINK_MESSAGE_SIZE];
    return ask(link_message_isolate(buffer, index), NULL);
}

int link_add_address(unsigned index, const LinkAddress *address) {
    char buffer[LINK_MESSAGE_SIZE];
    return ask(link_message_address(buffer, index, address), NULL);
}

int link_delete(unsigned index) {
    char buffer[LINK_MESSAGE_SIZE];
    int r = ask(link_message_delete(buffer, index), NULL);
    return r == -ENODEV ? 0 : r;
}

static void keep(const Link *link, void *data) {
    *(Link *)data = *link;
}

int link_get(const char *name, Link *link) {
    char buffer[LINK_MESSAGE_SIZE];
    const Each each = {.call = keep, .data = link};
    return ask(link_message_get(buffer, name), &each);
}

int link_each(void (*call)(const Link *link, void *data), void *data) {
    char buffer[LINK_MESSAGE_SIZE];
    const Each each = {.call = call, .data = data};
    return ask(link_message_get(buffer, NULL), &each);
}

/* A port of a bridge has no use for an address, and the kernel would look through the routes of all
 * other devices when it goes up. A host that has no IPv6, or lets nobody set this, goes on as it
 * is. */
static void leave_ipv6_out(const char *name) {
    _cleanup_free_ char *path = str_format("/proc/sys/net/ipv6/conf/%s/disable_ipv6", name);
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd >= 0)
        (void)fd_write_full(fd, "1", 1);
}

/* Frames as they are, without the header of offloads, as the cards of the switch have them: so a
 * device state fits both. */
int link_make_tap(const char *name, int *fd, unsigned *index) {
    _cleanup_close_ int made = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    struct ifreq request = {.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_TUN_EXCL)};
    if (made < 0)
        return -errno;
    (void)snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
    if (ioctl(made, TUNSETIFF, &request) < 0)
        return -errno;
    *index = if_nametoindex(name);
    if (!*index)
        return -errno;
    leave_ipv6_out(name);
    *fd = TAKE_FD(made);
    return 0;
}
