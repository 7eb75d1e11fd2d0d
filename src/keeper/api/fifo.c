/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/api/fifo.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

static int make_room(Fifo *fifo, size_t size) {
    if (size <= fifo->room - fifo->end)
        return 0;
    size_t used = fifo_size(fifo);
    if (fifo->start > 0) {
        memmove(fifo->data, fifo->data + fifo->start, used);
        fifo->start = 0;
        fifo->end = used;
    }
    if (size <= fifo->room - fifo->end)
        return 0;
    size_t room = MAX_OF(2 * fifo->room, used + size);
    uint8_t *bigger = realloc(fifo->data, room);
    if (!bigger)
        return -ENOMEM;
    fifo->data = bigger;
    fifo->room = room;
    return 0;
}

int fifo_add(Fifo *fifo, const void *data, size_t size) {
    if (size == 0)
        return 0;
    int r = make_room(fifo, size);
    if (r < 0)
        return r;
    memcpy(fifo->data + fifo->end, data, size);
    fifo->end += size;
    return 0;
}

const uint8_t *fifo_front(const Fifo *fifo) {
    return fifo->data ? fifo->data + fifo->start : (const uint8_t *)"";
}

void fifo_drop(Fifo *fifo, size_t size) {
    fifo->start += size;
    if (fifo->start == fifo->end)
        fifo_free(fifo);
}

void fifo_free(Fifo *fifo) {
    free(fifo->data);
    *fifo = (Fifo){0};
}
