/* SPDX-License-Identifier: Apache-2.0 */

#include "home/card.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "base/path.h"
#include "base/str.h"

static int parse_ip(const char *text, VmCard *card, Error *error) {
    struct in_addr address;
    if (inet_pton(AF_INET, text, &address) != 1)
        return error_set(error, ERROR_USAGE, EINVAL, "\"%.40s\" is no IPv4 address", text);
    (void)inet_ntop(AF_INET, &address, card->ip, sizeof(card->ip));
    return 0;
}

/* One that a card can have: of a single station, and not of nobody. */
static int parse_mac(const char *text, VmCard *card, Error *error) {
    static const uint8_t zeroes[6];
    uint8_t mac[6];
    int end = 0;
    int n = sscanf(text, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%n", &mac[0], &mac[1], &mac[2],
                   &mac[3], &mac[4], &mac[5], &end);
    if (n != 6 || strlen(text) != 17 || end != 17 || mac[0] & 1 ||
        memcmp(mac, zeroes, sizeof(mac)) == 0)
        return error_set(error, ERROR_USAGE, EINVAL,
                         "\"%.40s\" is no MAC address of a card, such as 52:54:00:12:34:56", text);
    (void)snprintf(card->mac, sizeof(card->mac), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1],
                   mac[2], mac[3], mac[4], mac[5]);
    return 0;
}

static int parse_option(const char *text, VmCard *card, Error *error) {
    if (str_has_prefix(text, "ip="))
        return parse_ip(text + strlen("ip="), card, error);
    if (str_has_prefix(text, "mac="))
        return parse_mac(text + strlen("mac="), card, error);
    if (str_equal(text, "allow-host")) {
        card->allow_host = true;
        return 0;
    }
    error_set(error, ERROR_USAGE, EINVAL, "a network has no option \"%.40s\"", text);
    error_set_hint(error, "it is NAME[,ip=ADDRESS][,mac=MAC] or user[,allow-host]");
    return -EINVAL;
}

static int parse_card(const char *text, VmCard *card, Error *error) {
    _cleanup_free_ char *copy = str_copy(text);
    char *rest = NULL, *word = strtok_r(copy, ",", &rest);
    int r = name_check_existing("network", str_or_empty(word), error);
    *card = (VmCard){.ip = ""};
    if (r < 0)
        return r;
    str_set(card->network, word);
    while (r >= 0 && (word = strtok_r(NULL, ",", &rest)))
        r = parse_option(word, card, error);
    return r;
}

int vm_cards_parse(const char *network, const json_t *networks, VmCards *cards, Error *error) {
    VmCards parsed = {0};
    int r = 0;
    if (network && networks)
        return error_set(error, ERROR_USAGE, EINVAL, "network and networks exclude each other");
    if (json_array_size(networks) > ARRAY_SIZE(parsed.items))
        return error_set(error, ERROR_USAGE, E2BIG, "a VM is in at most %d networks",
                         PLAN_CARDS_MAX);
    if (network)
        r = parse_card(network, &parsed.items[parsed.count++], error);
    for (size_t i = 0; r >= 0 && i < json_array_size(networks); i++)
        r = parse_card(str_or_empty(json_string_value(json_array_get(networks, i))),
                       &parsed.items[parsed.count++], error);
    if (r >= 0 && parsed.count > 0)
        *cards = parsed;
    return r;
}

static int check_card(const VmCards *cards, size_t index, Error *error) {
    const VmCard *card = &cards->items[index];
    if (!vm_network_is_named(card->network) && (*card->ip || *card->mac))
        return error_set(error, ERROR_USAGE, EINVAL, "--network %s has no addresses to choose",
                         card->network);
    if (card->allow_host && !str_equal(card->network, "user")) {
        error_set(error, ERROR_USAGE, EINVAL, "allow-host is an option of the network user");
        error_set_hint(error, "another network has it from its creation: ramet network create "
                              "NAME --allow-host");
        return -EINVAL;
    }
    for (size_t i = 0; i < index && !str_equal(card->network, "none"); i++)
        if (str_equal(cards->items[i].network, card->network))
            return error_set(error, ERROR_USAGE, EINVAL, "the VM would be in network %s twice",
                             card->network);
    return 0;
}

int vm_cards_check(const VmCards *cards, Error *error) {
    int r = 0;
    for (size_t i = 0; r == 0 && i < cards->count; i++)
        r = check_card(cards, i, error);
    return r;
}
