/* SPDX-License-Identifier: Apache-2.0 */
#include "switch/ports/table.h"

/* Open addressing with linear probing. A table is never more than a quarter full. Who leaves has
 * those behind it move up that could not be found past the gap (Knuth, The Art of Computer
 * Programming, volume 3, section 6.4, algorithm R), so a change costs the same however many ports
 * there are. */

#include "base/str.h"
#include "switch/frame/packet.h"

typedef struct Key {
    const void *data;
    size_t size; /* 0: it has none, and is in no table */
} Key;

static Key address_key(const uint8_t *address, size_t size) {
    return (Key){address, is_unset(address, size) ? 0 : size};
}

static Key text_key(const char *text) {
    return (Key){text, strlen(text)};
}

/* Ports that are apart may have all of it in common, and are found by none of it. */
static Key key_of(const Port *port, TableKind kind) {
    const SwitchPort *lease = &port->lease;
    if (port->owner->network.apart && kind != TABLE_ID)
        return (Key){0};
    switch (kind) {
    case TABLE_MAC:
        return address_key(lease->mac, sizeof(lease->mac));
    case TABLE_IP:
        return address_key(lease->ip, sizeof(lease->ip));
    case TABLE_IP6:
        return address_key(lease->ip6, sizeof(lease->ip6));
    case TABLE_LINK_LOCAL:
        return address_key(port->link_local, sizeof(port->link_local));
    case TABLE_ID:
        return text_key(lease->id);
    case TABLE_NAME:
        return text_key(lease->name);
    case TABLES:
        break;
    }
    return (Key){0};
}

/* FNV-1a. The keys are the daemon's, not a guest's, so nobody can make them collide. */
static uint32_t home_of(Key key) {
    const uint8_t *bytes = key.data;
    uint32_t value = 2166136261u;
    for (size_t i = 0; i < key.size; i++)
        value = (value ^ bytes[i]) * 16777619u;
    return (value ^ value >> 15) % TABLE_SIZE;
}

static uint32_t next_of(uint32_t at) {
    return (at + 1) % TABLE_SIZE;
}

static void put(uint16_t *table, Key key, uint16_t slot) {
    uint32_t at = home_of(key);
    while (table[at])
        at = next_of(at);
    table[at] = slot;
}

/* Would it still be found from its home if it stood at `gap` instead of at `at`? */
static bool may_move(const Switch *net, TableKind kind, uint32_t gap, uint32_t at) {
    uint32_t home = home_of(key_of(net->ports[net->tables[kind][at]], kind));
    return (at - home) % TABLE_SIZE >= (at - gap) % TABLE_SIZE;
}

static void take_out(Switch *net, TableKind kind, const Port *port) {
    uint16_t *table = net->tables[kind];
    uint32_t gap = home_of(key_of(port, kind));
    while (table[gap] && table[gap] != port->slot)
        gap = next_of(gap);
    if (!table[gap])
        return;
    for (uint32_t at = next_of(gap); table[at]; at = next_of(at))
        if (may_move(net, kind, gap, at)) {
            table[gap] = table[at];
            gap = at;
        }
    table[gap] = 0;
}

void table_add(Switch *net, const Port *port) {
    for (TableKind kind = 0; kind < TABLES; kind++) {
        Key key = key_of(port, kind);
        if (key.size > 0)
            put(net->tables[kind], key, port->slot);
    }
}

void table_remove(Switch *net, const Port *port) {
    for (TableKind kind = 0; kind < TABLES; kind++)
        if (key_of(port, kind).size > 0)
            take_out(net, kind, port);
}

static Port *find(const Switch *net, TableKind kind, const void *data, size_t size) {
    const uint16_t *table = net->tables[kind];
    for (uint32_t at = home_of((Key){data, size}); table[at]; at = next_of(at)) {
        Port *port = net->ports[table[at]];
        Key key = key_of(port, kind);
        if (key.size == size && memcmp(key.data, data, size) == 0)
            return port;
    }
    return NULL;
}

Port *table_find_mac(const Switch *net, const uint8_t mac[6]) {
    return find(net, TABLE_MAC, mac, 6);
}

Port *table_find_ip(const Switch *net, const uint8_t ip[4]) {
    return find(net, TABLE_IP, ip, 4);
}

Port *table_find_ip6(const Switch *net, const uint8_t ip6[16]) {
    Port *port = find(net, TABLE_IP6, ip6, 16);
    return port ? port : find(net, TABLE_LINK_LOCAL, ip6, 16);
}

Port *table_find_id(const Switch *net, const char *id) {
    return find(net, TABLE_ID, id, strlen(id));
}

Port *table_find_name(const Switch *net, const char *name) {
    return name[0] ? find(net, TABLE_NAME, name, strlen(name)) : NULL;
}
