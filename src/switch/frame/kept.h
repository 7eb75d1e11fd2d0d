/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_SWITCH_FRAME_KEPT_H
#define RAMET_SWITCH_FRAME_KEPT_H

/* Frames that are kept for longer than a system call's time, copied out of their buffers: those
 * that impairment delays, and those of a hold. All of them together take at most KEPT_BYTES_MAX. */

#include "switch/frame/buffer.h"

#define KEPT_BYTES_MAX (16u << 20)

typedef struct Kept {
    struct Kept *next;
    uint64_t due_usec; /* monotonic */
    uint16_t source;   /* slots */
    uint16_t target;
    uint16_t stage;
    uint16_t size;
    uint8_t data[];
} Kept;

typedef struct KeptList {
    Kept *first;
    Kept **end; /* where the next one is linked; NULL while the list is empty */
    size_t bytes;
    size_t limit;
    size_t *total; /* borrowed: the bytes of all lists */
} KeptList;

void kept_init(KeptList *list, size_t limit, size_t *total);

/* Copies the frame to the end of the list; NULL when it would be too much. */
Kept *kept_add(KeptList *list, const Buffer *buffer, uint16_t target, uint16_t stage);

/* The first one, now the caller's to free; NULL when there is none. */
Kept *kept_take(KeptList *list);

/* Frees those that come from a slot or go there: another port may get its number. */
void kept_forget(KeptList *list, uint16_t slot);

/* Frees all of them. */
void kept_clear(KeptList *list);

/* A buffer with the frame again; NULL when there is none. */
Buffer *kept_to_buffer(const Kept *kept, BufferPool *pool);

#endif
