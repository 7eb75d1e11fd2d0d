/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_SWITCH_FRAME_BUFFER_H
#define RAMET_SWITCH_FRAME_BUFFER_H

/* The buffers that frames lie in between their receiver's and their sender's system call. There is
 * a fixed number of them; those used last are used next, so that only as much memory is touched as
 * was once needed at the same time. A frame that goes to several ports is one buffer with several
 * references. */

#include <stddef.h>
#include <stdint.h>

#include "proto/switch.h"

#define BUFFER_COUNT 2048
#define BUFFER_SHARE (BUFFER_COUNT / 4) /* that one sender's frames may hold at once, at first */
#define FRAME_MAX 1514
#define SLOT_GATEWAY 0                    /* who sent it: the switch itself, or the uplink */
#define SLOTS_MAX (SWITCH_APART_MAX + 1u) /* or the port of that number */

typedef struct Buffer {
    struct Buffer *next_free;
    uint16_t references;
    uint16_t source; /* a slot */
    uint16_t size;
    uint8_t data[FRAME_MAX + 2] __attribute__((aligned(8)));
} Buffer;

typedef struct BufferPool {
    Buffer *buffers; /* owned, BUFFER_COUNT of them */
    Buffer *free;
    size_t untouched; /* those from here on were never used */
    size_t used;
    uint16_t shares[2];       /* that SLOT_GATEWAY and any other sender may hold at once */
    uint16_t held[SLOTS_MAX]; /* by each sender */
} BufferPool;

/* 0 or -ENOMEM. */
int buffer_pool_init(BufferPool *pool);
void buffer_pool_free(BufferPool *pool);

static inline size_t buffer_count_free(const BufferPool *pool) {
    return BUFFER_COUNT - pool->used;
}

/* A buffer with one reference, of that sender; NULL when there is none or it holds its share. */
Buffer *buffer_take(BufferPool *pool, uint16_t source);

/* One reference more, and one less. */
static inline Buffer *buffer_share(Buffer *buffer) {
    buffer->references++;
    return buffer;
}
void buffer_release(BufferPool *pool, Buffer *buffer);

#endif
