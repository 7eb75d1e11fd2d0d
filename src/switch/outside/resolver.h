/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_SWITCH_OUTSIDE_RESOLVER_H
#define RAMET_SWITCH_OUTSIDE_RESOLVER_H

/* Asks the host's resolvers what is not known here. Each query has a socket of its own, so its port
 * is one that the kernel draws, and an id that is drawn here; an answer counts when it comes from
 * whom was asked, with that id and that question. A bounded number is under way, for each port and
 * in all. */

#include "switch/outside/dns.h"
#include "switch/ports/reply.h"

#define RESOLVER_QUERIES 512
#define RESOLVER_PORT_QUERIES 16u /* of one port, and fewer the more there are of all */
#define RESOLVER_TRY_USEC (2u * 1000u * 1000u)
#define RESOLVER_TRIES 3

/* resolv_conf: its content, for networks that name no resolvers; NULL: none. */
int resolver_new(Switch *net, const char *resolv_conf, Resolver **resolver);
void resolver_free(Resolver *resolver);

/* Passes a query on, and its answer to the peer later. false when it cannot be asked now. */
bool resolver_ask(Resolver *resolver, Port *port, const UdpPeer *peer, const DnsQuery *query);

/* Whom a query goes to: an IPv6 address, perhaps an IPv4 one mapped. false: nobody. */
bool resolver_address(const Resolver *resolver, unsigned number, uint8_t address[16]);

/* A socket of that type (SOCK_DGRAM, SOCK_STREAM) that is connected to it, or about to be; the
 * caller's. A negative errno. */
int resolver_connect(const uint8_t address[16], int type);

#endif
