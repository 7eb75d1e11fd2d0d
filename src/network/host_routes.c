/* SPDX-License-Identifier: Apache-2.0 */

#include "network/host_routes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/util.h"

static void add(HostRoutes *routes, uint32_t address, uint32_t mask) {
    unsigned prefix = (unsigned)__builtin_popcount(mask);
    if (prefix == 0)
        return;
    routes->items = reallocarray(routes->items, routes->count + 1, sizeof(*routes->items));
    if (!routes->items)
        abort();
    routes->items[routes->count++] = (Subnet){.address = address & mask, .prefix = prefix};
}

static uint32_t number_of(const struct sockaddr *address) {
    struct sockaddr_in in;
    memcpy(&in, address, sizeof(in));
    return ntohl(in.sin_addr.s_addr);
}

static void add_devices(HostRoutes *routes, const struct ifaddrs *list) {
    for (; list; list = list->ifa_next)
        if (list->ifa_addr && list->ifa_netmask && list->ifa_addr->sa_family == AF_INET)
            add(routes, number_of(list->ifa_addr), number_of(list->ifa_netmask));
}

/* Numbers as they lie in memory, in network order. */
void host_routes_add_table(HostRoutes *routes, const char *text) {
    for (const char *line = strchr(text, '\n'); line && line[1]; line = strchr(line + 1, '\n')) {
        unsigned destination, mask;
        if (sscanf(line + 1, "%*s %x %*x %*x %*d %*d %*d %x", &destination, &mask) == 2)
            add(routes, ntohl(destination), ntohl(mask));
    }
}

int host_routes_read(HostRoutes *routes, Error *error) {
    _cleanup_free_ char *table = NULL;
    struct ifaddrs *list;
    size_t size;
    *routes = (HostRoutes){.count = 0};
    if (getifaddrs(&list) < 0)
        return error_set_errno(error, errno, "cannot list the host's addresses");
    add_devices(routes, list);
    freeifaddrs(list);
    /* which is absent without IPv4 */
    if (fd_read_file_at(AT_FDCWD, "/proc/net/route", MIB, &table, &size) >= 0)
        host_routes_add_table(routes, table);
    return 0;
}

void host_routes_free(HostRoutes *routes) {
    free(routes->items);
    *routes = (HostRoutes){.count = 0};
}

const Subnet *host_routes_find(const HostRoutes *routes, const Subnet *subnet) {
    for (size_t i = 0; i < routes->count; i++)
        if (subnets_overlap(&routes->items[i], subnet))
            return &routes->items[i];
    return NULL;
}
