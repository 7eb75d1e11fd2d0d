/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_MEMORY_PAGE_SET_H
#define RAMET_MEMORY_PAGE_SET_H

/* A set of a guest's pages: one bit each. Several threads may add to it at once. */

#include <stdbool.h>
#include <stdint.h>

typedef struct PageSet {
    uint64_t *words; /* owned */
    uint64_t pages;  /* the RAM's */
} PageSet;

void page_set_init(PageSet *set, uint64_t pages); /* empty */
void page_set_free(PageSet *set);

/* Returns whether it was in it before. */
bool page_set_add(PageSet *set, uint64_t page);
bool page_set_remove(PageSet *set, uint64_t page);

/* Is it in it? How many are? Not while others add to it. */
bool page_set_has(const PageSet *set, uint64_t page);
uint64_t page_set_count(const PageSet *set);

/* The next run of pages that are in it (or, with `in` false, are not), from page `from` up to
 * `end`. False: there is none. */
bool page_set_next(const PageSet *set, bool in, uint64_t from, uint64_t end, uint64_t *first,
                   uint64_t *count);

#endif
