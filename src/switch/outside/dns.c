/* SPDX-License-Identifier: Apache-2.0 */
#include "switch/outside/dns.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "base/str.h"
#include "switch/frame/packet.h"
#include "switch/ports/table.h"

#define TYPE_A 1
#define TYPE_PTR 12
#define TYPE_AAAA 28
#define TYPE_ANY 255
#define CLASS_IN 1
#define FLAG_RESPONSE 0x8000
#define FLAG_AUTHORITATIVE 0x0400
#define FLAG_TRUNCATED 0x0200
#define FLAG_RECURSION_DESIRED 0x0100
#define FLAG_RECURSION_AVAILABLE 0x0080
#define TIME_TO_LIVE 5      /* seconds: names come and go with VMs */
#define NAME_MAX_LENGTH 253 /* as text: 255 bytes with their lengths */
#define TOP_DOMAIN "ramet"

/* ---- queries ---- */

static bool is_text(uint8_t byte) {
    return byte > ' ' && byte < 127 && byte != '.' && byte != '\\';
}

/* Adds a label to the name; clears *text when it is none. */
static void add_label(char *name, size_t *length, const uint8_t *label, size_t size, bool *text) {
    if (*length > 0)
        name[(*length)++] = '.';
    for (size_t i = 0; i < size; i++) {
        *text = *text && is_text(label[i]);
        name[(*length)++] = (char)(label[i] >= 'A' && label[i] <= 'Z' ? label[i] + 32 : label[i]);
    }
}

/* A question's name is never compressed. Returns where it ends, or 0. */
static size_t read_name(const uint8_t *data, size_t size, char name[256]) {
    size_t at = DNS_HEADER_SIZE, length = 0;
    bool text = true;
    while (at < size && data[at] != 0) {
        size_t label = data[at];
        if (label > 63 || at + 1 + label > size || length + 1 + label > NAME_MAX_LENGTH)
            return 0;
        add_label(name, &length, data + at + 1, label, &text);
        at += 1 + label;
    }
    name[text ? length : 0] = '\0';
    return at < size ? at + 1 : 0;
}

int dns_read_query(DnsQuery *query, const uint8_t *data, size_t size) {
    *query = (DnsQuery){.data = data, .size = size};
    if (size < DNS_HEADER_SIZE || data[2] & 0x80)
        return -1;
    if (data[2] & 0x78)
        return DNS_NOT_DONE; /* another operation than a query */
    if (get_be16(data + 4) != 1 || get_be16(data + 6) != 0 || get_be16(data + 8) != 0)
        return DNS_FORMAT;
    size_t end = read_name(data, size, query->name);
    if (end == 0 || size - end < 4)
        return DNS_FORMAT;
    query->type = get_be16(data + end);
    query->class_ = get_be16(data + end + 2);
    query->question_end = end + 4;
    return DNS_OK;
}

/* ---- answers ---- */

typedef struct Answer {
    uint8_t *data;
    size_t size;
    size_t room;
    uint16_t count;
} Answer;

static void start_answer(Answer *answer, const DnsQuery *query, uint8_t *data, size_t room) {
    size_t size = query->question_end ? query->question_end : DNS_HEADER_SIZE;
    *answer = (Answer){.data = data, .size = size, .room = room};
    memcpy(data, query->data, size);
    memset(data + 6, 0, 6);
    put_be16(data + 4, query->question_end ? 1 : 0);
}

static size_t end_answer(const Answer *answer, uint16_t flags, DnsCode code) {
    uint16_t asked = get_be16(answer->data + 2) & (0x7800 | FLAG_RECURSION_DESIRED);
    put_be16(answer->data + 2,
             (uint16_t)(FLAG_RESPONSE | FLAG_RECURSION_AVAILABLE | asked | flags | code));
    put_be16(answer->data + 6, answer->count);
    return answer->size;
}

static void add_record(Answer *answer, uint16_t type, const uint8_t *data, size_t size) {
    static const uint8_t name_of_question[] = {0xc0, DNS_HEADER_SIZE};
    uint8_t *at = answer->data + answer->size;
    if (answer->room - answer->size < 12 + size)
        return;
    memcpy(at, name_of_question, sizeof(name_of_question));
    put_be16(at + 2, type);
    put_be16(at + 4, CLASS_IN);
    put_be32(at + 6, TIME_TO_LIVE);
    put_be16(at + 10, (uint16_t)size);
    memcpy(at + 12, data, size);
    answer->size += 12 + size;
    answer->count++;
}

static void add_addresses(Answer *answer, const Port *port, uint16_t type) {
    const SwitchPort *lease = &port->lease;
    if ((type == TYPE_A || type == TYPE_ANY) && !is_unset(lease->ip, sizeof(lease->ip)))
        add_record(answer, TYPE_A, lease->ip, sizeof(lease->ip));
    if ((type == TYPE_AAAA || type == TYPE_ANY) && !is_unset(lease->ip6, sizeof(lease->ip6)))
        add_record(answer, TYPE_AAAA, lease->ip6, sizeof(lease->ip6));
}

/* "a.b" as labels. Returns their size, 0 when a label is empty or too long. */
static size_t write_name(const char *text, uint8_t *name, size_t room) {
    size_t size = 0;
    for (const char *label = text; *label;) {
        size_t length = strcspn(label, ".");
        if (length == 0 || length > 63 || size + length + 2 > room)
            return 0;
        name[size++] = (uint8_t)length;
        memcpy(name + size, label, length);
        size += length;
        label += length + (label[length] == '.');
    }
    name[size++] = 0;
    return size;
}

static void add_pointer(Answer *answer, const Switch *net, const Port *port) {
    char text[2 * SWITCH_NAME_SIZE + 16];
    uint8_t name[255];
    (void)snprintf(text, sizeof(text), "%s.%s." TOP_DOMAIN, port->lease.name, net->network.name);
    size_t size = write_name(text, name, sizeof(name));
    if (size > 0)
        add_record(answer, TYPE_PTR, name, size);
}

/* ---- names ---- */

/* The part of a name in front of the network's domain, or of a bare name: NULL when it is neither.
 * *inside: it is in the domain, so nobody else is to be asked. */
static const char *local_part(const Switch *net, char *name, bool *inside) {
    char domain[SWITCH_NAME_SIZE + 16];
    size_t length = strlen(name);
    size_t tail = (size_t)snprintf(domain, sizeof(domain), ".%s." TOP_DOMAIN, net->network.name);
    *inside = str_has_suffix(name, "." TOP_DOMAIN) || str_equal(name, TOP_DOMAIN);
    if (length > tail && str_has_suffix(name, domain))
        name[length - tail] = '\0';
    else if (*inside)
        return NULL;
    return name;
}

/* 1.0.0.10.in-addr.arpa */
static bool parse_reverse4(const char *name, uint8_t ip[4]) {
    unsigned n[4];
    int end = 0;
    if (sscanf(name, "%3u.%3u.%3u.%3u.in-addr.arpa%n", &n[3], &n[2], &n[1], &n[0], &end) != 4 ||
        end == 0 || name[end])
        return false;
    for (int i = 0; i < 4; i++) {
        if (n[i] > 255)
            return false;
        ip[i] = (uint8_t)n[i];
    }
    return true;
}

/* 32 digits of one nibble each, the last one first, and ip6.arpa */
static bool parse_reverse6(const char *name, uint8_t ip[16]) {
    char digits[33] = "";
    if (strlen(name) != 72 || !str_equal(name + 64, "ip6.arpa"))
        return false;
    for (size_t i = 0; i < 32; i++) {
        if (name[2 * i + 1] != '.')
            return false;
        digits[31 - i] = name[2 * i];
    }
    return hex_decode(digits, ip, 16) == 0;
}

/* The port of a reverse name. *inside: the address is one of the network's. */
static const Port *find_reverse(const Switch *net, const char *name, bool *inside) {
    const SwitchNetwork *network = &net->network;
    uint8_t ip[16];
    if (parse_reverse4(name, ip)) {
        *inside = network->prefix && in_prefix(ip, network->subnet, network->prefix);
        return table_find_ip(net, ip);
    }
    if (parse_reverse6(name, ip)) {
        *inside = network->prefix6 && in_prefix(ip, network->subnet6, network->prefix6);
        return table_find_ip6(net, ip);
    }
    *inside = false;
    return NULL;
}

size_t dns_answer(const Switch *net, const DnsQuery *query, uint8_t *data, size_t room) {
    char name[sizeof(query->name)];
    bool inside_reverse, inside;
    Answer answer;
    if (query->class_ != CLASS_IN || !query->name[0] || net->network.apart)
        return 0;
    str_set(name, query->name);
    const Port *reverse = find_reverse(net, name, &inside_reverse);
    const char *local = local_part(net, name, &inside);
    const Port *port = local ? table_find_name(net, local) : NULL;
    if (!port && !inside && !inside_reverse)
        return 0;
    start_answer(&answer, query, data, room);
    if (port)
        add_addresses(&answer, port, query->type);
    else if (reverse && reverse->lease.name[0] && query->type == TYPE_PTR)
        add_pointer(&answer, net, reverse);
    bool known = port || (reverse && reverse->lease.name[0]);
    return end_answer(&answer, FLAG_AUTHORITATIVE, known ? DNS_OK : DNS_NO_NAME);
}

size_t dns_refuse(const DnsQuery *query, DnsCode code, uint8_t *data, size_t room) {
    Answer answer;
    start_answer(&answer, query, data, room);
    return end_answer(&answer, 0, code);
}

size_t dns_truncate(uint8_t *data, size_t question_end) {
    put_be16(data + 2, get_be16(data + 2) | FLAG_TRUNCATED);
    memset(data + 6, 0, 6);
    return question_end;
}
