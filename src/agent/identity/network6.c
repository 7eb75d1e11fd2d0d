/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/identity/network6.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <net/route.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* struct in6_ifreq of linux/ipv6.h, which does not go with netinet/in.h. */
typedef struct Address6Request {
    struct in6_addr address;
    uint32_t prefix;
    int index;
} Address6Request;

/* A kernel without IPv6 has no such file. */
static int set_option(const char *card, const char *option, const char *value) {
    char path[96];
    (void)snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/%s", card, option);
    return write_text(path, value, 0644);
}

/* The address was leased: nobody else has it, and no router knows better. */
static void set_options(const char *card) {
    (void)set_option(card, "accept_ra", "0\n");
    (void)set_option(card, "accept_dad", "0\n");
    (void)set_option(card, "addr_gen_mode", "1\n"); /* no address of the kernel's own */
}

void network6_leave_out(const char *card) {
    set_options(card);
    (void)set_option(card, "disable_ipv6", "1\n");
}

/* Opened before the snapshot. To close a file in a clone that is held looks as if others had run
 * (freeze/preemption.h). */
static struct {
    int socket;
    int disable[NETWORK_CARDS_MAX]; /* the cards' disable_ipv6 */
} kept = {.socket = -1, .disable = {-1, -1, -1, -1}};

static int open_socket(void) {
    return socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

void network6_prepare(size_t index, const char *card) {
    char path[96];
    (void)snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/disable_ipv6", card);
    if (kept.socket < 0)
        kept.socket = open_socket();
    if (kept.disable[index] < 0)
        kept.disable[index] = open(path, O_WRONLY | O_CLOEXEC);
}

static int enable(size_t index, const char *card) {
    if (kept.disable[index] >= 0)
        return pwrite(kept.disable[index], "0\n", 2, 0) == 2 ? 0 : -errno;
    set_options(card);
    return set_option(card, "disable_ipv6", "0\n");
}

static int find_index(int fd, const char *card) {
    struct ifreq request = {0};
    copy_text(request.ifr_name, sizeof(request.ifr_name), card);
    return ioctl(fd, SIOCGIFINDEX, &request) < 0 ? -errno : request.ifr_ifindex;
}

static int change_address(int fd, unsigned long what, int index, const Network *network) {
    Address6Request request = {.prefix = network->prefix6, .index = index};
    memcpy(&request.address, network->ip6, sizeof(request.address));
    return ioctl(fd, what, &request) < 0 ? -errno : 0;
}

static int change_route(int fd, unsigned long what, int index, const Network *network) {
    struct in6_rtmsg route = {
        .rtmsg_flags = RTF_UP | RTF_GATEWAY, .rtmsg_metric = 1024, .rtmsg_ifindex = index};
    memcpy(&route.rtmsg_gateway, network->gateway6, sizeof(route.rtmsg_gateway));
    return ioctl(fd, what, &route) < 0 ? -errno : 0;
}

static bool same(const Network *one, const Network *other) {
    return one->has_ip6 == other->has_ip6 && one->has_gateway6 == other->has_gateway6 &&
           one->prefix6 == other->prefix6 && memcmp(one->ip6, other->ip6, 16) == 0 &&
           memcmp(one->gateway6, other->gateway6, 16) == 0;
}

static int set(int fd, const char *card, const Network *was, const Network *now, Result *result) {
    int index = find_index(fd, card), r = 0;
    if (was->has_gateway6)
        (void)change_route(fd, SIOCDELRT, index, was);
    if (was->has_ip6)
        (void)change_address(fd, SIOCDIFADDR, index, was);
    if (now->has_ip6)
        r = change_address(fd, SIOCSIFADDR, index, now);
    if (r == 0 && now->has_gateway6)
        r = change_route(fd, SIOCADDRT, index, now);
    return r < 0 && r != -EEXIST ? result_fail(result, -r, "network: cannot set the IPv6 address")
                                 : 0;
}

int network6_apply(size_t index, const char *card, const Network *was, const Network *now,
                   Result *result) {
    if (same(was, now) || (!was->has_ip6 && enable(index, card) < 0))
        return 0;
    _cleanup_close_ int opened = kept.socket < 0 ? open_socket() : -1;
    int fd = kept.socket < 0 ? opened : kept.socket;
    return fd < 0 ? 0 : set(fd, card, was, now, result);
}

/* 32 hexadecimal digits. */
static void read_address(const char *digits, uint8_t address[16]) {
    for (size_t i = 0; i < 16; i++) {
        char pair[] = {digits[2 * i], digits[2 * i + 1], '\0'};
        address[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
}

static const char *next_line(const char *line) {
    line = strchr(line, '\n');
    return line && line[1] ? line + 1 : NULL;
}

#define GLOBAL_SCOPE 0u

/* Lines: address, index, prefix, scope, flags, name. */
static void learn_address(const char *text, const char *card, Network *network) {
    char digits[33], name[16];
    unsigned prefix, scope;
    for (; text; text = next_line(text)) {
        if (sscanf(text, "%32s %*x %x %x %*x %15s", digits, &prefix, &scope, name) != 4 ||
            scope != GLOBAL_SCOPE || strcmp(name, card) != 0 || strlen(digits) != 32)
            continue;
        read_address(digits, network->ip6);
        network->prefix6 = prefix;
        network->has_ip6 = true;
    }
}

/* Lines: destination and its prefix, source and its prefix, gateway, metric, two counters, flags,
 * name. */
static void learn_gateway(const char *text, const char *card, Network *network) {
    char digits[33], name[16];
    unsigned prefix, flags;
    for (; text; text = next_line(text)) {
        if (sscanf(text, "%*s %x %*s %*x %32s %*x %*x %*x %x %15s", &prefix, digits, &flags,
                   name) != 4 ||
            prefix != 0 || !(flags & RTF_GATEWAY) || strcmp(name, card) != 0 ||
            strlen(digits) != 32)
            continue;
        read_address(digits, network->gateway6);
        network->has_gateway6 = true;
    }
}

void network6_learn(const char *card, Network *network) {
    char text[4096];
    if (read_text("/proc/net/if_inet6", text, sizeof(text)) > 0)
        learn_address(text, card, network);
    if (network->has_ip6 && read_text("/proc/net/ipv6_route", text, sizeof(text)) > 0)
        learn_gateway(text, card, network);
}
