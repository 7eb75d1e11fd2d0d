/* SPDX-License-Identifier: Apache-2.0 */
/* The classic ioctls (netdevice(7)) do all that is needed, without any tool in the guest. Order:
 * hardware address, address, up, route. Setting an address replaces the old one, and its routes and
 * neighbours. */

#include "agent/identity/network.h"

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

#include "agent/identity/connections.h"
#include "agent/identity/network6.h"

/* A card, and what was set last, also in the snapshot that we were restored from. */
typedef struct Card {
    char name[8];
    bool any;
    bool verified; /* it is still so, and nobody can change it */
    Network network;
} Card;

static Card cards[NETWORK_CARDS_MAX] = {
    {.name = "eth0"}, {.name = "eth1"}, {.name = "eth2"}, {.name = "eth3"}};

static int kept_fd = -1; /* once there is to be a snapshot */

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

/* The ethernet devices with hardware behind them. */
typedef struct Found {
    char names[NETWORK_CARDS_MAX * 2][IFNAMSIZ];
    size_t count;
} Found;

static bool is_card(const char *name) {
    char path[300], type[16];
    (void)snprintf(path, sizeof(path), "/sys/class/net/%s/device", name);
    if (name[0] == '.' || access(path, F_OK) < 0)
        return false;
    (void)snprintf(path, sizeof(path), "/sys/class/net/%s/type", name);
    return read_text(path, type, sizeof(type)) >= 0 && strtol(type, NULL, 10) == ARPHRD_ETHER;
}

static int find_cards(Found *found) {
    DIR *folder = opendir("/sys/class/net");
    if (!folder)
        return -errno;
    for (struct dirent *entry; (entry = readdir(folder));)
        if (found->count < ARRAY_SIZE(found->names) && is_card(entry->d_name))
            copy_text(found->names[found->count++], IFNAMSIZ, entry->d_name);
    (void)closedir(folder);
    return 0;
}

static int find_name(const Found *found, const char *name) {
    for (size_t i = 0; i < found->count; i++)
        if (strcmp(found->names[i], name) == 0)
            return (int)i;
    return -ENODEV;
}

static bool has_mac(int fd, const char *card, const uint8_t *mac) {
    struct ifreq request = request_for(card);
    return ioctl(fd, SIOCGIFHWADDR, &request) == 0 &&
           memcmp(request.ifr_hwaddr.sa_data, mac, 6) == 0;
}

/* By its hardware address, which a boot leaves as the host made it: the kernel counts the cards in
 * an order of its own. Where that is another by now, by its name; and the only one is the first. */
static int find_card(int fd, const Found *found, size_t index, const uint8_t *mac) {
    for (size_t i = 0; i < found->count; i++)
        if (has_mac(fd, found->names[i], mac))
            return (int)i;
    int r = find_name(found, cards[index].name);
    return r < 0 && index == 0 && found->count > 0 ? 0 : r;
}

static int rename_card(int fd, char name[IFNAMSIZ], const char *wanted, Result *result) {
    struct ifreq request = request_for(name);
    int r = set_up(fd, name, false);
    copy_text(request.ifr_newname, sizeof(request.ifr_newname), wanted);
    if (r == 0 && ioctl(fd, SIOCSIFNAME, &request) < 0)
        r = -errno;
    if (r < 0)
        return result_fail(result, -r, "network: cannot call %s %s", name, wanted);
    copy_text(name, IFNAMSIZ, wanted);
    return 0;
}

/* Who has the name that another shall have steps aside. */
static int name_card(int fd, Found *found, int which, size_t index, Result *result) {
    char aside[] = "ramet-aside0";
    const char *wanted = cards[index].name;
    int holder = find_name(found, wanted), r = 0;
    if (holder == which)
        return 0;
    aside[sizeof(aside) - 2] = (char)('0' + index);
    if (holder >= 0)
        r = rename_card(fd, found->names[holder], aside, result);
    return r == 0 ? rename_card(fd, found->names[which], wanted, result) : r;
}

static int name_cards(int fd, const Network *networks, size_t count, Result *result) {
    Found found = {.count = 0};
    int r = find_cards(&found);
    for (size_t i = 0; r == 0 && i < count; i++) {
        int which = find_card(fd, &found, i, networks[i].mac);
        if (which < 0)
            return result_fail(result, ENODEV, "network: the guest has no network card %s",
                               cards[i].name);
        r = name_card(fd, &found, which, i, result);
        if (r == 0 && !networks[i].has_ip6)
            network6_leave_out(cards[i].name);
    }
    return r;
}

static int set_mac(int fd, const char *card, const uint8_t *mac, Result *result) {
    struct ifreq request = request_for(card);
    int r;
    request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
    memcpy(request.ifr_hwaddr.sa_data, mac, 6);
    /* virtio-net can do that while it is up, which is far quicker. */
    if (ioctl(fd, SIOCSIFHWADDR, &request) == 0)
        return 0;
    r = errno == EBUSY ? set_up(fd, card, false) : -errno;
    if (r < 0)
        return result_fail(result, -r, "network: cannot take %s down", card);
    if (ioctl(fd, SIOCSIFHWADDR, &request) < 0)
        return result_fail(result, errno, "network: cannot set the hardware address");
    return 0;
}

static struct sockaddr_in make_address(const uint8_t *bytes) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    memcpy(&address.sin_addr, bytes, 4);
    return address;
}

static int set_address(int fd, const char *card, unsigned long what, const uint8_t *bytes) {
    struct ifreq request = request_for(card);
    struct sockaddr_in address = make_address(bytes);
    memcpy(&request.ifr_addr, &address, sizeof(address));
    return ioctl(fd, what, &request) < 0 ? -errno : 0;
}

static bool has_address(int fd, const char *card, unsigned long what, const uint8_t *bytes) {
    struct ifreq request = request_for(card);
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

static int set_route(int fd, char *card, const Network *network, Result *result) {
    struct sockaddr_in any = {.sin_family = AF_INET}, gateway = make_address(network->gateway);
    struct rtentry route = {.rt_flags = RTF_UP | RTF_GATEWAY, .rt_dev = card};
    memcpy(&route.rt_dst, &any, sizeof(any));
    memcpy(&route.rt_genmask, &any, sizeof(any));
    memcpy(&route.rt_gateway, &gateway, sizeof(gateway));
    if (ioctl(fd, SIOCADDRT, &route) < 0 && errno != EEXIST)
        return result_fail(result, errno, "network: cannot set the default route");
    return 0;
}

static int set_ip(int fd, const char *card, const Network *network, Result *result) {
    uint8_t mask[4];
    int r;
    prefix_to_mask(network->prefix, mask);
    if (has_address(fd, card, SIOCGIFADDR, network->ip) &&
        has_address(fd, card, SIOCGIFNETMASK, mask))
        return 0;
    /* The old address is the only one, so routes and neighbours go with it. It stays up: to take it
     * down waits for the kernel, which a clone that is held must not do. */
    r = set_address(fd, card, SIOCSIFADDR, network->ip);
    if (r == 0)
        r = set_address(fd, card, SIOCSIFNETMASK, mask);
    return r < 0 ? result_fail(result, -r, "network: cannot set the address") : 0;
}

static bool same_addresses(const Network *one, const Network *other) {
    return one->has_ip && other->has_ip && one->prefix == other->prefix &&
           one->has_gateway == other->has_gateway && memcmp(one->ip, other->ip, 4) == 0 &&
           memcmp(one->gateway, other->gateway, 4) == 0;
}

/* Up, and with that address. Then the route is there too, since the card never went down. */
static bool card_has(int fd, const char *card, const Network *network) {
    short flags = 0;
    return get_flags(fd, card, &flags) == 0 && flags & IFF_UP &&
           has_address(fd, card, SIOCGIFADDR, network->ip);
}

static unsigned mask_to_prefix(const struct ifreq *request) {
    struct sockaddr_in mask;
    memcpy(&mask, &request->ifr_addr, sizeof(mask));
    return (unsigned)__builtin_popcount(mask.sin_addr.s_addr);
}

/* An agent that was started anew finds the card as the one before it set it. To look for it and to
 * set it up afresh would have a clone wait for the kernel while it is held. The IPv4 gateway is not
 * learnt: its route is set again, which waits for nobody. */
static void learn(int fd, Card *card) {
    struct ifreq mac = request_for(card->name), ip = mac, mask = mac;
    Network *network = &card->network;
    struct sockaddr_in address;
    short flags = 0;
    if (get_flags(fd, card->name, &flags) < 0 || !(flags & IFF_UP) ||
        ioctl(fd, SIOCGIFHWADDR, &mac) < 0)
        return;
    *network = (Network){.has_mac = true};
    memcpy(network->mac, mac.ifr_hwaddr.sa_data, 6);
    if (ioctl(fd, SIOCGIFADDR, &ip) == 0 && ioctl(fd, SIOCGIFNETMASK, &mask) == 0) {
        memcpy(&address, &ip.ifr_addr, sizeof(address));
        memcpy(network->ip, &address.sin_addr, 4);
        network->prefix = mask_to_prefix(&mask);
        network->has_ip = true;
    }
    network6_learn(card->name, network);
    card->any = true;
}

static void prepare_card(int fd, Card *card) {
    const Network *network = &card->network;
    if (!card->any)
        learn(fd, card);
    if (card->any)
        network6_prepare((size_t)(card - cards), card->name);
    card->verified = card->any && network->has_ip && has_mac(fd, card->name, network->mac) &&
                     card_has(fd, card->name, network);
}

void network_prepare(void) {
    if (kept_fd < 0)
        kept_fd = open_socket();
    for (size_t i = 0; kept_fd >= 0 && i < ARRAY_SIZE(cards); i++)
        prepare_card(kept_fd, &cards[i]);
    connections_prepare();
}

void network_forget(void) {
    for (size_t i = 0; i < ARRAY_SIZE(cards); i++)
        cards[i].verified = false;
    connections_forget();
}

/* A route of no family is refused, but with the lock held (Linux, net/ipv4/fib_frontend.c,
 * ip_rt_ioctl). */
void network_take_locks(void) {
    struct rtentry none = {.rt_dst.sa_family = AF_UNSPEC};
    if (kept_fd >= 0)
        (void)ioctl(kept_fd, SIOCDELRT, &none);
    connections_take_locks();
}

static int set_addresses(int fd, Card *card, const Network *network, Result *result) {
    static const uint8_t none[4] = {0};
    int r = network->has_ip ? set_ip(fd, card->name, network, result) : 0;
    /* a clone without a network of a source that had one */
    if (!network->has_ip && card->any && card->network.has_ip &&
        set_address(fd, card->name, SIOCSIFADDR, none) < 0)
        return result_fail(result, errno, "network: cannot remove the address");
    if (r < 0)
        return r;
    r = set_up(fd, card->name, true);
    if (r < 0)
        return result_fail(result, -r, "network: cannot bring %s up", card->name);
    return network->has_ip && network->has_gateway ? set_route(fd, card->name, network, result) : 0;
}

/* Whose address the card has no more. */
static void reset_connections(const Network *was, const Network *now) {
    if (was->has_ip && !(now->has_ip && memcmp(was->ip, now->ip, sizeof(was->ip)) == 0))
        connections_reset(was->ip, sizeof(was->ip));
    if (was->has_ip6 && !(now->has_ip6 && memcmp(was->ip6, now->ip6, sizeof(was->ip6)) == 0))
        connections_reset(was->ip6, sizeof(was->ip6));
}

static int apply(int fd, Card *card, const Network *network, Result *result) {
    static const Network nothing;
    bool verified = card->verified;
    bool knows_mac = verified && memcmp(card->network.mac, network->mac, 6) == 0;
    int r = 0;
    if (!knows_mac && (verified || !has_mac(fd, card->name, network->mac)))
        r = set_mac(fd, card->name, network->mac, result);
    if (r == 0 && !(card->any && same_addresses(network, &card->network) &&
                    (verified || card_has(fd, card->name, network))))
        r = set_addresses(fd, card, network, result);
    if (r == 0)
        r = network6_apply((size_t)(card - cards), card->name,
                           card->any ? &card->network : &nothing, network, result);
    if (r == 0 && card->any)
        reset_connections(&card->network, network);
    card->any = r == 0;
    card->network = *network;
    return r;
}

static bool all_are_known(size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!cards[i].any)
            return false;
    return true;
}

int network_apply(const Network *networks, size_t count, Result *result) {
    _cleanup_close_ int opened = kept_fd < 0 ? open_socket() : -1;
    int fd = kept_fd < 0 ? opened : kept_fd, r = 0;
    if (!networks[0].has_mac)
        return 0;
    if (fd < 0)
        return result_fail(result, -fd, "network: cannot open a socket");
    if (!all_are_known(count))
        r = name_cards(fd, networks, count, result);
    for (size_t i = 0; r == 0 && i < count; i++)
        r = apply(fd, &cards[i], &networks[i], result);
    return r;
}
