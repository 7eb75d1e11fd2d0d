/* SPDX-License-Identifier: Apache-2.0 */
/* Reading an IDENTITY request. It comes from the host, so nothing here is about trust: a field that
 * is malformed means that the two sides do not understand each other. */

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "agent/identity.h"
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

static int take_text(const TlvField *field, char *text, size_t room, const char *pattern) {
    int r = tlv_text(field, text, room);

    if (r < 0)
        return -EBADMSG;
    return (pattern ? is_pattern(text, pattern) : is_hostname(text)) ? 0 : -EBADMSG;
}

static int take_bytes(const TlvField *field, void *bytes, size_t size, bool *there) {
    if (field->size != size)
        return -EBADMSG;
    memcpy(bytes, field->data, size);
    *there = true;
    return 0;
}

static int take_flag(const TlvField *field, bool *flag) {
    uint64_t value;
    int r = tlv_u64(field, &value);

    if (r == 0)
        *flag = value != 0;
    return r;
}

static int take_prefix(const TlvField *field, unsigned *prefix) {
    uint64_t value;
    int r = tlv_u64(field, &value);

    if (r < 0 || value > 32)
        return -EBADMSG;
    *prefix = (unsigned)value;
    return 0;
}

static int take_dns(const TlvField *field, Network *network) {
    bool there;

    if (network->n_dns == NETWORK_DNS_MAX)
        return 0;
    int r = take_bytes(field, network->dns[network->n_dns], 4, &there);

    if (r == 0)
        network->n_dns++;
    return r;
}

static int take_field(Identity *identity, const TlvField *field) {
    Network *network = &identity->network;

    switch (field->tag) {
    case TAG_HOSTNAME:
        return take_text(field, identity->hostname, sizeof(identity->hostname), NULL);
    case TAG_MACHINE_ID:
        return take_text(field, identity->machine_id, sizeof(identity->machine_id),
                         "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
    case TAG_BOOT_ID:
        return take_text(field, identity->boot_id, sizeof(identity->boot_id),
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
    case TAG_MAC:
        return take_bytes(field, network->mac, 6, &network->has_mac);
    case TAG_IPV4:
        return take_bytes(field, network->ip, 4, &network->has_ip);
    case TAG_IPV4_GATEWAY:
        return take_bytes(field, network->gateway, 4, &network->has_gateway);
    case TAG_IPV4_PREFIX:
        return take_prefix(field, &network->prefix);
    case TAG_DNS:
        return take_dns(field, network);
    case TAG_SSH_KEYS:
        return take_flag(field, &identity->ssh_keys);
    case TAG_HOOKS:
        return take_flag(field, &identity->hooks);
    case TAG_GROW_ROOT:
        return take_flag(field, &identity->grow_root);
    default:
        return 0;
    }
}

int identity_parse(const void *payload, size_t size, Identity *identity, Result *result) {
    Identity read = {.clock.limit_usec = CLOCK_LIMIT_DEFAULT_USEC};
    TlvReader reader;
    TlvField field;
    int r;

    tlv_read(&reader, payload, size);
    while ((r = tlv_next(&reader, &field)) > 0)
        if (take_field(&read, &field) < 0)
            return result_say(result, EBADMSG, "identity: field %u is malformed", field.tag);
    if (r < 0)
        return result_say(result, EBADMSG, "identity: the request is malformed");
    *identity = read;
    return 0;
}
