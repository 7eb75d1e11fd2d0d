/* SPDX-License-Identifier: Apache-2.0 */

/* Frames that are kept: in order, bounded, and forgotten with their port. */

#include "switch/frame/kept.h"

#include "check.h"

static BufferPool pool;
static size_t total;

static Buffer *frame(uint16_t source, uint8_t byte) {
    Buffer *buffer = buffer_take(&pool, source);
    buffer->size = 100;
    memset(buffer->data, byte, 100);
    return buffer;
}

static bool add(KeptList *list, uint16_t source, uint16_t target, uint8_t byte) {
    Buffer *buffer = frame(source, byte);
    bool added = kept_add(list, buffer, target, 0) != NULL;
    buffer_release(&pool, buffer);
    return added;
}

static void expect_next(KeptList *list, uint8_t byte) {
    Kept *kept = kept_take(list);
    Buffer *buffer = kept_to_buffer(kept, &pool);
    CHECK_INT(buffer->size, 100);
    CHECK_INT(buffer->data[99], byte);
    CHECK_INT(buffer->source, kept->source);
    buffer_release(&pool, buffer);
    free(kept);
}

static void test_order(void) {
    KeptList list;
    kept_init(&list, 100000, &total);
    for (uint8_t i = 0; i < 10; i++)
        CHECK(add(&list, 1, 2, i));
    for (uint8_t i = 0; i < 5; i++)
        expect_next(&list, i);
    CHECK(add(&list, 1, 2, 10));
    for (uint8_t i = 5; i < 11; i++)
        expect_next(&list, i);
    CHECK(!kept_take(&list));
    CHECK_INT(total, 0);
}

static void test_bounds(void) {
    KeptList list, other;
    unsigned n = 0;
    kept_init(&list, 10000, &total);
    kept_init(&other, SIZE_MAX, &total);
    while (add(&list, 1, 2, 0))
        n++;
    CHECK(n > 50 && n < 100);
    while (add(&other, 1, 2, 0))
        n++;
    CHECK(total <= KEPT_BYTES_MAX && total > KEPT_BYTES_MAX - 200);
    kept_clear(&other);
    kept_clear(&list);
    CHECK_INT(total, 0);
}

static void test_forget(void) {
    KeptList list;
    kept_init(&list, 100000, &total);
    CHECK(add(&list, 1, 2, 1));
    CHECK(add(&list, 3, 1, 2));
    CHECK(add(&list, 3, 2, 3));
    CHECK(add(&list, 4, 5, 4));
    CHECK(add(&list, 1, 3, 5));
    kept_forget(&list, 1);
    CHECK(add(&list, 6, 7, 6));
    expect_next(&list, 3);
    expect_next(&list, 4);
    expect_next(&list, 6);
    kept_forget(&list, 1);
    CHECK_INT(total, 0);
}

int main(void) {
    CHECK_INT(buffer_pool_init(&pool), 0);
    RUN(test_order);
    RUN(test_bounds);
    RUN(test_forget);
    buffer_pool_free(&pool);
    return 0;
}
