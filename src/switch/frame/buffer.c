/* SPDX-License-Identifier: Apache-2.0 */
#include "switch/frame/buffer.h"

#include <errno.h>
#include <sys/mman.h>

#define POOL_SIZE (BUFFER_COUNT * sizeof(Buffer))

int buffer_pool_init(BufferPool *pool) {
    void *made = mmap(NULL, POOL_SIZE, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (made == MAP_FAILED)
        return -ENOMEM;
    *pool = (BufferPool){.buffers = made, .shares = {BUFFER_SHARE, BUFFER_SHARE}};
    return 0;
}

void buffer_pool_free(BufferPool *pool) {
    if (pool->buffers)
        (void)munmap(pool->buffers, POOL_SIZE);
    pool->buffers = NULL;
}

Buffer *buffer_take(BufferPool *pool, uint16_t source) {
    Buffer *taken = pool->free;
    if (pool->held[source] >= pool->shares[source != SLOT_GATEWAY])
        return NULL;
    if (taken)
        pool->free = taken->next_free;
    else if (pool->untouched < BUFFER_COUNT)
        taken = &pool->buffers[pool->untouched++];
    else
        return NULL;
    taken->references = 1;
    taken->source = source;
    taken->size = 0;
    pool->held[source]++;
    pool->used++;
    return taken;
}

void buffer_release(BufferPool *pool, Buffer *buffer) {
    if (--buffer->references > 0)
        return;
    pool->held[buffer->source]--;
    pool->used--;
    buffer->next_free = pool->free;
    pool->free = buffer;
}
