/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DISK_RING_H
#define RAMET_DISK_RING_H

/* A bounded ring of buffers between one producing thread and up to two consuming ones, each of
 * which sees every buffer in order. A buffer is free again once all consumers have released it. */

#include "base/util.h"

#define RING_CONSUMERS_MAX 2

typedef struct Ring Ring;

Ring *ring_new(unsigned slots, size_t slot_bytes,
               unsigned consumers); /* aborts when out of memory */
void ring_free(Ring *ring);         /* when no thread uses it any more; NULL is fine */
DEFINE_CLEANUP(Ring *, ring_free);

/* The producer: waits for a free buffer of slot_bytes; NULL once the ring is stopped. */
uint8_t *ring_reserve(Ring *ring);
void ring_commit(Ring *ring, size_t size);
void ring_finish(Ring *ring); /* no more will come */

/* A consumer: waits for its next buffer; NULL at the end, and once the ring is stopped. */
const uint8_t *ring_next(Ring *ring, unsigned consumer, size_t *size);
void ring_release(Ring *ring, unsigned consumer);

/* Ends all waiting, on both sides, from any thread. */
void ring_stop(Ring *ring);

#endif
