/* SPDX-License-Identifier: Apache-2.0 */

/* Queues and the buffers in them: fair between senders, bounded, nothing lost without a word. */

#include "switch/frame/queue.h"

#include "check.h"

static BufferPool pool;
static Queue queue;

static Buffer *buffer_of(uint16_t source, uint16_t size) {
    Buffer *buffer = buffer_take(&pool, source);
    CHECK(buffer);
    buffer->size = size;
    return buffer;
}

static void drain(void) {
    Buffer *buffer;
    while ((buffer = queue_take(&queue)))
        buffer_release(&pool, buffer);
}

static void test_order_within_a_sender(void) {
    queue_init(&queue);
    for (uint16_t round = 0; round < 3; round++) {
        for (uint16_t i = 1; i <= 100; i++)
            CHECK(!queue_add(&queue, buffer_of(1, i)));
        for (uint16_t i = 1; i <= 100; i++) {
            Buffer *buffer = queue_take(&queue);
            CHECK_INT(buffer->size, i);
            buffer_release(&pool, buffer);
        }
        CHECK(!queue_take(&queue));
    }
}

static void test_senders_take_turns(void) {
    queue_init(&queue);
    for (uint16_t i = 0; i < 50; i++)
        CHECK(!queue_add(&queue, buffer_of(1, i)));
    for (uint16_t i = 0; i < 3; i++)
        CHECK(!queue_add(&queue, buffer_of(2, i)));
    unsigned others = 0;
    for (unsigned i = 0; i < 6; i++) {
        Buffer *buffer = queue_take(&queue);
        others += buffer->source == 2;
        buffer_release(&pool, buffer);
    }
    CHECK_INT(others, 3);
    drain();
}

static void test_a_full_queue_drops_of_the_longest(void) {
    queue_init(&queue);
    for (uint16_t i = 0; i < QUEUE_MAX; i++)
        CHECK(!queue_add(&queue, buffer_of(1, i)));
    Buffer *own = buffer_of(1, 1000), *other = buffer_of(2, 2000);
    CHECK(queue_add(&queue, own) == own); /* of the longest itself: the new one goes */
    Buffer *dropped = queue_add(&queue, other);
    CHECK(dropped && dropped != other);
    CHECK_INT(dropped->source, 1);
    CHECK_INT(dropped->size, 0); /* the oldest */
    buffer_release(&pool, own);
    buffer_release(&pool, dropped);
    CHECK_INT(queue.count, QUEUE_MAX);
    drain();
    CHECK_INT(pool.held[1] + pool.held[2], 0);
}

static void test_a_sender_holds_its_share(void) {
    Buffer *taken[BUFFER_SHARE];
    for (size_t i = 0; i < BUFFER_SHARE; i++)
        taken[i] = buffer_of(7, 0);
    CHECK(!buffer_take(&pool, 7));
    buffer_release(&pool, buffer_of(8, 0));
    for (size_t i = 0; i < BUFFER_SHARE; i++)
        buffer_release(&pool, taken[i]);
    buffer_release(&pool, buffer_of(7, 0));
}

static void test_all_buffers(void) {
    static Buffer *taken[BUFFER_COUNT];
    for (size_t i = 0; i < BUFFER_COUNT; i++)
        taken[i] = buffer_of((uint16_t)(1 + i % 8), 0);
    CHECK(!buffer_take(&pool, 20));
    for (size_t i = 0; i < BUFFER_COUNT; i++)
        buffer_release(&pool, taken[i]);
}

static void test_references(void) {
    Buffer *buffer = buffer_share(buffer_of(3, 5));
    buffer_release(&pool, buffer);
    CHECK_INT(pool.held[3], 1);
    buffer_release(&pool, buffer);
    CHECK_INT(pool.held[3], 0);
    CHECK(buffer_of(3, 0) == buffer); /* the one used last is used next */
    buffer_release(&pool, buffer);
}

int main(void) {
    CHECK_INT(buffer_pool_init(&pool), 0);
    RUN(test_order_within_a_sender);
    RUN(test_senders_take_turns);
    RUN(test_a_full_queue_drops_of_the_longest);
    RUN(test_a_sender_holds_its_share);
    RUN(test_all_buffers);
    RUN(test_references);
    buffer_pool_free(&pool);
    return 0;
}
