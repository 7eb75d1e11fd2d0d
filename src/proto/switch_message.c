/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/switch_message.h"

/* One table says which member is which field; writing and reading walk it, so that they cannot
 * differ. */

#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "proto/tlv.h"

#define HEADER_SIZE 4

const char *const switch_drop_names[SWITCH_DROP_COUNT] = {
    [SWITCH_DROP_RUNT] = "runt",
    [SWITCH_DROP_GIANT] = "giant",
    [SWITCH_DROP_MALFORMED] = "malformed",
    [SWITCH_DROP_VLAN] = "vlan",
    [SWITCH_DROP_PROTOCOL] = "protocol",
    [SWITCH_DROP_SPOOFED_MAC] = "spoofed-mac",
    [SWITCH_DROP_SPOOFED_IP] = "spoofed-ip",
    [SWITCH_DROP_SPOOFED_IP6] = "spoofed-ip6",
    [SWITCH_DROP_SPOOFED_ARP] = "spoofed-arp",
    [SWITCH_DROP_SPOOFED_ND] = "spoofed-nd",
    [SWITCH_DROP_DHCP] = "dhcp",
    [SWITCH_DROP_ADVERTISEMENT] = "advertisement",
    [SWITCH_DROP_UNREACHABLE] = "unreachable",
    [SWITCH_DROP_CLOSED] = "closed",
    [SWITCH_DROP_ISOLATED] = "isolated",
    [SWITCH_DROP_FLOOD] = "flood",
    [SWITCH_DROP_QUEUE] = "queue",
    [SWITCH_DROP_DISCONNECTED] = "disconnected",
    [SWITCH_DROP_LOSS] = "loss",
    [SWITCH_DROP_HELD] = "held",
    [SWITCH_DROP_LIMIT] = "limit",
    [SWITCH_DROP_CONNECTIONS] = "connections",
};

typedef enum MemberKind { MEMBER_TEXT, MEMBER_BYTES, MEMBER_U64, MEMBER_BOOL } MemberKind;

typedef struct Member {
    uint16_t tag;
    uint16_t part; /* SwitchPart */
    MemberKind kind;
    size_t offset;
    size_t size;
    uint64_t limit; /* greatest value of a number */
} Member;

#define PLACE(name) offsetof(SwitchMessage, name), sizeof(((SwitchMessage *)NULL)->name)
#define TEXT(tag, part, name) \
    { tag, SWITCH_PART_##part, MEMBER_TEXT, PLACE(name), 0 }
#define BYTES(tag, part, name) \
    { tag, SWITCH_PART_##part, MEMBER_BYTES, PLACE(name), 0 }
#define BOOL(tag, part, name) \
    { tag, SWITCH_PART_##part, MEMBER_BOOL, PLACE(name), 1 }
#define U64(tag, part, name, limit) \
    { tag, SWITCH_PART_##part, MEMBER_U64, PLACE(name), limit }
#define TAG_DROPS 96 /* and SWITCH_DROP_COUNT from there */

static const Member members[] = {
    TEXT(3, PLAIN, id),
    U64(4, PLAIN, version, UINT64_MAX),
    U64(5, PLAIN, pid, UINT64_MAX),
    U64(6, PLAIN, after, UINT64_MAX),
    U64(7, PLAIN, capture, UINT64_MAX),
    U64(8, PLAIN, captured, UINT64_MAX),
    U64(9, PLAIN, lost, UINT64_MAX),
    BOOL(10, PLAIN, discard),
    BOOL(11, PLAIN, held),
    TEXT(12, PLAIN, ramet),
    TEXT(13, PLAIN, code),
    TEXT(14, PLAIN, message),
    TEXT(15, PLAIN, hint),
    U64(16, PLAIN, errnum, 4095),

    TEXT(20, NETWORK, network.name),
    BYTES(21, NETWORK, network.subnet),
    U64(22, NETWORK, network.prefix, 32),
    BYTES(23, NETWORK, network.gateway),
    BYTES(24, NETWORK, network.subnet6),
    U64(25, NETWORK, network.prefix6, 128),
    BYTES(26, NETWORK, network.gateway6),
    BYTES(27, NETWORK, network.gateway_mac),
    U64(28, NETWORK, network.mtu, 65535),
    BOOL(29, NETWORK, network.isolated),
    BOOL(30, NETWORK, network.uplink),
    BOOL(31, NETWORK, network.allow_host),
    BYTES(32, NETWORK, network.resolvers),
    BOOL(33, NETWORK, network.apart),
    BYTES(34, NETWORK, network.dns),

    TEXT(40, PORT, port.id),
    TEXT(41, PORT, port.name),
    BYTES(42, PORT, port.mac),
    BYTES(43, PORT, port.guest_mac),
    BYTES(44, PORT, port.ip),
    BYTES(45, PORT, port.ip6),
    BOOL(46, PORT, port.router),
    BOOL(47, PORT, port.connected),
    U64(48, PORT, port.serial, UINT64_MAX),
    BOOL(49, PORT, port.allow_host),

    TEXT(56, FORWARD, forward.id),
    BOOL(57, FORWARD, forward.udp),
    BYTES(58, FORWARD, forward.host_ip),
    U64(59, FORWARD, forward.host_port, 65535),
    U64(60, FORWARD, forward.guest_port, 65535),

    U64(64, IMPAIR, impair.out.latency_usec, SWITCH_LATENCY_MAX_USEC),
    U64(65, IMPAIR, impair.out.jitter_usec, SWITCH_LATENCY_MAX_USEC),
    U64(66, IMPAIR, impair.out.loss_ppm, 1000000),
    U64(67, IMPAIR, impair.out.rate_bps, UINT64_MAX),
    BOOL(68, IMPAIR, impair.out.cut),
    U64(72, IMPAIR, impair.in.latency_usec, SWITCH_LATENCY_MAX_USEC),
    U64(73, IMPAIR, impair.in.jitter_usec, SWITCH_LATENCY_MAX_USEC),
    U64(74, IMPAIR, impair.in.loss_ppm, 1000000),
    U64(75, IMPAIR, impair.in.rate_bps, UINT64_MAX),
    BOOL(76, IMPAIR, impair.in.cut),

    U64(160, LIMIT, limit.out_bps, INT64_MAX),
    U64(161, LIMIT, limit.in_bps, INT64_MAX),
    U64(162, LIMIT, limit.packets, UINT32_MAX),
    U64(163, LIMIT, limit.connections, SWITCH_CONNECTIONS_MAX),

    U64(80, COUNTERS, counters.sent_frames, UINT64_MAX),
    U64(81, COUNTERS, counters.sent_bytes, UINT64_MAX),
    U64(82, COUNTERS, counters.received_frames, UINT64_MAX),
    U64(83, COUNTERS, counters.received_bytes, UINT64_MAX),
};

/* ---- writing ---- */

static void write_member(TlvWriter *writer, const Member *member, const uint8_t *at) {
    uint64_t number;
    switch (member->kind) {
    case MEMBER_TEXT:
        if (*at)
            tlv_add_text(writer, member->tag, (const char *)at);
        break;
    case MEMBER_BYTES:
        if (!bytes_are_zero(at, member->size))
            tlv_add(writer, member->tag, at, member->size);
        break;
    case MEMBER_U64:
        memcpy(&number, at, sizeof(number));
        if (number != 0)
            tlv_add_u64(writer, member->tag, number);
        break;
    case MEMBER_BOOL:
        if (*(const bool *)at)
            tlv_add_u64(writer, member->tag, 1);
        break;
    }
}

static void write_members(TlvWriter *writer, const SwitchMessage *message, unsigned parts) {
    for (size_t i = 0; i < ARRAY_SIZE(members); i++)
        if (members[i].part & parts)
            write_member(writer, &members[i], (const uint8_t *)message + members[i].offset);
    for (uint16_t i = 0; parts & SWITCH_PART_COUNTERS && i < SWITCH_DROP_COUNT; i++)
        if (message->counters.drops[i] != 0)
            tlv_add_u64(writer, TAG_DROPS + i, message->counters.drops[i]);
}

int switch_message_write(const SwitchMessage *message, unsigned parts, uint8_t *buffer,
                         size_t room) {
    if (room < HEADER_SIZE)
        return -EMSGSIZE;
    TlvWriter writer;
    tlv_start(&writer, buffer + HEADER_SIZE, room - HEADER_SIZE);
    write_members(&writer, message, parts);
    if (writer.overflow)
        return -EMSGSIZE;
    buffer[0] = (uint8_t)message->number;
    buffer[1] = (uint8_t)(message->number >> 8);
    buffer[2] = buffer[3] = 0;
    return (int)(HEADER_SIZE + writer.size);
}

int switch_message_add_item(uint8_t *buffer, size_t size, size_t room, const SwitchMessage *item,
                            unsigned parts) {
    uint8_t inside[sizeof(*item) * 2];
    int length = switch_message_write(item, parts, inside, sizeof(inside));
    if (length < 0)
        return length;
    TlvWriter writer;
    tlv_start(&writer, buffer + size, room - size);
    tlv_add(&writer, SWITCH_TAG_ITEM, inside, (size_t)length);
    return writer.overflow ? -EMSGSIZE : (int)(size + writer.size);
}

/* ---- reading ---- */

static int bad(Error *error, unsigned tag, const char *rule) {
    return error_set(error, ERROR_USAGE, EINVAL, "field %u of the message %s", tag, rule);
}

static int read_text(const TlvField *field, const Member *member, char *at, Error *error) {
    for (uint32_t i = 0; i < field->size; i++)
        if (field->data[i] < ' ' || (field->data[i] > '~' && member->part != SWITCH_PART_PLAIN))
            return bad(error, field->tag, "is not printable");
    if (tlv_text(field, at, member->size) < 0)
        return bad(error, field->tag, "is too long");
    return 0;
}

static int read_member(const TlvField *field, const Member *member, uint8_t *at, Error *error) {
    uint64_t number;
    switch (member->kind) {
    case MEMBER_TEXT:
        return read_text(field, member, (char *)at, error);
    case MEMBER_BYTES:
        if (field->size != member->size)
            return bad(error, field->tag, "has another size");
        memcpy(at, field->data, field->size);
        return 0;
    case MEMBER_U64:
    case MEMBER_BOOL:
        if (tlv_u64(field, &number) < 0 || number > member->limit)
            return bad(error, field->tag, "is no number within its bounds");
        if (member->kind == MEMBER_BOOL)
            *(bool *)at = number != 0;
        else
            memcpy(at, &number, sizeof(number));
        return 0;
    }
    return 0;
}

static int read_field(const TlvField *field, SwitchMessage *message, Error *error) {
    if (field->tag >= TAG_DROPS && field->tag < TAG_DROPS + SWITCH_DROP_COUNT)
        return tlv_u64(field, &message->counters.drops[field->tag - TAG_DROPS]) < 0
                   ? bad(error, field->tag, "is no number")
                   : 0;
    for (size_t i = 0; i < ARRAY_SIZE(members); i++)
        if (members[i].tag == field->tag)
            return read_member(field, &members[i], (uint8_t *)message + members[i].offset, error);
    return 0;
}

int switch_message_read(const uint8_t *buffer, size_t size, SwitchMessage *message, Error *error) {
    if (size < HEADER_SIZE || buffer[2] != 0 || buffer[3] != 0)
        return error_set(error, ERROR_USAGE, EINVAL, "the message has no header");
    SwitchMessage read = {.number = (uint16_t)(buffer[0] | buffer[1] << 8)};
    TlvReader reader;
    TlvField field;
    int r;
    tlv_read(&reader, buffer + HEADER_SIZE, size - HEADER_SIZE);
    while ((r = tlv_next(&reader, &field)) > 0)
        if (read_field(&field, &read, error) < 0)
            return -EINVAL;
    if (r < 0)
        return error_set(error, ERROR_USAGE, EINVAL, "the message is cut off within a field");
    *message = read;
    return 0;
}

int switch_message_items(const uint8_t *buffer, size_t size, SwitchItemHandler handler, void *data,
                         Error *error) {
    TlvReader reader;
    TlvField field;
    int r = 0;
    tlv_read(&reader, buffer + HEADER_SIZE, size - HEADER_SIZE);
    while (r >= 0 && tlv_next(&reader, &field) > 0) {
        SwitchMessage item;
        if (field.tag != SWITCH_TAG_ITEM)
            continue;
        r = switch_message_read(field.data, field.size, &item, error);
        if (r == 0)
            r = handler(data, &item);
    }
    return r;
}
