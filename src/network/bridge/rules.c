/* SPDX-License-Identifier: Apache-2.0 */

#include "network/bridge/rules.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <string.h>

/* ---- the rules ---- */

/* What may come from a card: its own addresses, at all three layers; no server's or router's
 * messages; nothing but ARP, IPv4 and IPv6; 1,000 broadcasts a second. ND has its target, and the
 * MAC in its only option: longer messages are dropped, since rules cannot walk through options. */
static const char BRIDGE_TABLE[] =
    "table bridge %1$s {\n"
    "set macs {\ntype ifname . ether_addr\n}\n"
    "set sources {\ntype ifname . ether_addr . ipv4_addr\n}\n"
    "set sources6 {\ntype ifname . ether_addr . ipv6_addr\n}\n"
    "set targets6 {\ntypeof iifname . @th,64,128\n}\n"
    "set options6 {\ntypeof iifname . @th,208,48\n}\n"
    "set floods {\ntype ifname\nsize 65535\nflags dynamic,timeout\ntimeout 1m\n}\n"
    "set lossy {\ntype ifname\n}\n"
    "map bits_out {\ntype ifname : limit\n}\n"
    "map bits_in {\ntype ifname : limit\n}\n"
    "map packets_out {\ntype ifname : limit\n}\n"
    "map packets_in {\ntype ifname : limit\n}\n"
    "map losses_out {\ntypeof iifname . numgen random mod 1000000 : verdict\nflags interval\n}\n"
    "map losses_in {\ntypeof oifname . numgen random mod 1000000 : verdict\nflags interval\n}\n"
    "chain lose_out {\niifname . numgen random mod 1000000 vmap @losses_out\n}\n"
    "chain lose_in {\noifname . numgen random mod 1000000 vmap @losses_in\n}\n"
    "chain flood {\n"
    "pkttype { broadcast, multicast } update @floods { iifname limit rate over 1000/second burst "
    "250 packets } counter drop\naccept\n}\n"
    "chain from_arp {\n"
    "arp operation != { request, reply } counter drop\n"
    "iifname . arp saddr ether . arp saddr ip @sources goto flood\n"
    "arp operation request arp saddr ip 0.0.0.0 iifname . arp saddr ether @macs goto flood\n"
    "counter drop\n}\n"
    "chain from_ip {\n"
    "iifname . ether saddr . ip saddr != @sources counter drop\n"
    "udp sport 67 counter drop\nudp dport { 67, 68 } counter drop\n"
    "goto flood\n}\n"
    "chain from_ip6 {\n"
    "icmpv6 type { nd-router-advert, nd-redirect } counter drop\n"
    "udp sport 547 counter drop\nudp dport { 546, 547 } counter drop\n"
    "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } ip6 length > 32 counter drop\n"
    "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } @th,192,8 { 1, 2 } "
    "iifname . @th,208,48 != @options6 counter drop\n"
    "icmpv6 type nd-neighbor-advert iifname . @th,64,128 != @targets6 counter drop\n"
    "iifname . ether saddr . ip6 saddr @sources6 goto flood\n"
    "ip6 saddr :: icmpv6 type { nd-neighbor-solicit, nd-router-solicit, mld-listener-report, "
    "mld-listener-done, mld2-listener-report } goto flood\n"
    "counter drop\n}\n"
    "chain prerouting {\n"
    "type filter hook prerouting priority -300\npolicy accept\n"
    "iifname != \"%2$s*\" accept\n"
    "iifname @lossy jump lose_out\n"
    "iifname . ether saddr != @macs counter drop\n"
    "meta length > 1500 counter drop\n"
    "limit name iifname map @packets_out counter drop\n"
    "limit name iifname map @bits_out counter drop\n"
    "ether type vmap { arp : goto from_arp, ip : goto from_ip, ip6 : goto from_ip6 }\n"
    "counter drop\n}\n"
    "chain postrouting {\n"
    "type filter hook postrouting priority 300\npolicy accept\n"
    "oifname @lossy jump lose_in\n"
    "limit name oifname map @packets_in counter drop\n"
    "limit name oifname map @bits_in counter drop\n}\n"
    "}\n";

/* What may leave a network. `closing` comes before any translation, so that no forward of the
 * host's loopback is within a guest's reach. A segment of a connection that is not known, as after
 * a fork, is refused. Frames between two cards of a bridge come by here where the host filters
 * bridged frames by inet rules (br_netfilter). */
static const char INET_TABLE[] =
    "table inet %1$s {\n"
    "set networks {\ntype ifname\n}\n"
    "set uplinks {\ntype ifname\n}\n"
    "set opened {\ntype ifname\n}\n"
    "set siblings {\ntype ifname . ifname\n}\n"
    "set gateways {\ntype ipv4_addr\n}\n"
    "set gateways6 {\ntype ipv6_addr\n}\n"
    "map forwards {\n"
    "type inet_proto . ipv4_addr . inet_service : ipv4_addr . inet_service\n}\n"
    "map forwards_any {\ntype inet_proto . inet_service : ipv4_addr . inet_service\n}\n"
    "chain refuse {\n"
    "meta l4proto tcp reject with tcp reset\ncounter reject\n}\n"
    "chain closing {\n"
    "type filter hook prerouting priority raw\npolicy accept\n"
    "iifname != @networks accept\niifname @opened accept\n"
    "ip daddr { 0.0.0.0/8, 127.0.0.0/8, 169.254.0.0/16, 100.100.100.200, 192.0.0.192, "
    "168.63.129.16 } goto refuse\n"
    "ip6 daddr { ::/96, ::ffff:0:0/96, fec0::/10, fd00:ec2::254, fd20:ce::254 } goto refuse\n}\n"
    "chain translating {\n"
    "type nat hook prerouting priority dstnat\npolicy accept\n"
    "iifname @opened ip daddr @gateways meta l4proto { tcp, udp } th dport != 53 dnat ip to "
    "127.0.0.1\n"
    "fib daddr type local dnat ip to meta l4proto . ip daddr . th dport map @forwards\n"
    "fib daddr type local dnat ip to meta l4proto . th dport map @forwards_any\n}\n"
    "chain translating_own {\n"
    "type nat hook output priority -100\npolicy accept\n"
    "fib daddr type local dnat ip to meta l4proto . ip daddr . th dport map @forwards\n"
    "fib daddr type local dnat ip to meta l4proto . th dport map @forwards_any\n}\n"
    "chain hiding {\n"
    "type nat hook postrouting priority srcnat\npolicy accept\n"
    "oifname @networks ip saddr 127.0.0.0/8 masquerade\n"
    "oifname @networks oifname != @uplinks ct status dnat masquerade\n"
    "iifname . oifname @siblings ct status dnat masquerade\n"
    "iifname @networks oifname != @networks masquerade\n}\n"
    "chain leaving {\n"
    "iifname . oifname @siblings accept\n"
    "ct state established,related accept\n"
    "meta l4proto tcp tcp flags & (syn | ack | rst) != syn counter reject with tcp reset\n"
    "ct state invalid counter drop\n"
    "oifname @networks ct status dnat accept\n"
    "oifname @networks goto refuse\n"
    "iifname @uplinks accept\n"
    "goto refuse\n}\n"
    "chain arriving {\n"
    "ct state established,related accept\nct status dnat accept\ncounter drop\n}\n"
    "chain forward {\n"
    "type filter hook forward priority filter\npolicy accept\n"
    "iifname @networks jump leaving\noifname @networks jump arriving\n}\n"
    "chain input {\n"
    "type filter hook input priority filter\npolicy accept\n"
    "iifname != @networks accept\n"
    "ct state established,related accept\n"
    "ip daddr @gateways udp dport 53 accept\n"
    "iifname @opened accept\n"
    "meta l4proto { icmp, igmp, ipv6-icmp } accept\n"
    "meta pkttype != host counter drop\n"
    "ip daddr @gateways goto refuse\n"
    "ip6 daddr @gateways6 goto refuse\n"
    "ip6 daddr fe80::/10 goto refuse\n"
    "iifname @uplinks accept\n"
    "goto refuse\n}\n"
    "}\n";

void rules_remove_tables(const char *table, StrBuf *text) {
    strbuf_add_format(text, "add table inet %1$s\ndelete table inet %1$s\n", table);
    strbuf_add_format(text, "add table bridge %1$s\ndelete table bridge %1$s\n", table);
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
void rules_add_tables(const char *table, const char *tap_prefix, StrBuf *text) {
    rules_remove_tables(table, text);
    strbuf_add_format(text, BRIDGE_TABLE, table, tap_prefix);
    strbuf_add_format(text, INET_TABLE, table);
}
#pragma GCC diagnostic pop

/* ---- elements ---- */

static const char *const VERBS[] = {"add", "delete"};

/* Of a set: added, and for a removal deleted then. */
static void change(const char *family, const char *table, const char *set, bool remove,
                   const char *element, StrBuf *text) {
    const size_t count = remove ? 2 : 1;
    for (size_t i = 0; i < count; i++)
        strbuf_add_format(text, "%s element %s %s %s { %s }\n", VERBS[i], family, table, set,
                          element);
}

static void change_network(const char *table, const NetworkRow *network, const char *device,
                           bool remove, StrBuf *text) {
    const NetworkData *data = &network->data;
    char quoted[IFNAMSIZ + 2], pair[2 * IFNAMSIZ + 8];
    (void)snprintf(quoted, sizeof(quoted), "\"%s\"", device);
    (void)snprintf(pair, sizeof(pair), "\"%s\" . \"%s\"", device, device);
    change("inet", table, "networks", remove, quoted, text);
    change("inet", table, "gateways", remove, data->gateway, text);
    change("inet", table, "gateways6", remove, data->gateway6, text);
    if (!data->no_uplink)
        change("inet", table, "uplinks", remove, quoted, text);
    if (data->allow_host)
        change("inet", table, "opened", remove, quoted, text);
    if (!data->isolated)
        change("inet", table, "siblings", remove, pair, text);
}

void rules_add_network(const char *table, const NetworkRow *network, const char *device,
                       StrBuf *text) {
    change_network(table, network, device, false, text);
}

void rules_remove_network(const char *table, const NetworkRow *network, const char *device,
                          StrBuf *text) {
    change_network(table, network, device, true, text);
}

/* The address that a card makes of its MAC (RFC 4291, appendix A). */
static void link_local_of(const char *mac, char text[46]) {
    struct in6_addr address = {.s6_addr = {0xfe, 0x80, [11] = 0xff, 0xfe}};
    uint8_t *at = &address.s6_addr[8];
    (void)sscanf(mac, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &at[0], &at[1], &at[2], &at[5], &at[6],
                 &at[7]);
    at[0] ^= 2;
    (void)inet_ntop(AF_INET6, &address, text, 46);
}

/* As the number that a set of raw bytes has. */
static void number_of(const char *ip6, char text[35]) {
    struct in6_addr address = {0};
    (void)inet_pton(AF_INET6, ip6, &address);
    text[0] = '0';
    text[1] = 'x';
    hex_encode(address.s6_addr, sizeof(address.s6_addr), text + 2);
}

static void change_ip6(const char *table, const char *tap, const char *mac, const char *ip6,
                       bool remove, StrBuf *text) {
    char element[128], number[35];
    if (!*ip6)
        return;
    number_of(ip6, number);
    (void)snprintf(element, sizeof(element), "\"%s\" . %s . %s", tap, mac, ip6);
    change("bridge", table, "sources6", remove, element, text);
    (void)snprintf(element, sizeof(element), "\"%s\" . %s", tap, number);
    change("bridge", table, "targets6", remove, element, text);
}

static void change_card(const char *table, const char *tap, const VmAddress *address, bool remove,
                        StrBuf *text) {
    char element[128], digits[13] = "", link_local[46];
    const char *mac = address->mac;
    for (size_t i = 0, n = 0; mac[i] && n < 12; i++)
        if (mac[i] != ':')
            digits[n++] = mac[i];
    (void)snprintf(element, sizeof(element), "\"%s\" . %s", tap, mac);
    change("bridge", table, "macs", remove, element, text);
    (void)snprintf(element, sizeof(element), "\"%s\" . 0x%s", tap, digits);
    change("bridge", table, "options6", remove, element, text);
    if (*address->ip) {
        (void)snprintf(element, sizeof(element), "\"%s\" . %s . %s", tap, mac, address->ip);
        change("bridge", table, "sources", remove, element, text);
    }
    link_local_of(mac, link_local);
    change_ip6(table, tap, mac, address->ip6, remove, text);
    change_ip6(table, tap, mac, link_local, remove, text);
}

void rules_add_card(const char *table, const char *tap, const VmAddress *address, StrBuf *text) {
    change_card(table, tap, address, false, text);
}

void rules_remove_card(const char *table, const char *tap, const VmAddress *address, StrBuf *text) {
    change_card(table, tap, address, true, text);
}

/* ---- what is lost ---- */

/* Of the numbers below a million those that mean a loss. */
static void change_loss(const char *table, const char *map, const char *tap, unsigned loss_ppm,
                        bool remove, StrBuf *text) {
    char element[128];
    if (loss_ppm == 0)
        return;
    (void)snprintf(element, sizeof(element), "\"%s\" . 0-%u : drop", tap, loss_ppm - 1);
    change("bridge", table, map, remove, element, text);
}

static void change_shape(const char *table, const char *tap, const Shape *shape, bool remove,
                         StrBuf *text) {
    char quoted[IFNAMSIZ + 2];
    if (shape->loss_out_ppm == 0 && shape->loss_in_ppm == 0)
        return;
    (void)snprintf(quoted, sizeof(quoted), "\"%s\"", tap);
    change("bridge", table, "lossy", remove, quoted, text);
    change_loss(table, "losses_out", tap, shape->loss_out_ppm, remove, text);
    change_loss(table, "losses_in", tap, shape->loss_in_ppm, remove, text);
}

void rules_add_shape(const char *table, const char *tap, const Shape *shape, StrBuf *text) {
    change_shape(table, tap, shape, false, text);
}

void rules_remove_shape(const char *table, const char *tap, const Shape *shape, StrBuf *text) {
    change_shape(table, tap, shape, true, text);
}

/* ---- forwards ---- */

static void forward_key(const PortForward *forward, char key[48]) {
    if (str_equal(forward->host_ip, "0.0.0.0"))
        (void)snprintf(key, 48, "%s . %u", forward->udp ? "udp" : "tcp", forward->host_port);
    else
        (void)snprintf(key, 48, "%s . %s . %u", forward->udp ? "udp" : "tcp", forward->host_ip,
                       forward->host_port);
}

static const char *forward_map(const PortForward *forward) {
    return str_equal(forward->host_ip, "0.0.0.0") ? "forwards_any" : "forwards";
}

void rules_add_forward(const char *table, const PortForward *forward, const char *ip,
                       StrBuf *text) {
    char key[48];
    forward_key(forward, key);
    strbuf_add_format(text, "add element inet %s %s { %s : %s . %u }\n", table,
                      forward_map(forward), key, ip, forward->guest_port);
}

void rules_remove_forward(const char *table, const PortForward *forward, const char *ip,
                          StrBuf *text) {
    char key[48];
    forward_key(forward, key);
    rules_add_forward(table, forward, ip, text);
    strbuf_add_format(text, "delete element inet %s %s { %s }\n", table, forward_map(forward), key);
}
