/* SPDX-License-Identifier: Apache-2.0 */

/* Counters only grow: slot i holds buffer number n when n % slots == i. The producer may fill
 * number n once every consumer has released n - slots; a consumer may take number n once it is
 * committed. Buffers are filled and read without the lock, since by these rules nobody else touches
 * them meanwhile. */

#include <pthread.h>
#include <stdbool.h>

#include "disk/ring.h"

typedef struct Slot {
    uint8_t *data; /* owned */
    size_t size;
} Slot;

struct Ring {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    Slot *slots; /* owned */
    unsigned n_slots, n_consumers;
    uint64_t committed;
    uint64_t released[RING_CONSUMERS_MAX];
    bool finished, stopped;
};

static void *must(void *pointer) {
    if (!pointer)
        abort();
    return pointer;
}

Ring *ring_new(unsigned slots, size_t slot_bytes, unsigned consumers) {
    Ring *ring = must(calloc(1, sizeof(*ring)));

    pthread_mutex_init(&ring->mutex, NULL);
    pthread_cond_init(&ring->changed, NULL);
    ring->slots = must(calloc(slots, sizeof(Slot)));
    for (unsigned i = 0; i < slots; i++)
        ring->slots[i].data = must(malloc(slot_bytes));
    ring->n_slots = slots;
    ring->n_consumers = consumers;
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

static bool is_full(const Ring *ring) {
    for (unsigned i = 0; i < ring->n_consumers; i++)
        if (ring->committed - ring->released[i] >= ring->n_slots)
            return true;
    return false;
}

uint8_t *ring_reserve(Ring *ring) {
    uint8_t *data;

    pthread_mutex_lock(&ring->mutex);
    while (!ring->stopped && is_full(ring))
        pthread_cond_wait(&ring->changed, &ring->mutex);
    data = ring->stopped ? NULL : ring->slots[ring->committed % ring->n_slots].data;
    pthread_mutex_unlock(&ring->mutex);
    return data;
}

void ring_commit(Ring *ring, size_t size) {
    pthread_mutex_lock(&ring->mutex);
    ring->slots[ring->committed % ring->n_slots].size = size;
    ring->committed++;
    pthread_cond_broadcast(&ring->changed);
    pthread_mutex_unlock(&ring->mutex);
}

static void set_flag(Ring *ring, bool *flag) {
    pthread_mutex_lock(&ring->mutex);
    *flag = true;
    pthread_cond_broadcast(&ring->changed);
    pthread_mutex_unlock(&ring->mutex);
}

void ring_finish(Ring *ring) {
    set_flag(ring, &ring->finished);
}

void ring_stop(Ring *ring) {
    set_flag(ring, &ring->stopped);
}

const uint8_t *ring_next(Ring *ring, unsigned consumer, size_t *size) {
    const Slot *slot = NULL;

    pthread_mutex_lock(&ring->mutex);
    while (!ring->stopped && !ring->finished && ring->released[consumer] == ring->committed)
        pthread_cond_wait(&ring->changed, &ring->mutex);
    if (!ring->stopped && ring->released[consumer] < ring->committed) {
        slot = &ring->slots[ring->released[consumer] % ring->n_slots];
        *size = slot->size;
    }
    pthread_mutex_unlock(&ring->mutex);
    return slot ? slot->data : NULL;
}

void ring_release(Ring *ring, unsigned consumer) {
    pthread_mutex_lock(&ring->mutex);
    ring->released[consumer]++;
    pthread_cond_broadcast(&ring->changed);
    pthread_mutex_unlock(&ring->mutex);
}
