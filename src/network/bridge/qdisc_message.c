/* SPDX-License-Identifier: Apache-2.0 */

#include "network/bridge/qdisc_message.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_mirred.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"

#define FRAME_BYTES 1514u
#define BACKLOG_USEC                                                            \
    (500 * USEC_PER_MSEC) /* of frames that wait for their turn, as on a switch \
                           */
#define FRAMES_MIN 16u
#define FRAMES_MAX 4096u
#define BURST_USEC (5 * USEC_PER_MSEC) /* what an idle line of tbf sends at once */
#define BURST_MIN (2 * FRAME_BYTES)
#define TICK_NSEC 64u /* the kernel's PSCHED_SHIFT */

static struct nlmsghdr *start(void *buffer, uint16_t type, uint16_t flags, unsigned index,
                              struct tcmsg **info) {
    struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
    message->nlmsg_type = type;
    message->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    *info = mnl_nlmsg_put_extra_header(message, sizeof(**info));
    (*info)->tcm_family = AF_UNSPEC;
    (*info)->tcm_ifindex = (int)index;
    return message;
}

static uint32_t capped(uint64_t value) {
    return (uint32_t)MIN_OF(value, (uint64_t)UINT32_MAX);
}

static uint64_t bytes_in(uint64_t rate_bps, uint64_t usec) {
    return (uint64_t)((double)rate_bps / 8 * (double)usec / (double)USEC_PER_SEC);
}

/* ---- tbf ---- */

static void put_tbf(struct nlmsghdr *message, const ShapeLine *line) {
    uint64_t rate = MAX_OF(line->rate_bps / 8, (uint64_t)1);
    uint32_t burst = capped(MAX_OF(bytes_in(line->rate_bps, BURST_USEC), (uint64_t)BURST_MIN));
    uint64_t backlog =
        MAX_OF(bytes_in(line->rate_bps, BACKLOG_USEC), (uint64_t)FRAMES_MIN * FRAME_BYTES);
    const struct tc_tbf_qopt options = {
        .rate = {.rate = capped(rate), .linklayer = TC_LINKLAYER_ETHERNET},
        .limit = capped(backlog + burst)};
    mnl_attr_put_strz(message, TCA_KIND, "tbf");
    struct nlattr *nest = mnl_attr_nest_start(message, TCA_OPTIONS);
    mnl_attr_put(message, TCA_TBF_PARMS, sizeof(options), &options);
    mnl_attr_put_u32(message, TCA_TBF_BURST, burst);
    if (rate > UINT32_MAX)
        mnl_attr_put_u64(message, TCA_TBF_RATE64, rate);
    mnl_attr_nest_end(message, nest);
}

/* ---- netem ---- */

/* As many as are under way at once, and wait. */
static uint32_t netem_frames(const ShapeLine *line) {
    uint64_t usec = BACKLOG_USEC + line->latency_usec + line->jitter_usec;
    uint64_t frames = line->rate_bps ? bytes_in(line->rate_bps, usec) / FRAME_BYTES : FRAMES_MAX;
    return (uint32_t)MIN_OF(frames + FRAMES_MIN, (uint64_t)FRAMES_MAX);
}

/* With a rate netem has each frame wait for the one before, so that they stay in order. */
static void put_netem(struct nlmsghdr *message, const ShapeLine *line) {
    const uint64_t latency_nsec = line->latency_usec * 1000, jitter_nsec = line->jitter_usec * 1000;
    const uint64_t rate = line->rate_bps ? MAX_OF(line->rate_bps / 8, (uint64_t)1) : UINT32_MAX;
    const struct tc_netem_qopt options = {.latency = capped(latency_nsec / TICK_NSEC),
                                          .jitter = capped(jitter_nsec / TICK_NSEC),
                                          .limit = netem_frames(line)};
    const struct tc_netem_rate slow = {.rate = capped(rate)};
    mnl_attr_put_strz(message, TCA_KIND, "netem");
    struct nlattr *nest = mnl_attr_nest_start(message, TCA_OPTIONS);
    memcpy(mnl_nlmsg_put_extra_header(message, sizeof(options)), &options, sizeof(options));
    mnl_attr_put_u64(message, TCA_NETEM_LATENCY64, latency_nsec);
    mnl_attr_put_u64(message, TCA_NETEM_JITTER64, jitter_nsec);
    mnl_attr_put(message, TCA_NETEM_RATE, sizeof(slow), &slow);
    if (rate > UINT32_MAX)
        mnl_attr_put_u64(message, TCA_NETEM_RATE64, rate);
    mnl_attr_nest_end(message, nest);
}

struct nlmsghdr *qdisc_message_line(void *buffer, unsigned index, const ShapeLine *line) {
    struct tcmsg *info;
    struct nlmsghdr *message =
        start(buffer, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, index, &info);
    info->tcm_parent = TC_H_ROOT;
    (shape_line_waits(line) ? put_netem : put_tbf)(message, line);
    return message;
}

struct nlmsghdr *qdisc_message_no_line(void *buffer, unsigned index) {
    struct tcmsg *info;
    struct nlmsghdr *message = start(buffer, RTM_DELQDISC, 0, index, &info);
    info->tcm_parent = TC_H_ROOT;
    return message;
}

/* ---- the way in ---- */

static struct nlmsghdr *ingress(void *buffer, uint16_t type, uint16_t flags, unsigned index) {
    struct tcmsg *info;
    struct nlmsghdr *message = start(buffer, type, flags, index, &info);
    info->tcm_parent = TC_H_INGRESS;
    info->tcm_handle = TC_H_MAKE(TC_H_INGRESS, 0);
    mnl_attr_put_strz(message, TCA_KIND, "ingress");
    return message;
}

struct nlmsghdr *qdisc_message_ingress(void *buffer, unsigned index) {
    return ingress(buffer, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, index);
}

struct nlmsghdr *qdisc_message_no_ingress(void *buffer, unsigned index) {
    return ingress(buffer, RTM_DELQDISC, 0, index);
}

/* What u32 does with what it finds: an action, the first of a list. */
static void put_mirred(struct nlmsghdr *message, unsigned to) {
    const struct tc_mirred parameters = {
        .action = TC_ACT_STOLEN, .eaction = TCA_EGRESS_REDIR, .ifindex = to};
    struct nlattr *list = mnl_attr_nest_start(message, TCA_U32_ACT);
    struct nlattr *action = mnl_attr_nest_start(message, 1);
    mnl_attr_put_strz(message, TCA_ACT_KIND, "mirred");
    struct nlattr *options = mnl_attr_nest_start(message, TCA_ACT_OPTIONS);
    mnl_attr_put(message, TCA_MIRRED_PARMS, sizeof(parameters), &parameters);
    mnl_attr_nest_end(message, options);
    mnl_attr_nest_end(message, action);
    mnl_attr_nest_end(message, list);
}

/* One key without a bit: all frames. */
struct nlmsghdr *qdisc_message_redirect(void *buffer, unsigned index, unsigned to) {
    struct tcmsg *info;
    const struct tc_u32_sel head = {.flags = TC_U32_TERMINAL, .nkeys = 1};
    uint8_t all[sizeof(head) + sizeof(struct tc_u32_key)] = {0};
    struct nlmsghdr *message =
        start(buffer, RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, index, &info);
    memcpy(all, &head, sizeof(head));
    info->tcm_parent = TC_H_MAKE(TC_H_INGRESS, 0);
    info->tcm_info = TC_H_MAKE(1U << 16, htons(ETH_P_ALL));
    mnl_attr_put_strz(message, TCA_KIND, "u32");
    struct nlattr *nest = mnl_attr_nest_start(message, TCA_OPTIONS);
    mnl_attr_put(message, TCA_U32_SEL, sizeof(all), all);
    put_mirred(message, to);
    mnl_attr_nest_end(message, nest);
    return message;
}
