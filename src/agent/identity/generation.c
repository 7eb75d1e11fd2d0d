/* SPDX-License-Identifier: Apache-2.0 */
/* The file is mapped, so that a clone changes it by writing to memory (bind_cover.c says why).
 * Nobody is restored by that: the same text is written again as a file, at the thaw, when the clone
 * is ready already and still nobody else runs. */

#include "agent/identity/generation.h"

#include <string.h>

#include "agent/base/util.h"

#define TEXT_SIZE (2 * GENERATION_SIZE + 1)

static volatile char *map; /* NULL: not mapped yet */
static int fd = -1;        /* owned: the file, as long as it is mapped */
static bool changed;

static int map_file(void) {
    void *page = (void *)(uintptr_t)map;
    int r = map ? 0 : map_run_file(GENERATION_FILE, 0644, TEXT_SIZE, &page, &fd);
    map = page;
    return r;
}

void generation_prepare(void) {
    char first;
    if (map_file() < 0)
        return;
    first = *map; /* a page that was written to faults no more */
    *map = first;
}

int generation_set(const uint8_t id[GENERATION_SIZE]) {
    static const char digits[] = "0123456789abcdef";
    int r = map_file();
    if (r < 0)
        return r;
    for (size_t i = 0; i < GENERATION_SIZE; i++) {
        map[2 * i] = digits[id[i] >> 4];
        map[2 * i + 1] = digits[id[i] & 15];
    }
    map[TEXT_SIZE - 1] = '\n';
    changed = true;
    return 0;
}

void generation_announce(void) {
    char text[TEXT_SIZE];
    if (!changed)
        return;
    memcpy(text, (const void *)(uintptr_t)map, sizeof(text));
    (void)!pwrite(fd, text, sizeof(text), 0);
    changed = false;
}
