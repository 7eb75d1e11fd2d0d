/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_NETWORK_BRIDGE_QDISC_MESSAGE_H
#define RAMET_NETWORK_BRIDGE_QDISC_MESSAGE_H

/* Messages of rtnetlink about queueing disciplines (rtnetlink(7), linux/pkt_sched.h, tc(8)). Each
 * builds a request that wants an acknowledgement in `buffer`, of LINK_MESSAGE_SIZE. */

#include <libmnl/libmnl.h>

#include "network/bridge/shape.h"

/* A device's queue becomes the line, whatever it was: netem where frames are late, else tbf. */
struct nlmsghdr *qdisc_message_line(void *buffer, unsigned index, const ShapeLine *line);

/* It becomes what the kernel gives to new devices. -ENOENT, -EINVAL: it is. */
struct nlmsghdr *qdisc_message_no_line(void *buffer, unsigned index);

/* The way in of a device, on which filters may be; and its end, with all of them. */
struct nlmsghdr *qdisc_message_ingress(void *buffer, unsigned index);
struct nlmsghdr *qdisc_message_no_ingress(void *buffer, unsigned index);

/* A filter on a way in: all that comes passes another device (an ifb) first, and then goes on as if
 * it came now. */
struct nlmsghdr *qdisc_message_redirect(void *buffer, unsigned index, unsigned to);

#endif
