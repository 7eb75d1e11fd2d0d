/* SPDX-License-Identifier: Apache-2.0 */

/* Snapshots that must not go: who is about to make something grow from one pins it first. */

#include "frozen/pins.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/str.h"
#include "home/home.h"
#include "home/inside.h"
#include "store/snapshots.h"
#include "store/vms.h"

typedef struct Pin {
    char id[VM_ID_SIZE];
    unsigned count;
    struct Pin *next;
} Pin;

static Pin *find_pin(Home *home, const char *id) {
    for (Pin *pin = home->pins; pin; pin = pin->next)
        if (str_equal(pin->id, id))
            return pin;
    return NULL;
}

void snapshot_pin_id(Home *home, const char *id) {
    Pin *pin;
    (void)pthread_mutex_lock(&home->mutex);
    pin = find_pin(home, id);
    if (!pin) {
        pin = calloc(1, sizeof(*pin));
        if (!pin)
            abort();
        (void)snprintf(pin->id, sizeof(pin->id), "%s", id);
        pin->next = home->pins;
        home->pins = pin;
    }
    pin->count++;
    (void)pthread_mutex_unlock(&home->mutex);
}

void snapshot_unpin(Home *home, const char *id) {
    Pin **link = &home->pins, *pin;
    (void)pthread_mutex_lock(&home->mutex);
    while (*link && !str_equal((*link)->id, id))
        link = &(*link)->next;
    pin = *link;
    if (pin && --pin->count == 0) {
        *link = pin->next;
        free(pin);
    }
    (void)pthread_mutex_unlock(&home->mutex);
}

bool snapshot_is_pinned(Home *home, const char *id) {
    bool pinned;
    (void)pthread_mutex_lock(&home->mutex);
    pinned = find_pin(home, id) != NULL;
    (void)pthread_mutex_unlock(&home->mutex);
    return pinned;
}

/* The pin comes first and the look second, so that a removal sees the pin or we its state. */
int snapshot_pin(Home *home, const char *id, SnapshotRow *row, Error *error) {
    _cleanup_snapshot_row_ SnapshotRow found = {0};
    int r;
    snapshot_pin_id(home, id);
    r = snapshots_get(home->store, id, &found, error);
    if (r >= 0 && found.state != SNAPSHOT_READY)
        r = error_set(error, ERROR_NOT_FOUND, ENOENT, "there is no snapshot %s any more", id);
    if (r < 0) {
        snapshot_unpin(home, id);
        return r;
    }
    *row = found;
    found = (SnapshotRow){0};
    return 0;
}

int snapshot_pin_key(Home *home, const char *key, const char *purpose, SnapshotRow *row,
                     Error *error) {
    _cleanup_snapshot_row_ SnapshotRow found = {0};
    int r = snapshots_find_key(home->store, key, purpose, &found, error);
    if (r <= 0)
        return r;
    return snapshot_pin(home, found.id, row, NULL) < 0 ? 0 : 1; /* it just went */
}
