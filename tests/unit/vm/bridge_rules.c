/* SPDX-License-Identifier: Apache-2.0 */

/* Networks over a bridge without a host's bridge: names and aliases, the commands that nftables is
 * told, the messages to rtnetlink, the list of TAP devices. */

#include "network/bridge/rules.h"

#include <linux/if_link.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_mirred.h>
#include <netinet/in.h>
#include <string.h>

#include "base/str.h"
#include "network/bridge/announce.h"
#include "network/bridge/bridge_names.h"
#include "network/bridge/host_forwarding.h"
#include "network/bridge/line.h"
#include "network/bridge/link_message.h"
#include "network/bridge/qdisc_message.h"
#include "network/bridge/taps.h"

#include "check.h"

#define NETWORK "5f0e1d2c3b4a59687786950413223140"
#define VM "00112233445566778899aabbccddeeff"

static void test_names(void) {
    char name[IFNAMSIZ], alias[BRIDGE_ALIAS_SIZE], use[BRIDGE_USE_SIZE], network[VM_ID_SIZE];
    BridgeNames names, others;
    bridge_names_of("/var/lib/ramet", &names);
    bridge_names_of("/var/lib/other", &others);
    CHECK(!str_equal(names.table, others.table) && !str_equal(names.tap_prefix, others.tap_prefix));
    bridge_device_name(NETWORK, name);
    CHECK_STR(name, "ramet5f0e1d2c");
    bridge_tap_name(&names, name);
    CHECK(str_has_prefix(name, names.tap_prefix) && strlen(name) == IFNAMSIZ - 1);
    bridge_card_use(VM, 1, use);
    bridge_alias(&names, NETWORK, use, alias);
    CHECK(bridge_alias_parse(&names, alias, network, use));
    CHECK_STR(network, NETWORK);
    CHECK_STR(use, VM "/1");
    CHECK(!bridge_alias_parse(&others, alias, network, use));
    CHECK(!bridge_alias_parse(&names, "ramet", network, use));
    CHECK(!bridge_alias_parse(&names, "", network, use));
    CHECK(!bridge_alias_parse(&names, "uplink of the office", network, use));
}

static bool says(const StrBuf *text, const char *line) {
    return strstr(text->data, line);
}

static void test_tables(void) {
    _cleanup_(strbuf_free) StrBuf text = {0};
    rules_add_tables("ramet-1", "rt123456", &text);
    CHECK(str_has_prefix(text.data, "add table inet ramet-1\ndelete table inet ramet-1\n"));
    CHECK(says(&text, "table bridge ramet-1 {") && says(&text, "table inet ramet-1 {"));
    CHECK(says(&text, "iifname != \"rt123456*\" accept\n"));
    CHECK(!strchr(text.data, '%'));
}

static void test_network(void) {
    _cleanup_(strbuf_free) StrBuf text = {0}, removed = {0};
    NetworkRow network = {.data = {.gateway = "10.1.0.1", .gateway6 = "fd00::1"}};
    rules_add_network("t", &network, "br", &text);
    CHECK_STR(text.data, "add element inet t networks { \"br\" }\n"
                         "add element inet t gateways { 10.1.0.1 }\n"
                         "add element inet t gateways6 { fd00::1 }\n"
                         "add element inet t uplinks { \"br\" }\n"
                         "add element inet t siblings { \"br\" . \"br\" }\n");
    network.data.isolated = network.data.no_uplink = network.data.allow_host = true;
    rules_remove_network("t", &network, "br", &removed);
    CHECK(says(&removed, "add element inet t opened { \"br\" }\n"
                         "delete element inet t opened { \"br\" }\n"));
    CHECK(!says(&removed, "uplinks") && !says(&removed, "siblings"));
}

static void test_card(void) {
    _cleanup_(strbuf_free) StrBuf text = {0}, removed = {0};
    const VmAddress address = {.mac = "52:54:00:00:00:02", .ip = "10.1.0.2", .ip6 = "fd00::2"};
    rules_add_card("t", "rt1", &address, &text);
    CHECK_STR(text.data,
              "add element bridge t macs { \"rt1\" . 52:54:00:00:00:02 }\n"
              "add element bridge t options6 { \"rt1\" . 0x525400000002 }\n"
              "add element bridge t sources { \"rt1\" . 52:54:00:00:00:02 . 10.1.0.2 }\n"
              "add element bridge t sources6 { \"rt1\" . 52:54:00:00:00:02 . fd00::2 }\n"
              "add element bridge t targets6 { \"rt1\" . 0xfd000000000000000000000000000002 }\n"
              "add element bridge t sources6 { \"rt1\" . 52:54:00:00:00:02 . "
              "fe80::5054:ff:fe00:2 }\n"
              "add element bridge t targets6 { \"rt1\" . 0xfe80000000000000505400fffe000002 }\n");
    rules_remove_card("t", "rt1", &address, &removed);
    CHECK(says(&removed, "delete element bridge t macs { \"rt1\" . 52:54:00:00:00:02 }\n"));
}

/* What a network and a VM lose and delay together. */
static void test_shapes(void) {
    const Impairment none = {.cut = false}, cut = {.cut = true}, half = {.loss_ppm = 500000};
    const Impairment slow = {.latency_usec = 1000, .jitter_usec = 10, .rate_bps = 8000};
    const Impairment slower = {.latency_usec = 500, .rate_bps = 4000};
    Shape shape = shape_of(&none, &none);
    CHECK(!shape.loss_out_ppm && !shape.loss_in_ppm && !shape.shares);
    CHECK(shape_line_is_none(&shape.in) && shape_line_is_none(&shape.out));
    shape = shape_of(&half, &half); /* the network's counts once, where frames come from */
    CHECK_INT(shape.loss_out_ppm, 750000);
    CHECK_INT(shape.loss_in_ppm, 500000);
    shape = shape_of(&cut, &half);
    CHECK(shape.loss_out_ppm == SHAPE_ALL_PPM && shape.loss_in_ppm == SHAPE_ALL_PPM);
    shape = shape_of(&half, &cut);
    CHECK(shape.loss_out_ppm == SHAPE_ALL_PPM && shape.loss_in_ppm == SHAPE_ALL_PPM);
    shape = shape_of(&slow, &none);
    CHECK(shape.shares && shape_line_is_none(&shape.in) && shape_line_is_none(&shape.out));
    shape = shape_of(&slow, &slower);
    CHECK(!shape.shares && shape.in.latency_usec == 500 && shape.in.rate_bps == 4000);
    CHECK(shape.out.latency_usec == 1500 && shape.out.jitter_usec == 10 &&
          shape.out.rate_bps == 4000);
    CHECK(shape_line_waits(&shape.in) && !shape_line_waits(&(ShapeLine){.rate_bps = 1}));
}

static void test_losses(void) {
    _cleanup_(strbuf_free) StrBuf text = {0}, removed = {0}, nothing = {0};
    const Shape shape = {.loss_out_ppm = 1000000, .loss_in_ppm = 500000};
    rules_add_shape("t", "rt1", &shape, &text);
    CHECK_STR(text.data, "add element bridge t lossy { \"rt1\" }\n"
                         "add element bridge t losses_out { \"rt1\" . 0-999999 : drop }\n"
                         "add element bridge t losses_in { \"rt1\" . 0-499999 : drop }\n");
    rules_remove_shape("t", "rt1", &(Shape){.loss_in_ppm = 1}, &removed);
    CHECK_STR(removed.data, "add element bridge t lossy { \"rt1\" }\n"
                            "delete element bridge t lossy { \"rt1\" }\n"
                            "add element bridge t losses_in { \"rt1\" . 0-0 : drop }\n"
                            "delete element bridge t losses_in { \"rt1\" . 0-0 : drop }\n");
    rules_add_shape("t", "rt1", &(Shape){.in = {.rate_bps = 8}}, &nothing);
    CHECK(!nothing.data);
}

static void test_forwards(void) {
    _cleanup_(strbuf_free) StrBuf text = {0};
    const PortForward one = {.host_ip = "127.0.0.1", .host_port = 8080, .guest_port = 80};
    const PortForward any = {
        .host_ip = "0.0.0.0", .host_port = 5353, .guest_port = 53, .udp = true};
    rules_add_forward("t", &one, "10.1.0.2", &text);
    rules_remove_forward("t", &any, "10.1.0.2", &text);
    CHECK_STR(text.data, "add element inet t forwards { tcp . 127.0.0.1 . 8080 : 10.1.0.2 . 80 }\n"
                         "add element inet t forwards_any { udp . 5353 : 10.1.0.2 . 53 }\n"
                         "delete element inet t forwards_any { udp . 5353 }\n");
}

/* ---- messages ---- */

static const struct nlattr *find(const struct nlmsghdr *message, size_t offset, uint16_t type) {
    const struct nlattr *attribute;
    mnl_attr_for_each(attribute, message,
                      offset) if (mnl_attr_get_type(attribute) == type) return attribute;
    return NULL;
}

/* What is made is read as what it was made of. */
static void test_bridge_message(void) {
    char buffer[LINK_MESSAGE_SIZE];
    const uint8_t mac[6] = {2, 0x52, 1, 2, 3, 4};
    const struct nlmsghdr *message = link_message_bridge(buffer, "ramet12345678", mac);
    Link link;
    CHECK_INT(message->nlmsg_flags,
              NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL); /* never another's */
    CHECK(message->nlmsg_len <= sizeof(buffer) && link_message_read(message, &link));
    CHECK_STR(link.name, "ramet12345678");
    CHECK_STR(link.kind, "bridge");
    CHECK(memcmp(link.mac, mac, sizeof(mac)) == 0);
}

static void test_change_message(void) {
    char buffer[LINK_MESSAGE_SIZE];
    const LinkChange change = {.alias = "ramet 1 2 pool", .master = 7, .up = true};
    const struct nlmsghdr *message = link_message_change(buffer, 9, &change);
    Link link;
    CHECK(link_message_read(message, &link));
    CHECK_INT(link.index, 9);
    CHECK_INT(link.master, 7);
    CHECK(link.up);
    CHECK_STR(link.alias, "ramet 1 2 pool");
    CHECK_INT(message->nlmsg_flags, NLM_F_REQUEST | NLM_F_ACK); /* changes, never makes */
    message = link_message_isolate(buffer, 9);
    CHECK(!link_message_read(message, &link)); /* of the bridge's own family */
    CHECK(find(message, sizeof(struct ifinfomsg), IFLA_PROTINFO));
}

static void test_address_message(void) {
    char buffer[LINK_MESSAGE_SIZE];
    const LinkAddress address = {.family = AF_INET6, .bytes = {0xfd, [15] = 1}, .prefix = 64};
    const struct nlmsghdr *message = link_message_address(buffer, 9, &address);
    const struct ifaddrmsg *info = mnl_nlmsg_get_payload(message);
    CHECK_INT(info->ifa_prefixlen, 64);
    CHECK_INT(info->ifa_index, 9);
    const struct nlattr *local = find(message, sizeof(*info), IFA_LOCAL);
    CHECK(local && mnl_attr_get_payload_len(local) == 16 &&
          memcmp(mnl_attr_get_payload(local), address.bytes, 16) == 0);
    const struct nlattr *flags = find(message, sizeof(*info), IFA_FLAGS);
    CHECK(flags && mnl_attr_get_u32(flags) & IFA_F_NODAD);
}

/* ---- queues ---- */

static const struct nlattr *find_nested(const struct nlattr *nest, uint16_t type) {
    const struct nlattr *attribute;
    mnl_attr_for_each_nested(attribute,
                             nest) if (mnl_attr_get_type(attribute) == type) return attribute;
    return NULL;
}

static void check_text(const struct nlattr *attribute, const char *text) {
    CHECK_STR(attribute ? mnl_attr_get_str(attribute) : "nothing", text);
}

static const struct tcmsg *check_queue(const struct nlmsghdr *message, uint16_t type,
                                       const char *kind) {
    const struct tcmsg *info = mnl_nlmsg_get_payload(message);
    CHECK_INT(message->nlmsg_type, type);
    CHECK(message->nlmsg_len <= LINK_MESSAGE_SIZE);
    CHECK_INT(info->tcm_ifindex, 9);
    check_text(find(message, sizeof(*info), TCA_KIND), kind);
    return info;
}

static void test_rate_message(void) {
    char buffer[LINK_MESSAGE_SIZE];
    const ShapeLine line = {.rate_bps = 8000000}, fast = {.rate_bps = 400000000000};
    const struct nlmsghdr *message = qdisc_message_line(buffer, 9, &line);
    const struct tcmsg *info = check_queue(message, RTM_NEWQDISC, "tbf");
    CHECK_INT(info->tcm_parent, TC_H_ROOT);
    CHECK_INT(message->nlmsg_flags, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE);
    const struct nlattr *options = find(message, sizeof(*info), TCA_OPTIONS);
    const struct tc_tbf_qopt *tbf = mnl_attr_get_payload(find_nested(options, TCA_TBF_PARMS));
    CHECK_INT(tbf->rate.rate, 1000000);   /* bytes a second */
    CHECK_INT(tbf->limit, 500000 + 5000); /* half a second, and the burst */
    CHECK_INT(mnl_attr_get_u32(find_nested(options, TCA_TBF_BURST)), 5000);
    CHECK(!find_nested(options, TCA_TBF_RATE64));
    message = qdisc_message_line(buffer, 9, &fast);
    options = find(message, sizeof(*info), TCA_OPTIONS);
    tbf = mnl_attr_get_payload(find_nested(options, TCA_TBF_PARMS));
    CHECK_INT(tbf->rate.rate, UINT32_MAX);
    CHECK_INT(mnl_attr_get_u64(find_nested(options, TCA_TBF_RATE64)), 50000000000);
}

/* Its options are a struct, and attributes behind it. */
static void test_latency_message(void) {
    char buffer[LINK_MESSAGE_SIZE];
    const ShapeLine line = {.latency_usec = 40000, .jitter_usec = 5000};
    const ShapeLine slow = {.latency_usec = 500000, .rate_bps = 121120};
    const struct nlmsghdr *message = qdisc_message_line(buffer, 9, &line);
    check_queue(message, RTM_NEWQDISC, "netem");
    const struct nlattr *options = find(message, sizeof(struct tcmsg), TCA_OPTIONS);
    const struct tc_netem_qopt *netem = mnl_attr_get_payload(options);
    CHECK_INT(netem->latency, 40000 * 1000 / 64); /* ticks of 64 ns */
    CHECK_INT(netem->jitter, 5000 * 1000 / 64);
    CHECK_INT(netem->limit, 4096);
    CHECK_INT(netem->loss, 0);
    uint64_t latency = 0, jitter = 0;
    const struct tc_netem_rate *rate = NULL;
    const char *at = (const char *)(netem + 1);
    for (const struct nlattr *attribute = (const void *)at;
         mnl_attr_ok(attribute, (int)((const char *)mnl_nlmsg_get_payload_tail(message) -
                                      (const char *)attribute));
         attribute = mnl_attr_next(attribute)) {
        if (mnl_attr_get_type(attribute) == TCA_NETEM_LATENCY64)
            latency = mnl_attr_get_u64(attribute);
        if (mnl_attr_get_type(attribute) == TCA_NETEM_JITTER64)
            jitter = mnl_attr_get_u64(attribute);
        if (mnl_attr_get_type(attribute) == TCA_NETEM_RATE)
            rate = mnl_attr_get_payload(attribute);
    }
    CHECK_INT(latency, 40000000); /* ns */
    CHECK_INT(jitter, 5000000);
    CHECK(rate && rate->rate == UINT32_MAX); /* so that frames stay in order */
    message = qdisc_message_line(buffer, 9, &slow);
    netem = mnl_attr_get_payload(find(message, sizeof(struct tcmsg), TCA_OPTIONS));
    CHECK_INT(netem->limit, 10 + 16); /* a second's worth */
}

static void test_redirect_message(void) {
    char buffer[LINK_MESSAGE_SIZE];
    const struct tcmsg *info =
        check_queue(qdisc_message_ingress(buffer, 9), RTM_NEWQDISC, "ingress");
    CHECK(info->tcm_parent == TC_H_INGRESS && info->tcm_handle == 0xffff0000);
    info = check_queue(qdisc_message_no_ingress(buffer, 9), RTM_DELQDISC, "ingress");
    CHECK(info->tcm_parent == TC_H_INGRESS);
    const struct nlmsghdr *message = qdisc_message_redirect(buffer, 9, 12);
    info = check_queue(message, RTM_NEWTFILTER, "u32");
    CHECK(info->tcm_parent == 0xffff0000 && info->tcm_info == (1U << 16 | htons(3)));
    const struct nlattr *options = find(message, sizeof(*info), TCA_OPTIONS);
    const struct tc_u32_sel *all = mnl_attr_get_payload(find_nested(options, TCA_U32_SEL));
    CHECK(all->nkeys == 1 && all->keys[0].mask == 0);
    const struct nlattr *action = find_nested(find_nested(options, TCA_U32_ACT), 1);
    check_text(find_nested(action, TCA_ACT_KIND), "mirred");
    const struct tc_mirred *mirred =
        mnl_attr_get_payload(find_nested(find_nested(action, TCA_ACT_OPTIONS), TCA_MIRRED_PARMS));
    CHECK(mirred->eaction == TCA_EGRESS_REDIR && mirred->ifindex == 12 &&
          mirred->action == TC_ACT_STOLEN);
}

static void test_line_names(void) {
    char name[IFNAMSIZ], shared[IFNAMSIZ], tap[IFNAMSIZ];
    BridgeNames names;
    Link link = {.kind = "ifb"};
    Tap card = {.fd = -1};
    bridge_names_of("/var/lib/ramet", &names);
    bridge_tap_name(&names, tap);
    str_set(card.name, tap);
    line_card_name(&card, name);
    line_network_name(&names, NETWORK, shared);
    CHECK(str_has_prefix(name, "ri") && str_equal(name + 2, tap + 2));
    CHECK_STR(shared + 8, "5f0e1d2");
    str_set(link.name, name);
    CHECK(line_is_of_home(&names, &link)); /* not yet with its alias */
    bridge_alias(&names, NETWORK, "line", link.alias);
    CHECK(line_is_of_home(&names, &link));
    str_set(link.alias, "somebody's");
    CHECK(!line_is_of_home(&names, &link));
    *link.alias = '\0';
    str_set(link.name, "ri0");
    CHECK(!line_is_of_home(&names, &link));
    str_set(link.kind, "veth");
    str_set(link.name, name);
    CHECK(!line_is_of_home(&names, &link));
}

/* ---- announcements ---- */

static void test_announcements(void) {
    const VmAddress address = {.mac = "52:54:00:00:00:02", .ip = "10.1.0.2", .ip6 = "fd00::2"};
    const VmAddress none = {.mac = "52:54:00:00:00:02"};
    uint8_t arp[ANNOUNCE_ARP_SIZE], nd[ANNOUNCE_ND_SIZE];
    char hex[2 * ANNOUNCE_ND_SIZE + 1];
    CHECK_INT(announce_arp(&address, arp), ANNOUNCE_ARP_SIZE);
    hex_encode(arp, sizeof(arp), hex);
    CHECK_STR(hex, "ffffffffffff525400000002080600010800060400025254000000020a010002"
                   "ffffffffffff0a010002");
    CHECK_INT(announce_nd(&address, nd), ANNOUNCE_ND_SIZE);
    uint32_t sum = 32 + IPPROTO_ICMPV6; /* all 16-bit words with the checksum are 0xffff */
    for (size_t i = 14 + 8; i < sizeof(nd); i += 2)
        sum += (uint32_t)(nd[i] << 8 | nd[i + 1]);
    CHECK_INT((sum & 0xffff) + (sum >> 16), 0xffff);
    CHECK_INT(announce_arp(&none, arp), 0);
    CHECK_INT(announce_nd(&none, nd), 0);
}

/* ---- devices ---- */

static void test_taps(void) {
    Taps taps = {.count = 0};
    const Tap waiting = {.index = 1, .network = NETWORK, .use = "pool", .fd = 0x7ffffff0};
    const Tap card = {.index = 2, .network = NETWORK, .use = VM "/0", .fd = -1};
    const PortForward forward = {.host_ip = "0.0.0.0", .host_port = 80, .guest_port = 80};
    taps_add(&taps, &waiting);
    taps_add(&taps, &card);
    CHECK_INT(taps_count_free(&taps, NETWORK), 1);
    CHECK_INT(taps_find_free(&taps, NETWORK)->index, 1);
    CHECK(!taps_find_free(&taps, VM));
    Tap *found = taps_find(&taps, VM "/0");
    CHECK_INT(found->index, 2);
    tap_set_card(found, &(VmAddress){.ip = "10.1.0.2"}, NULL, 0);
    tap_add_forward(found, &forward);
    CHECK_INT(found->n_forwards, 1);
    tap_remove_forward(found, &forward);
    CHECK_INT(found->n_forwards, 0);
    taps_find_free(&taps, NETWORK)->fd = -1;
    taps_remove(&taps, found);
    CHECK(!taps_find(&taps, VM "/0"));
    taps_free(&taps);
}

/* As the kernel writes them: proc(5). */
static void test_uplinks(void) {
    const char *at = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\n"
                     "eth0\t0000C0A8\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\n"
                     "eth1\t00000000\t0102000A\t0003\t0\t0\t0\t00000000\t0\n";
    const char *at6 =
        "fe800000000000000000000000000000 40 00000000000000000000000000000000 00 "
        "00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0\n"
        "00000000000000000000000000000000 00 00000000000000000000000000000000 00 "
        "fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth2\n"
        "00000000000000000000000000000000 00 00000000000000000000000000000000 00 "
        "00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo\n";
    char device[IFNAMSIZ];
    CHECK_STR(host_next_uplink(&at, false, device, sizeof(device)), "eth1");
    CHECK(!host_next_uplink(&at, false, device, sizeof(device)));
    CHECK_STR(host_next_uplink(&at6, true, device, sizeof(device)), "eth2");
    CHECK(!host_next_uplink(&at6, true, device, sizeof(device)));
}

int main(void) {
    test_names();
    test_tables();
    test_network();
    test_card();
    test_shapes();
    test_losses();
    test_forwards();
    test_bridge_message();
    test_change_message();
    test_address_message();
    test_rate_message();
    test_latency_message();
    test_redirect_message();
    test_line_names();
    test_announcements();
    test_taps();
    test_uplinks();
    return 0;
}
