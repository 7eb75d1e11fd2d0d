/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_NETWORK_BRIDGE_LINK_MESSAGE_H
#define RAMET_NETWORK_BRIDGE_LINK_MESSAGE_H

/* Messages of rtnetlink (rtnetlink(7), linux/if_link.h) about devices: made, and read. */

#include <libmnl/libmnl.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "network/bridge/bridge_names.h"

#define LINK_MESSAGE_SIZE 1024

/* A device as the kernel tells it. */
typedef struct Link {
    unsigned index;
    unsigned master; /* the bridge that it is a port of; 0: none */
    bool up;
    char name[IFNAMSIZ];
    char kind[16]; /* "bridge", "tun", "" */
    char alias[BRIDGE_ALIAS_SIZE];
    uint8_t mac[6];
    uint64_t received_frames, received_bytes, sent_frames, sent_bytes; /* by the host */
    uint64_t sent_dropped;
} Link;

/* What changes of a device; what is zero, or NULL, stays. */
typedef struct LinkChange {
    const char *alias;
    unsigned master;
    bool up, down;
} LinkChange;

typedef struct LinkAddress {
    int family;
    uint8_t bytes[16];
    uint8_t prefix;
} LinkAddress;

/* Each builds a request that wants an acknowledgement in `buffer`, of LINK_MESSAGE_SIZE. */
struct nlmsghdr *link_message_bridge(void *buffer, const char *name, const uint8_t mac[6]);
/* A device of a kind that has no options. */
struct nlmsghdr *link_message_new(void *buffer, const char *name, const char *kind);

/* What is said of the change, of a device that is there. */
struct nlmsghdr *link_message_change(void *buffer, unsigned index, const LinkChange *change);

/* A port of a bridge that reaches no other such port from now on. */
struct nlmsghdr *link_message_isolate(void *buffer, unsigned index);

/* The device goes. */
struct nlmsghdr *link_message_delete(void *buffer, unsigned index);

/* One address more, without duplicate address detection; one that is there is success. */
struct nlmsghdr *link_message_address(void *buffer, unsigned index, const LinkAddress *address);

/* name NULL: a dump of all devices. */
struct nlmsghdr *link_message_get(void *buffer, const char *name);

/* false: it is no RTM_NEWLINK or RTM_DELLINK of a device. */
bool link_message_read(const struct nlmsghdr *message, Link *link);

#endif
