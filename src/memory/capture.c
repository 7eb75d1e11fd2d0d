/* SPDX-License-Identifier: Apache-2.0 */

/* All dirty pages stand one after the other in one anonymous mapping, in the order of the ranges.
 * Copying is what the pause costs (about 1 ms for 4 MiB); looking for zero pages and writing come
 * later. */

#include "memory/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "memory/copy.h"

struct MemoryCapture {
    PageRanges ranges;
    uint8_t
        *pages; /* owned mapping of ranges.pages * RAM_PAGE_SIZE bytes; NULL when there are none */
    uint64_t ram_bytes;
};

static int capture_map(MemoryCapture *capture, Error *error) {
    size_t size = capture->ranges.pages * RAM_PAGE_SIZE;
    if (size == 0)
        return 0;
    void *pages =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (pages == MAP_FAILED)
        return error_set(error, ERROR_NO_MEMORY, ENOMEM,
                         "no room for a copy of %" PRIu64 " dirty pages", capture->ranges.pages);
    capture->pages = pages;
    return 0;
}

static int capture_copy(MemoryCapture *capture, const GuestRam *ram, Error *error) {
    uint8_t *to = capture->pages;
    for (size_t i = 0; i < capture->ranges.count; i++) {
        const PageRange *range = &capture->ranges.items[i];
        int r = guest_ram_read(ram, range->first * RAM_PAGE_SIZE, to, range->count * RAM_PAGE_SIZE,
                               error);
        if (r < 0)
            return r;
        to += range->count * RAM_PAGE_SIZE;
    }
    return 0;
}

int memory_capture(const GuestRam *ram, MemoryCapture **capture, Error *error) {
    _cleanup_(memory_capture_free_p) MemoryCapture *taken = calloc(1, sizeof(*taken));
    if (!taken)
        abort();
    taken->ram_bytes = ram->size_bytes;
    int r = dirty_pages_collect(ram, &taken->ranges, error);
    if (r >= 0)
        r = capture_map(taken, error);
    if (r >= 0)
        r = capture_copy(taken, ram, error);
    if (r < 0)
        return r;
    *capture = TAKE_PTR(taken);
    return 0;
}

void memory_capture_free(MemoryCapture *capture) {
    if (!capture)
        return;
    if (capture->pages)
        (void)munmap(capture->pages, capture->ranges.pages * RAM_PAGE_SIZE);
    page_ranges_free(&capture->ranges);
    free(capture);
}

uint64_t memory_capture_dirty_bytes(const MemoryCapture *capture) {
    return capture->ranges.pages * RAM_PAGE_SIZE;
}

uint64_t memory_capture_ram_bytes(const MemoryCapture *capture) {
    return capture->ram_bytes;
}

bool memory_capture_wants_base(const MemoryCapture *capture) {
    return memory_capture_dirty_bytes(capture) > capture->ram_bytes / 4;
}

static bool page_is_zero(const uint8_t *page) {
    return page[0] == 0 && memcmp(page, page + 1, RAM_PAGE_SIZE - 1) == 0;
}

static int walk_range(const PageRange *range, const uint8_t *content, MemoryRunVisitor visit,
                      void *data) {
    uint64_t start = 0;
    while (start < range->count) {
        bool zero = page_is_zero(content + start * RAM_PAGE_SIZE);
        uint64_t end = start + 1;
        while (end < range->count && page_is_zero(content + end * RAM_PAGE_SIZE) == zero)
            end++;
        int r = visit(data, range->first + start, end - start,
                      zero ? NULL : content + start * RAM_PAGE_SIZE);
        if (r < 0)
            return r;
        start = end;
    }
    return 0;
}

int memory_capture_walk(const MemoryCapture *capture, MemoryRunVisitor visit, void *data) {
    const uint8_t *content = capture->pages;
    for (size_t i = 0; i < capture->ranges.count; i++) {
        int r = walk_range(&capture->ranges.items[i], content, visit, data);
        if (r < 0)
            return r;
        content += capture->ranges.items[i].count * RAM_PAGE_SIZE;
    }
    return 0;
}

typedef struct BaseWriter {
    int fd;
    bool over_content; /* the file holds an older base's pages: a zero page must be punched */
} BaseWriter;

static int write_run(void *data, uint64_t first_page, uint64_t pages, const uint8_t *content) {
    const BaseWriter *writer = data;
    uint64_t offset = first_page * RAM_PAGE_SIZE, size = pages * RAM_PAGE_SIZE;
    if (content)
        return fd_pwrite_full(writer->fd, content, size, offset);
    if (writer->over_content && fallocate(writer->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                          (off_t)offset, (off_t)size) < 0)
        return -errno;
    return 0;
}

int memory_capture_write_base(const MemoryCapture *capture, int old_base_fd, int fd, Error *error) {
    BaseWriter writer = {.fd = fd, .over_content = old_base_fd >= 0};
    int r = ftruncate(fd, (off_t)capture->ram_bytes) < 0 ? -errno : 0;
    if (r >= 0 && old_base_fd >= 0)
        r = memory_copy_data(old_base_fd, fd, capture->ram_bytes);
    if (r >= 0)
        r = memory_capture_walk(capture, write_run, &writer);
    if (r < 0)
        return error_set_errno(error, -r, "cannot write a memory base");
    return 0;
}
