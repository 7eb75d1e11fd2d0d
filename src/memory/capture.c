/* SPDX-License-Identifier: Apache-2.0 */

/* All dirty pages stand one after the other in one anonymous mapping, in the order of the ranges.
 * Copying is what the pause costs (about 1 ms for 4 MiB), so the mapping is made and its pages are
 * faulted in before, with room for what the guest writes until it stands still. Looking for zero
 * pages and writing come later.
 *
 * process_vm_readv(2) takes many ranges at once and copies each byte once, where /proc/PID/mem
 * takes one range and copies it twice; the latter is the way where the former is not allowed. */

#include "memory/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/fd.h"
#include "memory/copy.h"

#define RANGES_AT_ONCE 512
#define SPARE_PAGES 1024
#define SPARE_PAGES_MAX 16384

struct MemoryCapture {
    PageRanges ranges;
    uint8_t *pages; /* owned mapping of room_pages pages; NULL when there are none */
    uint64_t room_pages;
    uint64_t ram_bytes;
};

static void capture_unmap(MemoryCapture *capture) {
    if (capture->pages)
        (void)munmap(capture->pages, capture->room_pages * RAM_PAGE_SIZE);
    capture->pages = NULL;
    capture->room_pages = 0;
}

static int capture_map(MemoryCapture *capture, uint64_t pages, Error *error) {
    if (pages <= capture->room_pages)
        return 0;
    capture_unmap(capture);
    void *mapped = mmap(NULL, pages * RAM_PAGE_SIZE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (mapped == MAP_FAILED)
        return error_set(error, ERROR_NO_MEMORY, ENOMEM,
                         "no room for a copy of %" PRIu64 " dirty pages", pages);
    capture->pages = mapped;
    capture->room_pages = pages;
    return 0;
}

static int copy_slowly(const GuestRam *ram, const PageRange *ranges, size_t count, uint8_t *to,
                       Error *error) {
    for (size_t i = 0; i < count; i++) {
        size_t size = ranges[i].count * RAM_PAGE_SIZE;
        int r = guest_ram_read(ram, ranges[i].first * RAM_PAGE_SIZE, to, size, error);
        if (r < 0)
            return r;
        to += size;
    }
    return 0;
}

/* At most RANGES_AT_ONCE of them. *to moves on. */
static int copy_some(const GuestRam *ram, const PageRange *ranges, size_t count, uint8_t **to,
                     Error *error) {
    struct iovec from[RANGES_AT_ONCE], into = {.iov_base = *to};
    for (size_t i = 0; i < count; i++) {
        uint64_t address = ram->address + ranges[i].first * RAM_PAGE_SIZE;
        from[i] = (struct iovec){.iov_base = (void *)(uintptr_t)address,
                                 .iov_len = ranges[i].count * RAM_PAGE_SIZE};
        into.iov_len += from[i].iov_len;
    }
    *to += into.iov_len;
    if (process_vm_readv(ram->pid, &into, 1, from, count, 0) == (ssize_t)into.iov_len)
        return 0;
    return copy_slowly(ram, ranges, count, into.iov_base, error);
}

static int capture_copy(MemoryCapture *capture, const GuestRam *ram, Error *error) {
    const PageRanges *ranges = &capture->ranges;
    uint8_t *to = capture->pages;
    int r = 0;
    for (size_t i = 0; r == 0 && i < ranges->count; i += RANGES_AT_ONCE)
        r = copy_some(ram, ranges->items + i, MIN_OF(ranges->count - i, (size_t)RANGES_AT_ONCE),
                      &to, error);
    return r;
}

static MemoryCapture *capture_new(const GuestRam *ram) {
    MemoryCapture *capture = calloc(1, sizeof(*capture));
    if (!capture)
        abort();
    capture->ram_bytes = ram->size_bytes;
    return capture;
}

int memory_capture_prepare(const GuestRam *ram, MemoryCapture **capture, Error *error) {
    _cleanup_(memory_capture_free_p) MemoryCapture *made = capture_new(ram);
    _cleanup_page_ranges_ PageRanges now = {0};
    int r = dirty_pages_collect(ram, &now, error);
    if (r >= 0) {
        uint64_t spare = MIN_OF(SPARE_PAGES + now.pages / 4, (uint64_t)SPARE_PAGES_MAX);
        r = capture_map(made, MIN_OF(now.pages + spare, ram->size_bytes / RAM_PAGE_SIZE), error);
    }
    if (r < 0)
        return r;
    *capture = TAKE_PTR(made);
    return 0;
}

int memory_capture_take(MemoryCapture *capture, const GuestRam *ram, Error *error) {
    int r = dirty_pages_collect(ram, &capture->ranges, error);
    if (r >= 0)
        r = capture_map(capture, capture->ranges.pages, error);
    return r < 0 ? r : capture_copy(capture, ram, error);
}

int memory_capture(const GuestRam *ram, MemoryCapture **capture, Error *error) {
    _cleanup_(memory_capture_free_p) MemoryCapture *taken = capture_new(ram);
    int r = memory_capture_take(taken, ram, error);
    if (r < 0)
        return r;
    *capture = TAKE_PTR(taken);
    return 0;
}

void memory_capture_free(MemoryCapture *capture) {
    if (!capture)
        return;
    capture_unmap(capture);
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
