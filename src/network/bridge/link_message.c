/* SPDX-License-Identifier: Apache-2.0 */

#include "network/bridge/link_message.h"

#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

#include "base/str.h"
#include "base/util.h"

static struct nlmsghdr *start(void *buffer, uint16_t type, uint16_t flags) {
    struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
    message->nlmsg_type = type;
    message->nlmsg_flags = NLM_F_REQUEST | flags;
    return message;
}

static struct ifinfomsg *add_info(struct nlmsghdr *message, unsigned index) {
    struct ifinfomsg *info = mnl_nlmsg_put_extra_header(message, sizeof(*info));
    info->ifi_family = AF_UNSPEC;
    info->ifi_index = (int)index;
    return info;
}

/* A bridge that forwards at once and sends nothing of its own: there is no other way between its
 * ports, so no loop to be found; and groups go to all, since nobody there asks who is in them. */
static void add_bridge_options(struct nlmsghdr *message) {
    struct nlattr *info = mnl_attr_nest_start(message, IFLA_LINKINFO);
    mnl_attr_put_strz(message, IFLA_INFO_KIND, "bridge");
    struct nlattr *data = mnl_attr_nest_start(message, IFLA_INFO_DATA);
    mnl_attr_put_u32(message, IFLA_BR_FORWARD_DELAY, 0);
    mnl_attr_put_u32(message, IFLA_BR_STP_STATE, 0);
    mnl_attr_put_u8(message, IFLA_BR_MCAST_SNOOPING, 0);
    mnl_attr_nest_end(message, data);
    mnl_attr_nest_end(message, info);
}

struct nlmsghdr *link_message_new(void *buffer, const char *name, const char *kind) {
    struct nlmsghdr *message = start(buffer, RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
    (void)add_info(message, 0);
    mnl_attr_put_strz(message, IFLA_IFNAME, name);
    struct nlattr *info = mnl_attr_nest_start(message, IFLA_LINKINFO);
    mnl_attr_put_strz(message, IFLA_INFO_KIND, kind);
    mnl_attr_nest_end(message, info);
    return message;
}

struct nlmsghdr *link_message_bridge(void *buffer, const char *name, const uint8_t mac[6]) {
    struct nlmsghdr *message = start(buffer, RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
    (void)add_info(message, 0);
    mnl_attr_put_strz(message, IFLA_IFNAME, name);
    mnl_attr_put(message, IFLA_ADDRESS, 6, mac);
    add_bridge_options(message);
    return message;
}

/* A port of a bridge has no addresses of its own, so no IPv6 link-local one either. */
static void add_port_options(struct nlmsghdr *message) {
    struct nlattr *families = mnl_attr_nest_start(message, IFLA_AF_SPEC);
    struct nlattr *inet6 = mnl_attr_nest_start(message, AF_INET6);
    mnl_attr_put_u8(message, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
    mnl_attr_nest_end(message, inet6);
    mnl_attr_nest_end(message, families);
}

struct nlmsghdr *link_message_change(void *buffer, unsigned index, const LinkChange *change) {
    struct nlmsghdr *message = start(buffer, RTM_NEWLINK, NLM_F_ACK);
    struct ifinfomsg *info = add_info(message, index);
    if (change->up || change->down)
        info->ifi_change = IFF_UP;
    if (change->up)
        info->ifi_flags = IFF_UP;
    if (change->alias)
        mnl_attr_put(message, IFLA_IFALIAS, strlen(change->alias), change->alias);
    if (change->master) {
        mnl_attr_put_u32(message, IFLA_MASTER, change->master);
        add_port_options(message);
    }
    return message;
}

/* The port's flag, of a device that has its master: a message of the bridge's own family. */
struct nlmsghdr *link_message_isolate(void *buffer, unsigned index) {
    struct nlmsghdr *message = start(buffer, RTM_SETLINK, NLM_F_ACK);
    add_info(message, index)->ifi_family = AF_BRIDGE;
    struct nlattr *port = mnl_attr_nest_start(message, IFLA_PROTINFO);
    mnl_attr_put_u8(message, IFLA_BRPORT_ISOLATED, 1);
    mnl_attr_nest_end(message, port);
    return message;
}

struct nlmsghdr *link_message_delete(void *buffer, unsigned index) {
    struct nlmsghdr *message = start(buffer, RTM_DELLINK, NLM_F_ACK);
    (void)add_info(message, index);
    return message;
}

struct nlmsghdr *link_message_address(void *buffer, unsigned index, const LinkAddress *address) {
    struct nlmsghdr *message = start(buffer, RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE);
    struct ifaddrmsg *info = mnl_nlmsg_put_extra_header(message, sizeof(*info));
    size_t size = address->family == AF_INET ? 4 : 16;
    info->ifa_family = (uint8_t)address->family;
    info->ifa_prefixlen = address->prefix;
    info->ifa_index = index;
    mnl_attr_put(message, IFA_LOCAL, size, address->bytes);
    mnl_attr_put(message, IFA_ADDRESS, size, address->bytes);
    mnl_attr_put_u32(message, IFA_FLAGS, IFA_F_NODAD | IFA_F_PERMANENT);
    return message;
}

struct nlmsghdr *link_message_get(void *buffer, const char *name) {
    struct nlmsghdr *message = start(buffer, RTM_GETLINK, name ? NLM_F_ACK : NLM_F_DUMP);
    (void)add_info(message, 0);
    if (name)
        mnl_attr_put_strz(message, IFLA_IFNAME, name);
    return message;
}

/* ---- reading ---- */

static void read_text(const struct nlattr *attribute, char *text, size_t size) {
    (void)snprintf(text, size, "%.*s", (int)mnl_attr_get_payload_len(attribute),
                   (const char *)mnl_attr_get_payload(attribute));
}

static void read_kind(const struct nlattr *info, Link *link) {
    const struct nlattr *attribute;
    mnl_attr_for_each_nested(attribute, info) if (mnl_attr_get_type(attribute) == IFLA_INFO_KIND)
        read_text(attribute, link->kind, sizeof(link->kind));
}

static void read_counters(const struct nlattr *attribute, Link *link) {
    struct rtnl_link_stats64 stats = {0};
    memcpy(&stats, mnl_attr_get_payload(attribute),
           MIN_OF((size_t)mnl_attr_get_payload_len(attribute), sizeof(stats)));
    link->received_frames = stats.rx_packets;
    link->received_bytes = stats.rx_bytes;
    link->sent_frames = stats.tx_packets;
    link->sent_bytes = stats.tx_bytes;
    link->sent_dropped = stats.tx_dropped;
}

static void read_attribute(const struct nlattr *attribute, Link *link) {
    size_t size = mnl_attr_get_payload_len(attribute);
    switch (mnl_attr_get_type(attribute)) {
    case IFLA_IFNAME:
        read_text(attribute, link->name, sizeof(link->name));
        break;
    case IFLA_IFALIAS:
        read_text(attribute, link->alias, sizeof(link->alias));
        break;
    case IFLA_MASTER:
        link->master = size == sizeof(uint32_t) ? mnl_attr_get_u32(attribute) : 0;
        break;
    case IFLA_ADDRESS:
        if (size == sizeof(link->mac))
            memcpy(link->mac, mnl_attr_get_payload(attribute), sizeof(link->mac));
        break;
    case IFLA_STATS64:
        read_counters(attribute, link);
        break;
    case IFLA_LINKINFO:
        read_kind(attribute, link);
        break;
    default:
        break;
    }
}

bool link_message_read(const struct nlmsghdr *message, Link *link) {
    const struct nlattr *attribute;
    if ((message->nlmsg_type != RTM_NEWLINK && message->nlmsg_type != RTM_DELLINK) ||
        mnl_nlmsg_get_payload_len(message) < sizeof(struct ifinfomsg))
        return false;
    const struct ifinfomsg *info = mnl_nlmsg_get_payload(message);
    if (info->ifi_family != AF_UNSPEC) /* news of a port, not of a device */
        return false;
    *link = (Link){.index = (unsigned)info->ifi_index, .up = info->ifi_flags & IFF_UP};
    mnl_attr_for_each(attribute, message, sizeof(*info)) read_attribute(attribute, link);
    return true;
}
