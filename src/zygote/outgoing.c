/* SPDX-License-Identifier: Apache-2.0 */

/* connect(2) and sendto(2) as libslirp calls them, in front of those of the C library. What is
 * closed is refused as by a host where nobody listens.
 *
 * A datagram to the loopback may also be an answer, to who came in through a forward. Those sockets
 * are told by SO_REUSEADDR, which libslirp sets where it listens, and nowhere else. Whoever has
 * such a forward could send further datagrams from it to the loopback, but hears no answer from
 * where it did not come from. */

#include "zygote/outgoing.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/closed_address.h"

#define RESOLVERS_MAX 3 /* resolv.conf(5), MAXNS */
#define DNS_PORT 53

__attribute__((visibility("default"))) int connect(int fd, const struct sockaddr *address,
                                                   socklen_t size);
__attribute__((visibility("default"))) ssize_t sendto(int fd, const void *data, size_t size,
                                                      int flags, const struct sockaddr *address,
                                                      socklen_t address_size);

static struct in_addr resolvers[RESOLVERS_MAX];
static size_t n_resolvers;

void outgoing_prepare(void) {
    FILE *file = fopen("/etc/resolv.conf", "re");
    char line[256], name[64];
    n_resolvers = 0;
    while (file && n_resolvers < RESOLVERS_MAX && fgets(line, sizeof(line), file))
        if (sscanf(line, "nameserver %63s", name) == 1 &&
            inet_pton(AF_INET, name, &resolvers[n_resolvers]) == 1)
            n_resolvers++;
    if (file)
        (void)fclose(file);
}

static bool is_resolver(const struct sockaddr_in *address) {
    for (size_t i = 0; i < n_resolvers; i++)
        if (address->sin_addr.s_addr == resolvers[i].s_addr)
            return address->sin_port == htons(DNS_PORT);
    return false;
}

static bool is_closed(const struct sockaddr *address, socklen_t size) {
    struct sockaddr_in ip;
    struct sockaddr_in6 ip6;
    if (!address || size < sizeof(address->sa_family))
        return false;
    if (address->sa_family == AF_INET && size >= sizeof(ip)) {
        memcpy(&ip, address, sizeof(ip));
        return is_closed_ip((const uint8_t *)&ip.sin_addr) && !is_resolver(&ip);
    }
    if (address->sa_family != AF_INET6 || size < sizeof(ip6))
        return false;
    memcpy(&ip6, address, sizeof(ip6));
    return is_closed_ip6(ip6.sin6_addr.s6_addr);
}

static bool is_forward(int fd) {
    int reuse = 0;
    socklen_t size = sizeof(reuse);
    return getsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &reuse, &size) == 0 && reuse != 0;
}

/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name): of names that are reserved */
int connect(int fd, const struct sockaddr *address, socklen_t size) {
    if (!is_closed(address, size))
        return (int)syscall(SYS_connect, fd, address, size);
    errno = ECONNREFUSED;
    return -1;
}

ssize_t sendto(int fd, const void *data, size_t size, int flags, const struct sockaddr *address,
               socklen_t address_size) {
    if (!is_closed(address, address_size) || is_forward(fd))
        return syscall(SYS_sendto, fd, data, size, flags, address, address_size);
    errno = ECONNREFUSED;
    return -1;
}
/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */
