/* SPDX-License-Identifier: Apache-2.0 */

#include "network/bridge/taps.h"

#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/str.h"

void taps_add(Taps *taps, const Tap *tap) {
    taps->items = reallocarray(taps->items, taps->count + 1, sizeof(*taps->items));
    if (!taps->items)
        abort();
    taps->items[taps->count++] = *tap;
}

Tap *taps_find(const Taps *taps, const char *use) {
    for (size_t i = 0; i < taps->count; i++)
        if (str_equal(taps->items[i].use, use))
            return &taps->items[i];
    return NULL;
}

Tap *taps_find_free(const Taps *taps, const char *network) {
    for (size_t i = 0; i < taps->count; i++)
        if (taps->items[i].fd >= 0 && str_equal(taps->items[i].network, network))
            return &taps->items[i];
    return NULL;
}

size_t taps_count_free(const Taps *taps, const char *network) {
    size_t count = 0;
    for (size_t i = 0; i < taps->count; i++)
        count += taps->items[i].fd >= 0 && str_equal(taps->items[i].network, network);
    return count;
}

void tap_set_card(Tap *tap, const VmAddress *address, const PortForward *forwards, size_t count) {
    PortForward *copy = calloc(count + 1, sizeof(*copy));
    if (!copy)
        abort();
    if (count > 0)
        memcpy(copy, forwards, count * sizeof(*copy));
    free(tap->forwards);
    tap->forwards = copy;
    tap->n_forwards = count;
    tap->address = *address;
}

void tap_add_forward(Tap *tap, const PortForward *forward) {
    tap->forwards = reallocarray(tap->forwards, tap->n_forwards + 1, sizeof(*tap->forwards));
    if (!tap->forwards)
        abort();
    tap->forwards[tap->n_forwards++] = *forward;
}

void tap_remove_forward(Tap *tap, const PortForward *forward) {
    for (size_t i = 0; i < tap->n_forwards; i++) {
        const PortForward *other = &tap->forwards[i];
        if (other->host_port != forward->host_port || other->udp != forward->udp ||
            !str_equal(other->host_ip, forward->host_ip))
            continue;
        tap->forwards[i] = tap->forwards[--tap->n_forwards];
        return;
    }
}

static void tap_free(Tap *tap) {
    (void)fd_close(tap->fd);
    free(tap->forwards);
}

void taps_remove(Taps *taps, Tap *tap) {
    tap_free(tap);
    *tap = taps->items[--taps->count];
}

void taps_free(Taps *taps) {
    for (size_t i = 0; i < taps->count; i++)
        tap_free(&taps->items[i]);
    free(taps->items);
    *taps = (Taps){.count = 0};
}
