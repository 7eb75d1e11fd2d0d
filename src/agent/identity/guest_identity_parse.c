/* SPDX-License-Identifier: Apache-2.0 */
/* Reading an IDENTITY request. It comes from the host, so nothing here is about trust: a field that
 * is malformed means that the two sides do not understand each other. */

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "agent/identity/guest_identity.h"
#include "proto/agent.h"
#include "proto/tlv.h"

#define CLOCK_LIMIT_DEFAULT_USEC 1000000u

static bool is_pattern(const char *text, const char *pattern) {
    for (; *pattern; text++, pattern++)
        if (*pattern == 'x' ? !isxdigit((unsigned char)*text) : *text != *pattern)
            return false;
    return *text == '\0';
}

static bool is_hostname(const char *text) {
    if (!*text)
        return false;
    for (; *text; text++)
        if (!isalnum((unsigned char)*text) && !strchr("-_.", *text))
            return false;
    return true;
}

static int parse_text(const TlvField *field, char *text, size_t room, const char *pattern) {
    int r = tlv_text(field, text, room);
    if (r < 0)
        return -EBADMSG;
    return (pattern ? is_pattern(text, pattern) : is_hostname(text)) ? 0 : -EBADMSG;
}

static int parse_line(const TlvField *field, char *text, size_t room) {
    return tlv_text(field, text, room) < 0 || strchr(text, '\n') ? -EBADMSG : 0;
}

static int parse_lines(const TlvField *field, char *text, size_t room) {
    return tlv_text(field, text, room) < 0 ? -EBADMSG : 0;
}

static int parse_bytes(const TlvField *field, void *bytes, size_t size, bool *there) {
    if (field->size != size)
        return -EBADMSG;
    memcpy(bytes, field->data, size);
    *there = true;
    return 0;
}

static int parse_flag(const TlvField *field, bool *flag) {
    uint64_t value;
    int r = tlv_u64(field, &value);
    if (r == 0)
        *flag = value != 0;
    return r;
}

static int parse_mount(const TlvField *field, GuestIdentity *identity) {
    if (identity->n_mounts == IDENTITY_MOUNTS_MAX)
        return -EBADMSG;
    char *word = identity->mounts[identity->n_mounts++];
    return parse_line(field, word, sizeof(identity->mounts[0]));
}

static int parse_prefix(const TlvField *field, unsigned most, unsigned *prefix) {
    uint64_t value;
    int r = tlv_u64(field, &value);
    if (r < 0 || value > most)
        return -EBADMSG;
    *prefix = (unsigned)value;
    return 0;
}

static int parse_dns(const TlvField *field, Dns *dns) {
    bool there;
    if (dns->count == NETWORK_DNS_MAX)
        return 0;
    int r = parse_bytes(field, dns->servers[dns->count], 4, &there);
    if (r == 0)
        dns->count++;
    return r;
}

static int parse_network_field(Network *network, const TlvField *field) {
    switch (field->tag) {
    case TAG_MAC:
        return parse_bytes(field, network->mac, 6, &network->has_mac);
    case TAG_IPV4:
        return parse_bytes(field, network->ip, 4, &network->has_ip);
    case TAG_IPV4_GATEWAY:
        return parse_bytes(field, network->gateway, 4, &network->has_gateway);
    case TAG_IPV4_PREFIX:
        return parse_prefix(field, 32, &network->prefix);
    case TAG_IPV6:
        return parse_bytes(field, network->ip6, 16, &network->has_ip6);
    case TAG_IPV6_GATEWAY:
        return parse_bytes(field, network->gateway6, 16, &network->has_gateway6);
    case TAG_IPV6_PREFIX:
        return parse_prefix(field, 128, &network->prefix6);
    default:
        return 0;
    }
}

static int parse_card(const TlvField *field, GuestIdentity *identity) {
    TlvReader reader;
    TlvField inner;
    int r;
    if (identity->n_networks == NETWORK_CARDS_MAX)
        return -EBADMSG;
    Network *network = &identity->networks[identity->n_networks++];
    tlv_read(&reader, field->data, field->size);
    while ((r = tlv_next(&reader, &inner)) > 0)
        if (parse_network_field(network, &inner) < 0)
            return -EBADMSG;
    return r < 0 || !network->has_mac ? -EBADMSG : 0;
}

static int parse_field(GuestIdentity *identity, const TlvField *field) {
    switch (field->tag) {
    case TAG_HOSTNAME:
        return parse_text(field, identity->hostname, sizeof(identity->hostname), NULL);
    case TAG_MACHINE_ID:
        return parse_text(field, identity->machine_id, sizeof(identity->machine_id),
                          "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
    case TAG_BOOT_ID:
        return parse_text(field, identity->boot_id, sizeof(identity->boot_id),
                          "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx");
    case TAG_ENTROPY:
        identity->entropy_size = MIN_OF(field->size, sizeof(identity->entropy));
        memcpy(identity->entropy, field->data, identity->entropy_size);
        return 0;
    case TAG_REALTIME_USEC:
        identity->clock.given = true;
        return tlv_u64(field, &identity->clock.realtime_usec);
    case TAG_UPTIME_USEC:
        return tlv_u64(field, &identity->clock.uptime_usec);
    case TAG_LIMIT_USEC:
        return tlv_u64(field, &identity->clock.limit_usec);
    case TAG_CARD:
        return parse_card(field, identity);
    case TAG_DNS:
        return parse_dns(field, &identity->dns);
    case TAG_SEARCH:
        return parse_text(field, identity->dns.search, sizeof(identity->dns.search), NULL);
    case TAG_SSH_KEYS:
        return parse_flag(field, &identity->ssh_keys);
    case TAG_SSH_KEY:
        return parse_line(field, identity->ssh_key, sizeof(identity->ssh_key));
    case TAG_SSH_PUBLIC_KEY:
        return parse_line(field, identity->ssh_public_key, sizeof(identity->ssh_public_key));
    case TAG_HOME_KEY:
        return parse_line(field, identity->logins.home_key, sizeof(identity->logins.home_key));
    case TAG_LOGINS:
        return parse_lines(field, identity->logins.keys, sizeof(identity->logins.keys));
    case TAG_LOGIN_USER:
        return parse_line(field, identity->logins.user, sizeof(identity->logins.user));
    case TAG_MOUNT:
        return parse_mount(field, identity);
    case TAG_CHANGED_DISK:
        return parse_line(field, identity->changed_disk, sizeof(identity->changed_disk));
    case TAG_GENERATION:
        return parse_bytes(field, identity->generation, sizeof(identity->generation),
                           &identity->has_generation);
    case TAG_HOOKS:
        return parse_flag(field, &identity->hooks);
    case TAG_RESIZE_ROOT:
        return parse_flag(field, &identity->resize_root);
    default:
        return parse_network_field(&identity->networks[0], field);
    }
}

int guest_identity_parse(const void *payload, size_t size, GuestIdentity *identity,
                         Result *result) {
    GuestIdentity read = {.clock.limit_usec = CLOCK_LIMIT_DEFAULT_USEC, .n_networks = 1};
    TlvReader reader;
    TlvField field;
    int r;
    tlv_read(&reader, payload, size);
    while ((r = tlv_next(&reader, &field)) > 0)
        if (parse_field(&read, &field) < 0)
            return result_say(result, EBADMSG, "identity: field %u is malformed", field.tag);
    if (r < 0)
        return result_say(result, EBADMSG, "identity: the request is malformed");
    *identity = read;
    return 0;
}
