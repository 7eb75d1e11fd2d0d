/* SPDX-License-Identifier: Apache-2.0 */
#include "switch/frame/kept.h"

#include <stdlib.h>
#include <string.h>

static size_t cost(const Kept *kept) {
    return sizeof(*kept) + kept->size;
}

static void link_to_end(KeptList *list, Kept *kept) {
    kept->next = NULL;
    *(list->first ? list->end : &list->first) = kept;
    list->end = &kept->next;
    list->bytes += cost(kept);
    *list->total += cost(kept);
}

void kept_init(KeptList *list, size_t limit, size_t *total) {
    *list = (KeptList){.limit = limit, .total = total};
}

Kept *kept_add(KeptList *list, const Buffer *buffer, uint16_t target, uint16_t stage) {
    size_t size = sizeof(Kept) + buffer->size;
    if (list->bytes + size > list->limit || *list->total + size > KEPT_BYTES_MAX)
        return NULL;
    Kept *kept = malloc(size);
    if (!kept)
        return NULL;
    *kept =
        (Kept){.source = buffer->source, .target = target, .stage = stage, .size = buffer->size};
    memcpy(kept->data, buffer->data, buffer->size);
    link_to_end(list, kept);
    return kept;
}

Kept *kept_take(KeptList *list) {
    Kept *kept = list->first;
    if (!kept)
        return NULL;
    list->first = kept->next;
    list->bytes -= cost(kept);
    *list->total -= cost(kept);
    return kept;
}

void kept_forget(KeptList *list, uint16_t slot) {
    KeptList left = {.limit = list->limit, .total = list->total};
    Kept *kept;
    while ((kept = kept_take(list)))
        if (kept->source == slot || kept->target == slot)
            free(kept);
        else
            link_to_end(&left, kept);
    *list = left;
}

void kept_clear(KeptList *list) {
    Kept *kept;
    while ((kept = kept_take(list)))
        free(kept);
}

Buffer *kept_to_buffer(const Kept *kept, BufferPool *pool) {
    Buffer *buffer = buffer_take(pool, kept->source);
    if (!buffer)
        return NULL;
    buffer->size = kept->size;
    memcpy(buffer->data, kept->data, kept->size);
    return buffer;
}
