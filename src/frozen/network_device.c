/* SPDX-License-Identifier: Apache-2.0 */

#include "frozen/network_device.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"

static const char *kind_of(const char *network) {
    return str_equal(network, "none") ? "unplugged" : "dgram";
}

static void add(char text[NETWORK_DEVICE_SIZE], const char *kind) {
    size_t length = strlen(text);
    (void)snprintf(text + length, NETWORK_DEVICE_SIZE - length, "%s%s", length ? ";" : "", kind);
}

void network_device_of(const VmSpec *spec, char text[NETWORK_DEVICE_SIZE]) {
    text[0] = '\0';
    for (size_t i = 0; i < spec->cards.count; i++)
        add(text, kind_of(spec->cards.items[i].network));
}

void network_device_earlier(const VmSpec *spec, char text[NETWORK_DEVICE_SIZE]) {
    text[0] = '\0';
    for (size_t i = 0; i < spec->cards.count; i++) {
        const char *network = spec->cards.items[i].network;
        add(text, str_equal(network, "user") ? network : kind_of(network));
    }
}

/* The next word; NULL: there is none. */
static const char *next(const char **text, size_t *size) {
    const char *word = *text;
    if (!word || !*word)
        return NULL;
    *size = strcspn(word, ";");
    *text = word + *size + (word[*size] == ';');
    return word;
}

static bool is_word(const char *word, size_t size, const char *wanted) {
    return strlen(wanted) == size && memcmp(word, wanted, size) == 0;
}

size_t network_device_count(const char *text) {
    size_t size, count = 0;
    while (next(&text, &size))
        count++;
    return count;
}

static bool is_kind(const char *text, size_t card, const char *kind) {
    size_t size, i = 0;
    for (const char *word; (word = next(&text, &size)); i++)
        if (i == card)
            return is_word(word, size, kind);
    return false;
}

bool network_device_is_user(const char *text, size_t card) {
    return is_kind(text, card, "user");
}

bool network_device_is_dgram(const char *text, size_t card) {
    return is_kind(text, card, "dgram") || is_kind(text, card, "unplugged");
}

bool network_device_is_known(const char *text) {
    static const char *const kinds[] = {"user", "dgram", "unplugged", "none"};
    size_t size;
    for (const char *word; (word = next(&text, &size));) {
        bool known = false;
        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
            known |= is_word(word, size, kinds[i]);
        if (!known)
            return false;
    }
    return true;
}

void network_device_restored(const char *was, char text[NETWORK_DEVICE_SIZE]) {
    text[0] = '\0';
    for (size_t i = 0; i < network_device_count(was); i++)
        add(text, network_device_is_user(was, i)    ? "user"
                  : network_device_is_dgram(was, i) ? "dgram"
                                                    : "none");
}
