/* SPDX-License-Identifier: Apache-2.0 */

/* Counters only grow: slot i holds buffer number n when n % slots == i. The producer may fill
 * number n once n - slots was released; a consumer may take number n once it is committed. Buffers
 * are filled and read without the lock, since by these rules nobody else touches them meanwhile. */

#include <pthread.h>
#include <stdbool.h>

#include "disk/ring.h"

typedef struct Slot {
    uint8_t *data; /* owned */
    size_t size;
    bool in_use; /* from its commit to its release */
} Slot;

struct Ring {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    Slot *slots; /* owned */
    unsigned n_slots;
    uint64_t committed, taken;
    bool finished, stopped;
};

static void *must(void *pointer) {
    if (!pointer)
        abort();
    return pointer;
}

Ring *ring_new(unsigned slots, size_t slot_bytes) {
    Ring *ring = must(calloc(1, sizeof(*ring)));
    pthread_mutex_init(&ring->mutex, NULL);
    pthread_cond_init(&ring->changed, NULL);
    ring->slots = must(calloc(slots, sizeof(Slot)));
    for (unsigned i = 0; i < slots; i++)
        ring->slots[i].data = must(malloc(slot_bytes));
    ring->n_slots = slots;
    return ring;
}

void ring_free(Ring *ring) {
    if (!ring)
        return;
    for (unsigned i = 0; i < ring->n_slots; i++)
        free(ring->slots[i].data);
    free(ring->slots);
    pthread_cond_destroy(&ring->changed);
    pthread_mutex_destroy(&ring->mutex);
    free(ring);
}

static Slot *slot_of(const Ring *ring, uint64_t number) {
    return &ring->slots[number % ring->n_slots];
}

uint8_t *ring_reserve(Ring *ring) {
    uint8_t *data;
    pthread_mutex_lock(&ring->mutex);
    while (!ring->stopped && slot_of(ring, ring->committed)->in_use)
        pthread_cond_wait(&ring->changed, &ring->mutex);
    data = ring->stopped ? NULL : slot_of(ring, ring->committed)->data;
    pthread_mutex_unlock(&ring->mutex);
    return data;
}

void ring_commit(Ring *ring, size_t size) {
    pthread_mutex_lock(&ring->mutex);
    slot_of(ring, ring->committed)->size = size;
    slot_of(ring, ring->committed++)->in_use = true;
    pthread_cond_broadcast(&ring->changed);
    pthread_mutex_unlock(&ring->mutex);
}

static void set_flag(Ring *ring, bool *flag, bool value) {
    pthread_mutex_lock(&ring->mutex);
    *flag = value;
    pthread_cond_broadcast(&ring->changed);
    pthread_mutex_unlock(&ring->mutex);
}

void ring_finish(Ring *ring) {
    set_flag(ring, &ring->finished, true);
}

void ring_stop(Ring *ring) {
    set_flag(ring, &ring->stopped, true);
}

const uint8_t *ring_acquire(Ring *ring, size_t *size, uint64_t *number) {
    const Slot *slot = NULL;
    pthread_mutex_lock(&ring->mutex);
    while (!ring->stopped && !ring->finished && ring->taken == ring->committed)
        pthread_cond_wait(&ring->changed, &ring->mutex);
    if (!ring->stopped && ring->taken < ring->committed) {
        *number = ring->taken++;
        slot = slot_of(ring, *number);
        *size = slot->size;
    }
    pthread_mutex_unlock(&ring->mutex);
    return slot ? slot->data : NULL;
}

void ring_release(Ring *ring, uint64_t number) {
    set_flag(ring, &slot_of(ring, number)->in_use, false);
}
