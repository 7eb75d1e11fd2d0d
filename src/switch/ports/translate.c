/* SPDX-License-Identifier: Apache-2.0 */
#include "switch/ports/translate.h"

#include "switch/ports/check.h"

/* The guest's card has one MAC, the network knows the port by another. Somebody else may have the
 * card's on the network, such as the source of a clone: to the guest that one has an alias, made of
 * it. So no guest sees its own MAC at somebody else; and what it remembers of its neighbours holds
 * in a clone of it, too, which has the same card and hence the same alias. Whoever should have the
 * alias on the network is to the guest what the network calls itself. Thus each MAC is one MAC on
 * the other side. */

#define ALIAS_BIT 4 /* of the first byte: neither a group's nor the universal one */

typedef enum Side { TO_NETWORK, TO_GUEST } Side;

static void translate(const Port *port, Side side, uint8_t *mac) {
    const uint8_t *card = port->lease.guest_mac, *network = port->lease.mac;
    uint8_t alias[6];
    memcpy(alias, card, sizeof(alias));
    alias[0] ^= ALIAS_BIT;
    const uint8_t *const pairs[][2] = {{card, network}, {alias, card}, {network, alias}};
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
        if (memcmp(mac, pairs[i][side == TO_GUEST], 6) == 0) {
            memcpy(mac, pairs[i][side == TO_NETWORK], 6);
            return;
        }
}

typedef struct Rewrite {
    const Port *port;
    Side side;
    uint8_t *sum; /* of ICMPv6 */
} Rewrite;

static void translate_option(uint8_t *mac, void *data) {
    const Rewrite *rewrite = data;
    uint8_t before[6];
    memcpy(before, mac, sizeof(before));
    translate(rewrite->port, rewrite->side, mac);
    checksum_replace(rewrite->sum, before, mac, sizeof(before));
}

static void translate_inner(const Port *port, Side side, const Packet *packet) {
    if (packet->ethertype == ETHERTYPE_ARP) {
        translate(port, side, packet->ip + 8);
        translate(port, side, packet->ip + 18);
    }
    if (packet_is_nd(packet)) {
        Rewrite rewrite = {.port = port, .side = side, .sum = packet->inner + 2};
        (void)nd_each_mac(packet, translate_option, &rewrite);
    }
}

static void translate_header(const Port *port, Side side, uint8_t *frame) {
    translate(port, side, frame);
    translate(port, side, frame + 6);
}

void translate_from_guest(const Port *port, const Packet *packet) {
    if (!port->translated)
        return;
    translate_header(port, TO_NETWORK, packet->frame);
    translate_inner(port, TO_NETWORK, packet);
}

static bool is_another(const Port *port, const uint8_t *mac) {
    uint8_t shown[6];
    memcpy(shown, mac, sizeof(shown));
    translate(port, TO_GUEST, shown);
    return memcmp(shown, mac, sizeof(shown)) != 0;
}

bool translate_is_due(const Port *port, const Buffer *buffer) {
    return port->translated && buffer->size >= ETHERNET_SIZE &&
           (is_another(port, buffer->data) || is_another(port, buffer->data + 6));
}

void translate_to_guest(const Port *port, Buffer *buffer) {
    Packet packet;
    translate_header(port, TO_GUEST, buffer->data);
    if (get_be16(buffer->data + 12) != ETHERTYPE_IP4 &&
        packet_parse(&packet, buffer->data, buffer->size) == DROP_NONE)
        translate_inner(port, TO_GUEST, &packet);
}
