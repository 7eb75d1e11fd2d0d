/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_NETWORK_H
#define RAMET_AGENT_NETWORK_H

#include "agent/util.h"

#define NETWORK_CARD "eth0"
#define NETWORK_DNS_MAX 4

typedef struct Network {
    bool has_mac, has_ip, has_gateway;
    uint8_t mac[6];
    uint8_t ip[4];
    uint8_t gateway[4];
    unsigned prefix;
    uint8_t dns[NETWORK_DNS_MAX][4];
    size_t n_dns;
} Network;

/* Brings the loopback up. */
int network_raise_loopback(void);

/* Gives the only card its name, hardware address, address and default route. Doing it again with
 * the same values changes nothing: no connection drops. */
int network_apply(const Network *network, Result *result);

/* Before a snapshot: looks whether the card is as it was set, which network_apply then believes
 * until network_forget. */
void network_prepare(void);
void network_forget(void);

#endif
