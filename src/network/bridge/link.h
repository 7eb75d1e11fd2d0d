/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_NETWORK_BRIDGE_LINK_H
#define RAMET_NETWORK_BRIDGE_LINK_H

/* Network devices of the host, by rtnetlink. Each call has a socket of its own, so threads do not
 * wait for each other here. Negative errno: what the kernel said. */

#include "network/bridge/link_message.h"

/* A request of that kind that has no answer but its acknowledgement. */
int link_tell(struct nlmsghdr *request);

/* As the messages of these names say; -EEXIST: the bridge's name is taken. */
int link_make_bridge(const char *name, const uint8_t mac[6], unsigned *index);
int link_change(unsigned index, const LinkChange *change);
int link_isolate(unsigned index);
int link_add_address(unsigned index, const LinkAddress *address);

/* One that is gone is success. */
int link_delete(unsigned index);

/* -ENODEV: there is none of that name. */
int link_get(const char *name, Link *link);

/* Calls for each device. */
int link_each(void (*call)(const Link *link, void *data), void *data);

/* A new TAP device of that name (tun(4)), without IPv6 of its own: its descriptor, owned by the
 * caller, which the device lives as long as. -EBUSY: the name is taken. */
int link_make_tap(const char *name, int *fd, unsigned *index);

#endif
