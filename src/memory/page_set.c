/* SPDX-License-Identifier: Apache-2.0 */
#include "memory/page_set.h"

#include <stdlib.h>

#include "base/util.h"

#define WORD_PAGES 64

void page_set_init(PageSet *set, uint64_t pages) {
    set->pages = pages;
    set->words = calloc(pages / WORD_PAGES + 1, sizeof(*set->words));
    if (!set->words)
        abort();
}

void page_set_free(PageSet *set) {
    free(set->words);
    *set = (PageSet){0};
}

static uint64_t bit_of(uint64_t page) {
    return (uint64_t)1 << page % WORD_PAGES;
}

bool page_set_add(PageSet *set, uint64_t page) {
    uint64_t bit = bit_of(page);
    return __atomic_fetch_or(&set->words[page / WORD_PAGES], bit, __ATOMIC_RELAXED) & bit;
}

bool page_set_remove(PageSet *set, uint64_t page) {
    uint64_t bit = bit_of(page);
    return __atomic_fetch_and(&set->words[page / WORD_PAGES], ~bit, __ATOMIC_RELAXED) & bit;
}

bool page_set_has(const PageSet *set, uint64_t page) {
    return __atomic_load_n(&set->words[page / WORD_PAGES], __ATOMIC_RELAXED) & bit_of(page);
}

uint64_t page_set_count(const PageSet *set) {
    uint64_t count = 0;
    for (uint64_t i = 0; i <= set->pages / WORD_PAGES; i++)
        count += (uint64_t)__builtin_popcountll(set->words[i]);
    return count;
}

/* The first page from `page` on that is in it, or is not; `end`: none before it. */
static uint64_t find(const PageSet *set, bool in, uint64_t page, uint64_t end) {
    while (page < end) {
        uint64_t word = set->words[page / WORD_PAGES];
        uint64_t wanted = (in ? word : ~word) >> page % WORD_PAGES;
        if (wanted)
            return MIN_OF(page + (uint64_t)__builtin_ctzll(wanted), end);
        page += WORD_PAGES - page % WORD_PAGES;
    }
    return end;
}

bool page_set_next(const PageSet *set, bool in, uint64_t from, uint64_t end, uint64_t *first,
                   uint64_t *count) {
    *first = find(set, in, from, end);
    *count = find(set, !in, *first, end) - *first;
    return *first < end;
}
