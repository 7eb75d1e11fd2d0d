/* SPDX-License-Identifier: Apache-2.0 */

/* Several threads take parts of 64 pages (256 KiB: they stay in the cache), read each into a buffer
 * of their own and write it into the memfd. That is faster than reading into a mapping of the
 * memfd, whose pages the kernel would clear first.
 *
 * process_vm_readv(2) takes many ranges at once and copies each byte once, where /proc/PID/mem
 * takes one range and copies it twice; the latter is the way where the former is not allowed. */

#include "memory/capture.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/parallel.h"
#include "memory/copy.h"

#define PART_PAGES ((uint64_t)64)
#define THREADS_MAX 8
#define PAGES_PER_THREAD ((uint64_t)1024) /* for less a thread does not pay */
#define FEW_PAGES ((uint64_t)1024)        /* some 2 ms of a pause */
#define ROUNDS_MAX 6

void memory_capture_init(MemoryCapture *capture, const GuestRam *ram, int memfd) {
    *capture = (MemoryCapture){.ram = ram, .memfd = memfd};
    page_set_init(&capture->pages, ram->size_bytes / RAM_PAGE_SIZE);
    page_set_init(&capture->zero, ram->size_bytes / RAM_PAGE_SIZE);
}

void memory_capture_free(MemoryCapture *capture) {
    memory_capture_end_telling(capture);
    page_set_free(&capture->pages);
    page_set_free(&capture->zero);
}

void memory_capture_cancel(MemoryCapture *capture) {
    __atomic_store_n(&capture->cancelled, 1, __ATOMIC_RELAXED);
}

void memory_capture_stop_laying(MemoryCapture *capture) {
    __atomic_store_n(&capture->laid_enough, 1, __ATOMIC_RELAXED);
}

uint64_t memory_capture_dirty_bytes(const MemoryCapture *capture) {
    return page_set_count(&capture->pages) * RAM_PAGE_SIZE;
}

uint64_t memory_capture_content_bytes(const MemoryCapture *capture) {
    return (page_set_count(&capture->pages) - page_set_count(&capture->zero)) * RAM_PAGE_SIZE;
}

/* ---- copying ---- */

typedef struct Copying {
    MemoryCapture *capture;   /* borrowed */
    const PageRanges *ranges; /* borrowed */
    int base_fd;              /* borrowed: where they are read; -1: in the guest's RAM */
    pthread_mutex_t mutex;    /* for all below */
    size_t next;              /* the first range of which something is left */
    uint64_t taken;           /* pages of it */
    const int *enough;        /* borrowed, atomic: no more parts are taken; NULL: all are */
    int failure;              /* the first one; nobody goes on after it */
} Copying;

typedef struct Part {
    PageRange ranges[PART_PAGES];
    size_t count;
    uint64_t pages;
} Part;

static bool take_part(Copying *copying, Part *part) {
    *part = (Part){0};
    if (copying->enough && __atomic_load_n(copying->enough, __ATOMIC_RELAXED))
        return false;
    (void)pthread_mutex_lock(&copying->mutex);
    if (__atomic_load_n(&copying->capture->cancelled, __ATOMIC_RELAXED) && copying->failure == 0)
        copying->failure = -ECANCELED;
    while (copying->failure == 0 && copying->next < copying->ranges->count &&
           part->pages < PART_PAGES) {
        const PageRange *range = &copying->ranges->items[copying->next];
        uint64_t count = MIN_OF(range->count - copying->taken, PART_PAGES - part->pages);
        part->ranges[part->count++] =
            (PageRange){.first = range->first + copying->taken, .count = count};
        part->pages += count;
        copying->taken += count;
        if (copying->taken == range->count) {
            copying->next++;
            copying->taken = 0;
        }
    }
    (void)pthread_mutex_unlock(&copying->mutex);
    return part->pages > 0;
}

static int read_base(int base_fd, const Part *part, uint8_t *buffer) {
    for (size_t i = 0; i < part->count; i++) {
        size_t size = part->ranges[i].count * RAM_PAGE_SIZE;
        ssize_t n = fd_pread_full(base_fd, buffer, size, part->ranges[i].first * RAM_PAGE_SIZE);
        if (n != (ssize_t)size)
            return n < 0 ? (int)n : -EIO;
        buffer += size;
    }
    return 0;
}

static int read_slowly(const GuestRam *ram, const Part *part, uint8_t *buffer) {
    for (size_t i = 0; i < part->count; i++) {
        size_t size = part->ranges[i].count * RAM_PAGE_SIZE;
        int r = guest_ram_read(ram, part->ranges[i].first * RAM_PAGE_SIZE, buffer, size, NULL);
        if (r < 0)
            return r;
        buffer += size;
    }
    return 0;
}

static int read_ram(const GuestRam *ram, const Part *part, uint8_t *buffer) {
    struct iovec from[PART_PAGES], to = {buffer, part->pages * RAM_PAGE_SIZE};
    for (size_t i = 0; i < part->count; i++) {
        uint64_t address = ram->address + part->ranges[i].first * RAM_PAGE_SIZE;
        from[i] = (struct iovec){.iov_base = (void *)(uintptr_t)address,
                                 .iov_len = part->ranges[i].count * RAM_PAGE_SIZE};
    }
    if (process_vm_readv(ram->pid, &to, 1, from, part->count, 0) == (ssize_t)to.iov_len)
        return 0;
    return read_slowly(ram, part, buffer);
}

/* Does it stay a hole? Not where an earlier copy has written something, nor the base been laid. */
static bool note_page(MemoryCapture *capture, uint64_t page, bool zero) {
    bool had = page_set_add(&capture->pages, page), was_zero;
    was_zero = zero ? page_set_add(&capture->zero, page) : page_set_remove(&capture->zero, page);
    return zero && (had ? was_zero : page >= capture->laid_pages);
}

/* Of the base only what is copied is not zero, and it is not counted. */
static int store_range(const Copying *copying, const PageRange *range, const uint8_t *bytes) {
    MemoryCapture *capture = copying->capture;
    uint64_t start = 0, page;
    for (page = 0; page <= range->count; page++) {
        bool hole =
            page < range->count && bytes_are_zero(bytes + page * RAM_PAGE_SIZE, RAM_PAGE_SIZE);
        if (page < range->count && copying->base_fd < 0)
            hole = note_page(capture, range->first + page, hole);
        if (page < range->count && !hole)
            continue;
        int r = start == page ? 0
                              : fd_pwrite_full(capture->memfd, bytes + start * RAM_PAGE_SIZE,
                                               (page - start) * RAM_PAGE_SIZE,
                                               (range->first + start) * RAM_PAGE_SIZE);
        if (r < 0)
            return r;
        start = page + 1;
    }
    return 0;
}

static int copy_part(const Copying *copying, const Part *part, uint8_t *buffer) {
    int r = copying->base_fd < 0 ? read_ram(copying->capture->ram, part, buffer)
                                 : read_base(copying->base_fd, part, buffer);
    for (size_t i = 0; r >= 0 && i < part->count; i++) {
        r = store_range(copying, &part->ranges[i], buffer);
        buffer += part->ranges[i].count * RAM_PAGE_SIZE;
    }
    return r;
}

static void copy_parts(void *data) {
    _cleanup_free_ uint8_t *buffer = malloc(PART_PAGES * RAM_PAGE_SIZE);
    Copying *copying = data;
    Part part;
    if (!buffer)
        abort();
    while (take_part(copying, &part)) {
        int r = copy_part(copying, &part, buffer);
        if (r >= 0)
            continue;
        (void)pthread_mutex_lock(&copying->mutex);
        if (copying->failure == 0)
            copying->failure = r;
        (void)pthread_mutex_unlock(&copying->mutex);
    }
}

static int run(Copying *copying, size_t threads, Error *error) {
    (void)pthread_mutex_init(&copying->mutex, NULL);
    parallel_run(threads, copy_parts, copying);
    (void)pthread_mutex_destroy(&copying->mutex);
    if (copying->failure == -ECANCELED)
        return error_set(error, ERROR_CANCELLED, ECANCELED, "copying the memory was cancelled");
    if (copying->failure < 0)
        return error_set_errno(error, -copying->failure, "cannot copy the guest's memory");
    return 0;
}

static int copy(MemoryCapture *capture, const PageRanges *ranges, int base_fd, Error *error) {
    Copying copying = {.capture = capture, .ranges = ranges, .base_fd = base_fd};
    return run(&copying,
               MIN_OF(parallel_threads(THREADS_MAX), ranges->pages / PAGES_PER_THREAD + 1), error);
}

/* ---- what is copied ---- */

static int copy_dirty(MemoryCapture *capture, Error *error) {
    _cleanup_page_ranges_ PageRanges ranges = {0};
    int r = dirty_pages_collect(capture->ram, &ranges, error);
    return r < 0 ? r : copy(capture, &ranges, -1, error);
}

static int copy_written(MemoryCapture *capture, uint64_t *pages, Error *error) {
    _cleanup_page_ranges_ PageRanges ranges = {0};
    int r = written_pages_take(&capture->written, capture->ram, &ranges, error);
    *pages = ranges.pages;
    return r < 0 ? r : copy(capture, &ranges, -1, error);
}

int memory_capture_ahead(MemoryCapture *capture, int uffd, Error *error) {
    uint64_t before = UINT64_MAX, pages;
    int r = written_pages_start(capture->ram, uffd, &capture->written, error);
    if (r < 0 || capture->written.way == WRITTEN_UNKNOWN)
        return r;
    r = copy_dirty(capture, error);
    for (int round = 0; r >= 0 && round < ROUNDS_MAX; round++) {
        r = copy_written(capture, &pages, error);
        if (pages <= FEW_PAGES || pages > before / 2)
            break;
        before = pages;
    }
    return r;
}

int memory_capture_finish(MemoryCapture *capture, Error *error) {
    uint64_t pages;
    int r = copy_written(capture, &pages, error);
    capture->way = capture->written.way;
    return r;
}

void memory_capture_end_telling(MemoryCapture *capture) {
    written_pages_stop(&capture->written);
}

/* The base's data from a page on, but for the pages that were copied. */
static void list_rest(const MemoryCapture *capture, int base_fd, uint64_t from, PageRanges *rest) {
    uint64_t bytes = capture->pages.pages * RAM_PAGE_SIZE, start, end, first, count;
    for (uint64_t at = from * RAM_PAGE_SIZE; at < bytes; at = end) {
        fd_find_data(base_fd, at, bytes, &start, &end);
        uint64_t page = start / RAM_PAGE_SIZE, last = (end + RAM_PAGE_SIZE - 1) / RAM_PAGE_SIZE;
        while (start < bytes && page_set_next(&capture->pages, false, page, last, &first, &count)) {
            page_ranges_append(rest, first, count);
            page = first + count;
        }
    }
}

uint64_t memory_capture_rest_bytes(const MemoryCapture *capture, int base_fd) {
    _cleanup_page_ranges_ PageRanges rest = {0};
    list_rest(capture, base_fd, 0, &rest);
    return rest.pages * RAM_PAGE_SIZE;
}

/* Parts are taken in order, and each that was taken is written when the threads have ended. One
 * thread: the guest is to have the other processors. */
int memory_capture_lay(MemoryCapture *capture, int base_fd, Error *error) {
    _cleanup_page_ranges_ PageRanges rest = {0};
    Copying copying = {
        .capture = capture, .ranges = &rest, .base_fd = base_fd, .enough = &capture->laid_enough};
    list_rest(capture, base_fd, 0, &rest);
    int r = run(&copying, 1, error);
    capture->laid_pages = copying.next < rest.count ? rest.items[copying.next].first + copying.taken
                                                    : capture->pages.pages;
    return r;
}

int memory_capture_complete(MemoryCapture *capture, int base_fd, Error *error) {
    _cleanup_page_ranges_ PageRanges rest = {0};
    list_rest(capture, base_fd, capture->laid_pages, &rest);
    return copy(capture, &rest, base_fd, error);
}

int memory_capture_write(const MemoryCapture *capture, int fd, Error *error) {
    int r = memory_write_file(capture->memfd, fd, capture->ram->size_bytes);
    return r < 0 ? error_set_errno(error, -r, "cannot write a memory base") : 0;
}
