/* SPDX-License-Identifier: Apache-2.0 */
/* An array of entries without gaps, the last one taking the place of one that goes, and a hash
 * table of chains through it. Both grow by doubling, up to the limit that connections_admit is
 * given. What is over by its time is looked for only when there is no room, and then at most once a
 * second. */

#include "switch/frame/connections.h"

#include <stdlib.h>

#include "base/clock.h"

#define FIRST 64u
#define NONE UINT32_MAX
#define SWEEP_USEC 1000000u

#define TCP_FIN 1
#define TCP_SYN 2
#define TCP_RST 4
#define TCP_ACK 16

#define CLOSED_BY_GUEST 1
#define CLOSED_BY_PEER 2
#define ANSWERED 4

typedef struct Key {
    uint8_t guest[16], peer[16]; /* IPv4: the first 4 bytes */
    uint8_t guest_port[2], peer_port[2];
    uint8_t protocol;
} Key;

typedef struct Connection {
    Key key;
    uint8_t state; /* of the bits above */
    uint32_t next; /* in its chain */
    uint64_t seen_usec;
} Connection;

struct Connections {
    Connection *entries; /* owned */
    uint32_t *heads;     /* owned, as many as there is room for entries */
    uint32_t room;
    uint32_t count;
    uint64_t swept_usec;
};

static void *checked(void *memory) {
    if (!memory)
        abort();
    return memory;
}

Connections *connections_new(void) {
    Connections *made = checked(calloc(1, sizeof(*made)));
    return made;
}

void connections_free(Connections *connections) {
    if (!connections)
        return;
    free(connections->entries);
    free(connections->heads);
    free(connections);
}

uint32_t connections_count(const Connections *connections) {
    return connections->count;
}

/* ---- the table ---- */

static uint32_t *head_of(const Connections *connections, const Key *key) {
    const uint8_t *bytes = (const uint8_t *)key;
    uint32_t value = 2166136261u;
    for (size_t i = 0; i < sizeof(*key); i++)
        value = (value ^ bytes[i]) * 16777619u;
    return &connections->heads[(value ^ value >> 16) & (connections->room - 1)];
}

static Connection *find(const Connections *connections, const Key *key) {
    uint32_t at = connections->room ? *head_of(connections, key) : NONE;
    while (at != NONE && memcmp(&connections->entries[at].key, key, sizeof(*key)) != 0)
        at = connections->entries[at].next;
    return at == NONE ? NULL : &connections->entries[at];
}

static void link_entry(Connections *connections, uint32_t at) {
    uint32_t *head = head_of(connections, &connections->entries[at].key);
    connections->entries[at].next = *head;
    *head = at;
}

static void unlink_entry(Connections *connections, uint32_t at) {
    uint32_t *place = head_of(connections, &connections->entries[at].key);
    while (*place != at)
        place = &connections->entries[*place].next;
    *place = connections->entries[at].next;
}

static void grow(Connections *connections) {
    uint32_t room = connections->room ? 2 * connections->room : FIRST;
    connections->entries =
        checked(realloc(connections->entries, room * sizeof(*connections->entries)));
    free(connections->heads);
    connections->heads = checked(malloc(room * sizeof(*connections->heads)));
    memset(connections->heads, 0xff, room * sizeof(*connections->heads));
    connections->room = room;
    for (uint32_t i = 0; i < connections->count; i++)
        link_entry(connections, i);
}

static void add(Connections *connections, const Key *key, uint64_t now_usec) {
    if (connections->count == connections->room)
        grow(connections);
    connections->entries[connections->count] = (Connection){.key = *key, .seen_usec = now_usec};
    link_entry(connections, connections->count++);
}

static void drop(Connections *connections, uint32_t at) {
    uint32_t last = connections->count - 1;
    unlink_entry(connections, at);
    if (at != last) {
        unlink_entry(connections, last);
        connections->entries[at] = connections->entries[last];
        link_entry(connections, at);
    }
    connections->count--;
}

/* ---- their time ---- */

static bool is_port(const uint8_t port[2], uint16_t number) {
    return get_be16(port) == number;
}

static uint64_t patience(const Connection *connection) {
    if (connection->key.protocol == PROTOCOL_UDP)
        return is_port(connection->key.peer_port, 53) ? CONNECTION_DNS_USEC : CONNECTION_UDP_USEC;
    if (connection->state & (CLOSED_BY_GUEST | CLOSED_BY_PEER))
        return CONNECTION_FIN_USEC;
    return connection->state & ANSWERED ? CONNECTION_TCP_USEC : CONNECTION_SYN_USEC;
}

static void sweep(Connections *connections, uint64_t now_usec) {
    if (connections->swept_usec && now_usec - connections->swept_usec < SWEEP_USEC)
        return;
    connections->swept_usec = now_usec;
    for (uint32_t i = connections->count; i > 0; i--)
        if (now_usec - connections->entries[i - 1].seen_usec >
            patience(&connections->entries[i - 1]))
            drop(connections, i - 1);
}

/* ---- packets ---- */

static bool is_followed(const Packet *packet) {
    return !packet->fragment &&
           (packet->protocol == PROTOCOL_TCP || packet->protocol == PROTOCOL_UDP);
}

static Key key_of(const Packet *packet, bool from_guest) {
    size_t size = packet->ethertype == ETHERTYPE_IP4 ? 4 : 16;
    Key key = {.protocol = packet->protocol};
    memcpy(key.guest, from_guest ? packet->src : packet->dst, size);
    memcpy(key.peer, from_guest ? packet->dst : packet->src, size);
    memcpy(key.guest_port, packet->inner + (from_guest ? 0 : 2), 2);
    memcpy(key.peer_port, packet->inner + (from_guest ? 2 : 0), 2);
    return key;
}

static uint8_t flags_of(const Packet *packet) {
    return packet->protocol == PROTOCOL_TCP ? packet->inner[13] : 0;
}

static void follow(Connections *connections, Connection *connection, uint8_t flags, uint8_t closed,
                   uint64_t now_usec) {
    connection->seen_usec = now_usec;
    if (flags & TCP_SYN && !(flags & TCP_ACK))
        connection->state = 0; /* the same ports once more */
    if (flags & TCP_FIN)
        connection->state |= closed;
    if (flags & TCP_RST || (connection->state & (CLOSED_BY_GUEST | CLOSED_BY_PEER)) ==
                               (CLOSED_BY_GUEST | CLOSED_BY_PEER))
        drop(connections, (uint32_t)(connection - connections->entries));
}

bool connections_admit(Connections *connections, const Packet *packet, uint64_t most,
                       uint64_t now_usec) {
    if (!is_followed(packet))
        return true;
    uint8_t flags = flags_of(packet);
    Key key = key_of(packet, true);
    Connection *known = find(connections, &key);
    if (known) {
        follow(connections, known, flags, CLOSED_BY_GUEST, now_usec);
        return true;
    }
    if (packet->protocol == PROTOCOL_TCP && (flags & (TCP_SYN | TCP_ACK | TCP_RST)) != TCP_SYN)
        return true; /* goes on with one that is not counted */
    if (connections->count >= most)
        sweep(connections, now_usec);
    if (connections->count >= most)
        return false;
    add(connections, &key, now_usec);
    return true;
}

void connections_note(Connections *connections, const Packet *packet, uint64_t now_usec) {
    if (!is_followed(packet))
        return;
    Key key = key_of(packet, false);
    Connection *known = find(connections, &key);
    if (!known)
        return;
    known->state |= ANSWERED;
    follow(connections, known, flags_of(packet), CLOSED_BY_PEER, now_usec);
}
