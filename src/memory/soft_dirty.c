/* SPDX-License-Identifier: Apache-2.0 */
#include "memory/soft_dirty.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "memory/pagemap.h"

int soft_dirty_clear(pid_t pid) {
    _cleanup_free_ char *path = str_format("/proc/%d/clear_refs", (int)pid);
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd_write_full(fd, "4", 1);
}

/* Both pages were written, then the bits cleared, then one page written. */
static bool one_is_dirty(const GuestRam *pages, volatile char *content) {
    _cleanup_page_ranges_ PageRanges before = {0}, after = {0};
    content[0] = 1;
    content[RAM_PAGE_SIZE] = 1;
    if (soft_dirty_clear(getpid()) < 0 || pagemap_read(pages, PAGEMAP_SOFT_DIRTY, &before) < 0)
        return false;
    content[RAM_PAGE_SIZE] = 2;
    return before.pages == 0 && pagemap_read(pages, PAGEMAP_SOFT_DIRTY, &after) == 0 &&
           after.pages == 1 && after.items[0].first == 1;
}

static bool works; /* set by try_it */

/* The two pages stand between two that nobody may touch, since a mapping that grows counts as
 * written. Only calls that the keeper's filter lets through. */
static void try_it(void) {
    _cleanup_close_ int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    char *area = mmap(NULL, 4 * RAM_PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (area == MAP_FAILED)
        return;
    char *middle = area + RAM_PAGE_SIZE;
    GuestRam pages = {.pid = getpid(),
                      .mem_fd = -1,
                      .pagemap_fd = pagemap,
                      .address = (uintptr_t)middle,
                      .size_bytes = 2 * RAM_PAGE_SIZE};
    works = pagemap >= 0 && mprotect(middle, 2 * RAM_PAGE_SIZE, PROT_READ | PROT_WRITE) == 0 &&
            one_is_dirty(&pages, middle);
    (void)munmap(area, 4 * RAM_PAGE_SIZE);
}

bool soft_dirty_works(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, try_it);
    return works;
}
