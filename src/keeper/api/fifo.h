/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_KEEPER_API_FIFO_H
#define RAMET_KEEPER_API_FIFO_H

/* Bytes that wait for a client. It has no bound of its own: the credit of the stream is the bound.
 * It gives its memory back when it becomes empty, since most sessions are idle most of the time. */

#include <stddef.h>
#include <stdint.h>

typedef struct Fifo {
    uint8_t *data; /* owned */
    size_t room;
    size_t start;
    size_t end;
} Fifo;

static inline size_t fifo_size(const Fifo *fifo) {
    return fifo->end - fifo->start;
}

/* 0 or -ENOMEM. */
int fifo_add(Fifo *fifo, const void *data, size_t size);

/* The oldest bytes, fifo_size() of them, until the next call. Never NULL. */
const uint8_t *fifo_front(const Fifo *fifo);
void fifo_drop(Fifo *fifo, size_t size);
void fifo_free(Fifo *fifo);

#endif
