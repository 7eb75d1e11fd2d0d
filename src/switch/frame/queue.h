/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_SWITCH_FRAME_QUEUE_H
#define RAMET_SWITCH_FRAME_QUEUE_H

/* What waits for a port's socket to take it, fair between senders (stochastic fair queueing,
 * McKenney 1990): one queue for each of a few groups of senders, of which one frame each is taken
 * in turn. A full queue drops of the longest group, so whoever floods a receiver loses frames and
 * others do not. */

#include "switch/frame/buffer.h"

#define QUEUE_MAX 128
#define QUEUE_GROUPS 16

typedef struct QueueGroup {
    uint8_t head, tail; /* places, valid while count > 0 */
    uint8_t count;
} QueueGroup;

typedef struct Queue {
    Buffer *buffers[QUEUE_MAX]; /* each with a reference of ours */
    uint8_t next[QUEUE_MAX];
    QueueGroup groups[QUEUE_GROUPS];
    uint8_t free;  /* a list of places, valid while count < QUEUE_MAX */
    uint8_t count; /* of all */
    uint8_t turn;  /* the group to be asked next */
} Queue;

void queue_init(Queue *queue);

/* Takes over the reference. Returns NULL, or the frame that had to go instead (perhaps this one),
 * whose reference is the caller's. */
Buffer *queue_add(Queue *queue, Buffer *buffer);

/* The next frame, with its reference; NULL when there is none. */
Buffer *queue_take(Queue *queue);

#endif
