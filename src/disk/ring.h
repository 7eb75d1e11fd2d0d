/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DISK_RING_H
#define RAMET_DISK_RING_H

/* A bounded ring of buffers between one producing thread and any number of consuming ones. Each
 * buffer is taken by one of them, in order, and is free again once that one has released it. */

#include "base/util.h"

typedef struct Ring Ring;

Ring *ring_new(unsigned slots, size_t slot_bytes); /* aborts when out of memory */
void ring_free(Ring *ring); /* when no thread uses it any more; NULL is fine */
DEFINE_CLEANUP(Ring *, ring_free);

/* The producer: waits for a free buffer of slot_bytes; NULL once the ring is stopped. */
uint8_t *ring_reserve(Ring *ring);
void ring_commit(Ring *ring, size_t size);
void ring_finish(Ring *ring); /* no more will come */

/* A consumer: waits for the next buffer and its number, which counts from 0; NULL at the end, and
 * once the ring is stopped. */
const uint8_t *ring_acquire(Ring *ring, size_t *size, uint64_t *number);
void ring_release(Ring *ring, uint64_t number);

/* Ends all waiting, on both sides, from any thread. */
void ring_stop(Ring *ring);

#endif
