/* SPDX-License-Identifier: Apache-2.0 */
/* The classic ioctls (netdevice(7)) do all that is needed, without any tool in the guest. Order:
 * down, hardware address, up, address, route. Down drops the routes and the neighbours of the old
 * identity; setting an address replaces the old one. */

#include "agent/network.h"

#include <dirent.h>
#include <errno.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <net/route.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static int open_socket(void) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    return fd < 0 ? -errno : fd;
}

static struct ifreq request_for(const char *name) {
    struct ifreq request = {0};

    copy_text(request.ifr_name, sizeof(request.ifr_name), name);
    return request;
}

static int get_flags(int fd, const char *name, short *flags) {
    struct ifreq request = request_for(name);

    if (ioctl(fd, SIOCGIFFLAGS, &request) < 0)
        return -errno;
    *flags = request.ifr_flags;
    return 0;
}

static int set_up(int fd, const char *name, bool up) {
    struct ifreq request = request_for(name);
    int r = get_flags(fd, name, &request.ifr_flags);

    if (r < 0 || ((request.ifr_flags & IFF_UP) != 0) == up)
        return r;
    request.ifr_flags = (short)(up ? request.ifr_flags | IFF_UP : request.ifr_flags & ~IFF_UP);
    return ioctl(fd, SIOCSIFFLAGS, &request) < 0 ? -errno : 0;
}

int network_raise_loopback(void) {
    _cleanup_close_ int fd = open_socket();

    return fd < 0 ? fd : set_up(fd, "lo", true);
}

/* The card: an ethernet device with hardware behind it; eth0 when there are several. */
static int find_card(char *name, size_t room) {
    DIR *folder = opendir("/sys/class/net");
    bool found = false;

    if (!folder)
        return -errno;
    for (struct dirent *entry; (entry = readdir(folder));) {
        char path[300], type[16];

        (void)snprintf(path, sizeof(path), "/sys/class/net/%s/device", entry->d_name);
        if (entry->d_name[0] == '.' || access(path, F_OK) < 0)
            continue;
        (void)snprintf(path, sizeof(path), "/sys/class/net/%s/type", entry->d_name);
        if (read_text(path, type, sizeof(type)) < 0 || strtol(type, NULL, 10) != ARPHRD_ETHER)
            continue;
        if (found && strcmp(entry->d_name, NETWORK_CARD) != 0)
            continue;
        copy_text(name, room, entry->d_name);
        found = true;
    }
    (void)closedir(folder);
    return found ? 0 : -ENODEV;
}

static int rename_card(int fd, const char *name, Result *result) {
    struct ifreq request = request_for(name);

    if (strcmp(name, NETWORK_CARD) == 0)
        return 0;
    int r = set_up(fd, name, false);

    (void)snprintf(request.ifr_newname, sizeof(request.ifr_newname), "%s", NETWORK_CARD);
    if (r == 0 && ioctl(fd, SIOCSIFNAME, &request) < 0)
        r = -errno;
    return r < 0 ? result_fail(result, -r, "network: cannot call %s " NETWORK_CARD, name) : 0;
}

static bool has_mac(int fd, const uint8_t *mac) {
    struct ifreq request = request_for(NETWORK_CARD);

    return ioctl(fd, SIOCGIFHWADDR, &request) == 0 &&
           memcmp(request.ifr_hwaddr.sa_data, mac, 6) == 0;
}

static int set_mac(int fd, const uint8_t *mac, Result *result) {
    struct ifreq request = request_for(NETWORK_CARD);
    int r;

    request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
    memcpy(request.ifr_hwaddr.sa_data, mac, 6);
    /* virtio-net can do that while it is up, which is far quicker. */
    if (ioctl(fd, SIOCSIFHWADDR, &request) == 0)
        return 0;
    r = errno == EBUSY ? set_up(fd, NETWORK_CARD, false) : -errno;
    if (r < 0)
        return result_fail(result, -r, "network: cannot take " NETWORK_CARD " down");
    if (ioctl(fd, SIOCSIFHWADDR, &request) < 0)
        return result_fail(result, errno, "network: cannot set the hardware address");
    return 0;
}

static struct sockaddr_in make_address(const uint8_t *bytes) {
    struct sockaddr_in address = {.sin_family = AF_INET};

    memcpy(&address.sin_addr, bytes, 4);
    return address;
}

static int set_address(int fd, unsigned long what, const uint8_t *bytes) {
    struct ifreq request = request_for(NETWORK_CARD);
    struct sockaddr_in address = make_address(bytes);

    memcpy(&request.ifr_addr, &address, sizeof(address));
    return ioctl(fd, what, &request) < 0 ? -errno : 0;
}

static bool has_address(int fd, unsigned long what, const uint8_t *bytes) {
    struct ifreq request = request_for(NETWORK_CARD);
    struct sockaddr_in address;

    if (ioctl(fd, what, &request) < 0)
        return false;
    memcpy(&address, &request.ifr_addr, sizeof(address));
    return memcmp(&address.sin_addr, bytes, 4) == 0;
}

static void prefix_to_mask(unsigned prefix, uint8_t *mask) {
    uint32_t bits = prefix == 0 ? 0 : htonl((uint32_t)(UINT64_MAX << (32 - MIN_OF(prefix, 32u))));

    memcpy(mask, &bits, 4);
}

static int set_route(int fd, const Network *network, Result *result) {
    char card[] = NETWORK_CARD;
    struct sockaddr_in any = {.sin_family = AF_INET}, gateway = make_address(network->gateway);
    struct rtentry route = {.rt_flags = RTF_UP | RTF_GATEWAY, .rt_dev = card};

    memcpy(&route.rt_dst, &any, sizeof(any));
    memcpy(&route.rt_genmask, &any, sizeof(any));
    memcpy(&route.rt_gateway, &gateway, sizeof(gateway));
    if (ioctl(fd, SIOCADDRT, &route) < 0 && errno != EEXIST)
        return result_fail(result, errno, "network: cannot set the default route");
    return 0;
}

static int set_ip(int fd, const Network *network, Result *result) {
    uint8_t mask[4];
    int r = 0;

    prefix_to_mask(network->prefix, mask);
    if (has_address(fd, SIOCGIFADDR, network->ip) && has_address(fd, SIOCGIFNETMASK, mask))
        return 0;
    /* Through down, so that routes and neighbours of an old address go. */
    if (has_address(fd, SIOCGIFADDR, network->ip) == false)
        r = set_up(fd, NETWORK_CARD, false);
    if (r == 0)
        r = set_address(fd, SIOCSIFADDR, network->ip);
    if (r == 0)
        r = set_address(fd, SIOCSIFNETMASK, mask);
    return r < 0 ? result_fail(result, -r, "network: cannot set the address") : 0;
}

/* What was set last, also in the snapshot that we woke from. */
static struct {
    bool any;
    bool verified; /* it is still so, and nobody can change it */
    Network network;
    int fd; /* kept once there is to be a snapshot */
} last = {.fd = -1};

static bool same_addresses(const Network *one, const Network *other) {
    return one->has_ip && other->has_ip && one->prefix == other->prefix &&
           one->has_gateway == other->has_gateway && memcmp(one->ip, other->ip, 4) == 0 &&
           memcmp(one->gateway, other->gateway, 4) == 0;
}

/* Up, and with that address. Then the route is there too, since the card never went down. */
static bool card_has(int fd, const Network *network) {
    short flags = 0;

    return get_flags(fd, NETWORK_CARD, &flags) == 0 && flags & IFF_UP &&
           has_address(fd, SIOCGIFADDR, network->ip);
}

void network_prepare(void) {
    if (last.fd < 0)
        last.fd = open_socket();
    last.verified = last.fd >= 0 && last.any && last.network.has_ip &&
                    has_mac(last.fd, last.network.mac) && card_has(last.fd, &last.network);
}

void network_forget(void) {
    last.verified = false;
}

/* The networks that there are carry no IPv6. Without this, each clone solicits routers and probes
 * for its own address for some seconds once its link is up, which is a fifth of all that an idle
 * one ever does. A kernel without IPv6 has no such file. */
static void leave_ipv6_out(void) {
    (void)write_text("/proc/sys/net/ipv6/conf/" NETWORK_CARD "/disable_ipv6", "1\n", 0644);
}

static int find_and_rename(int fd, Result *result) {
    char name[IFNAMSIZ];

    if (last.any)
        return 0;
    if (find_card(name, sizeof(name)) < 0)
        return result_fail(result, ENODEV, "network: the guest has no network card");
    int r = rename_card(fd, name, result);

    if (r == 0)
        leave_ipv6_out();
    return r;
}

static int set_addresses(int fd, const Network *network, Result *result) {
    int r = network->has_ip ? set_ip(fd, network, result) : 0;

    if (r < 0)
        return r;
    r = set_up(fd, NETWORK_CARD, true);
    if (r < 0)
        return result_fail(result, -r, "network: cannot bring " NETWORK_CARD " up");
    return network->has_ip && network->has_gateway ? set_route(fd, network, result) : 0;
}

static int apply(int fd, const Network *network, Result *result) {
    bool verified = last.verified;
    bool knows_mac = verified && memcmp(last.network.mac, network->mac, 6) == 0;
    int r = find_and_rename(fd, result);

    if (r == 0 && !knows_mac && (verified || !has_mac(fd, network->mac)))
        r = set_mac(fd, network->mac, result);
    if (r == 0 && !(last.any && same_addresses(network, &last.network) &&
                    (verified || card_has(fd, network))))
        r = set_addresses(fd, network, result);
    last.any = r == 0;
    last.network = *network;
    return r;
}

int network_apply(const Network *network, Result *result) {
    _cleanup_close_ int opened = last.fd < 0 ? open_socket() : -1;
    int fd = last.fd < 0 ? opened : last.fd;

    if (!network->has_mac)
        return 0;
    if (fd < 0)
        return result_fail(result, -fd, "network: cannot open a socket");
    return apply(fd, network, result);
}
