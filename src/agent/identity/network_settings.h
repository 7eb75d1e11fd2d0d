/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_IDENTITY_NETWORK_SETTINGS_H
#define RAMET_AGENT_IDENTITY_NETWORK_SETTINGS_H

#include "agent/base/util.h"

#define NETWORK_CARDS_MAX 4
#define NETWORK_DNS_MAX 4

/* What one card is to be called. */
typedef struct Network {
    bool has_mac, has_ip, has_gateway, has_ip6, has_gateway6;
    uint8_t mac[6];
    uint8_t ip[4];
    uint8_t gateway[4];
    unsigned prefix;
    uint8_t ip6[16];
    uint8_t gateway6[16];
    unsigned prefix6;
} Network;

/* Who is asked for names. */
typedef struct Dns {
    uint8_t servers[NETWORK_DNS_MAX][4];
    size_t count;
    char search[128]; /* "": none */
} Dns;

#endif
