/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_PROTO_USER_NETWORK_H
#define RAMET_PROTO_USER_NETWORK_H

/* The network user: the guest's address, its gateway and its name server, as QEMU's user-mode
 * network has them, which VMs of earlier versions were in. The gateway's MAC address, too: guests
 * remember it. */
#define USER_NETWORK_SUBNET "10.0.2.0"
#define USER_NETWORK_PREFIX 24
#define USER_NETWORK_GUEST "10.0.2.15"
#define USER_NETWORK_GATEWAY "10.0.2.2"
#define USER_NETWORK_DNS "10.0.2.3"
#define USER_NETWORK_GATEWAY_MAC "52:55:0a:00:02:02"

#endif
