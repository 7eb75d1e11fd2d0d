/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_NETWORK_BRIDGE_HOST_FORWARDING_H
#define RAMET_NETWORK_BRIDGE_HOST_FORWARDING_H

/* The host's settings of single devices (/proc/sys/net/ipv4/conf and ipv6/conf: the kernel's
 * Documentation/networking/ip-sysctl.rst). Those of all devices stay as they are. */

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* The bridge: no router of others, its addresses valid at once, its packets forwarded, and the
 * host's loopback translated to cards behind it. */
void host_set_bridge(const char *device);

/* Has the host ask for addresses of that bridge for 20 s, instead of three, before whoever sent to
 * them is told that nobody is there: a guest may have to be woken. */
void host_wait_for_guests(const char *device);

/* Devices that a default route leads to forward, too, so that answers come back. IPv6 where the
 * kernel has it for a single device (Linux 6.17); before that only a host that forwards all of it
 * does. */
void host_forward_uplinks(void);

/* A device of the default route in a table: /proc/net/route, or /proc/net/ipv6_route (proc(5)).
 * From the line at *at on; NULL: there is none. */
const char *host_next_uplink(const char **at, bool ip6, char *device, size_t size);

/* What is missing for bridges: ERROR_PERMISSION or ERROR_UNSUPPORTED, with what to do. */
int host_check_bridges(Error *error);

#endif
