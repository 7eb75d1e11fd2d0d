/* SPDX-License-Identifier: Apache-2.0 */

/* Captures and diffs of a private mapping in this very process, as QEMU has one. */

#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/fd.h"
#include "base/tree_digest.h"
#include "memory/capture.h"
#include "memory/copy.h"
#include "memory/diff.h"
#include "memory/dirty.h"
#include "memory/seal.h"

#define PAGES 4096u
#define RAM_BYTES (PAGES * RAM_PAGE_SIZE)

typedef struct Guest {
    int base;
    uint8_t *memory;
    GuestRam ram;
} Guest;

static int file_new(uint64_t size) {
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    CHECK(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
    return fd;
}

static void guest_map(Guest *guest, int base) {
    Error error = ERROR_INIT;
    guest->base = base;
    guest->memory = mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE, base, 0);
    CHECK(guest->memory != MAP_FAILED);
    guest->ram = GUEST_RAM_INIT;
    CHECK_INT(guest_ram_open(getpid(), base, RAM_BYTES, &guest->ram, &error), 0);
    CHECK_INT(guest->ram.address, (uintptr_t)guest->memory);
}

static void guest_unmap(Guest *guest) {
    guest_ram_close(&guest->ram);
    CHECK(munmap(guest->memory, RAM_BYTES) == 0);
}

static void fill_page(uint8_t *memory, uint64_t page, int byte) {
    memset(memory + page * RAM_PAGE_SIZE, byte, RAM_PAGE_SIZE);
}

static int base_with_content(void) {
    int base = file_new(RAM_BYTES);
    uint8_t page[4096];
    for (uint64_t i = 0; i < 64; i++) {
        memset(page, (int)i + 1, sizeof(page));
        CHECK_INT(fd_pwrite_full(base, page, sizeof(page), i * RAM_PAGE_SIZE), 0);
    }
    return base;
}

static void digest_of(int fd, char hex[SHA256_HEX_SIZE]) {
    CHECK_INT(sha256_file(fd, hex, NULL), 0);
}

static void dirty_some(Guest *guest) {
    fill_page(guest->memory, 3, 0);    /* content became zero */
    fill_page(guest->memory, 4, 0xaa); /* content became other content */
    fill_page(guest->memory, 5, 0xab);
    fill_page(guest->memory, 100, 0xcd); /* a hole became content */
    fill_page(guest->memory, PAGES - 1, 0xef);
}

static void test_both_scans_see_just_the_written_pages(void) {
    Guest guest;
    guest_map(&guest, base_with_content());
    volatile uint8_t sum = 0;
    for (uint64_t i = 0; i < PAGES; i++) /* reading makes nothing dirty */
        sum = (uint8_t)(sum + guest.memory[i * RAM_PAGE_SIZE]);
    dirty_some(&guest);
    for (int slowly = 0; slowly < 2; slowly++) {
        _cleanup_page_ranges_ PageRanges ranges = {0};
        CHECK_INT(
            (slowly ? dirty_pages_collect_slowly : dirty_pages_collect)(&guest.ram, &ranges, NULL),
            0);
        CHECK_INT(ranges.pages, 5);
        CHECK_INT(ranges.count, 3);
        CHECK_INT(ranges.items[0].first, 3);
        CHECK_INT(ranges.items[0].count, 3);
        CHECK_INT(ranges.items[1].first, 100);
        CHECK_INT(ranges.items[2].first, PAGES - 1);
    }
    guest_unmap(&guest);
}

/* More ranges than the kernel gathers at once (512), and more than one call returns (1024). */
static void test_many_ranges(void) {
    static const uint64_t counts[] = {511, 512, 513, 700, 1023, 1024, 1025, 1600, PAGES / 2};
    for (size_t n = 0; n < ARRAY_SIZE(counts); n++) {
        Guest guest;
        guest_map(&guest, file_new(RAM_BYTES));
        for (uint64_t i = 0; i < counts[n]; i++)
            fill_page(guest.memory, 2 * i, 1);
        _cleanup_page_ranges_ PageRanges ranges = {0};
        CHECK_INT(dirty_pages_collect(&guest.ram, &ranges, NULL), 0);
        CHECK_INT(ranges.count, counts[n]);
        CHECK_INT(ranges.pages, counts[n]);
        for (uint64_t i = 0; i < counts[n]; i++)
            CHECK_INT(ranges.items[i].first, 2 * i);
        guest_unmap(&guest);
    }
}

/* As a snapshot takes it, of a guest that stands still. */
static void capture_all(const Guest *guest, MemoryCapture *capture) {
    memory_capture_init(capture, &guest->ram, file_new(RAM_BYTES));
    CHECK_INT(memory_capture_ahead(capture, -1, NULL), 0);
    CHECK_INT(memory_capture_finish(capture, NULL), 0);
}

static void capture_close(MemoryCapture *capture) {
    (void)fd_close(capture->memfd);
    memory_capture_free(capture);
}

static void check_content(int fd, const uint8_t *wanted) {
    _cleanup_free_ uint8_t *content = malloc(RAM_BYTES);
    CHECK(content && fd_pread_full(fd, content, RAM_BYTES, 0) == (ssize_t)RAM_BYTES);
    CHECK(memcmp(content, wanted, RAM_BYTES) == 0);
}

static uint64_t occupied_bytes(int fd) {
    struct stat status;
    CHECK(fstat(fd, &status) == 0);
    return (uint64_t)status.st_blocks * 512;
}

static int write_diff(const Guest *guest) {
    int file = file_new(0);
    MemoryCapture capture;
    capture_all(guest, &capture);
    CHECK_INT(memory_diff_write(&capture, file, NULL), 0);
    capture_close(&capture);
    return file;
}

static void test_diff_patches_a_sibling(void) {
    Guest parent, child;
    char before[SHA256_HEX_SIZE], after[SHA256_HEX_SIZE];
    int base = base_with_content(), file = file_new(0);
    digest_of(base, before);
    guest_map(&parent, base);
    dirty_some(&parent);
    MemoryCapture capture;
    capture_all(&parent, &capture);
    CHECK_INT(memory_capture_dirty_bytes(&capture), 5 * RAM_PAGE_SIZE);
    fill_page(parent.memory, 7, 0x77); /* after the capture: not in it */
    CHECK_INT(memory_diff_write(&capture, file, NULL), 0);
    capture_close(&capture);
    struct stat status;
    CHECK(fstat(file, &status) == 0);
    CHECK_INT(status.st_size, 4096 + 4 * 4096); /* zero pages are not stored */

    _cleanup_free_ uint8_t *wanted = malloc(RAM_BYTES);
    CHECK(wanted != NULL);
    memcpy(wanted, parent.memory, RAM_BYTES);
    memset(wanted + 7 * RAM_PAGE_SIZE, 8, RAM_PAGE_SIZE);
    guest_unmap(&parent);

    guest_map(&child, base);
    CHECK_INT(memory_diff_patch(file, &child.ram, NULL), 0);
    CHECK(memcmp(child.memory, wanted, RAM_BYTES) == 0);
    digest_of(base, after);
    CHECK_STR(after, before);
    guest_unmap(&child);
}

static void test_complete_capture_holds_old_and_new(void) {
    Guest guest;
    int base = base_with_content(), next = file_new(0);
    guest_map(&guest, base);
    dirty_some(&guest);
    MemoryCapture capture;
    capture_all(&guest, &capture);
    CHECK_INT(memory_capture_rest_bytes(&capture, base), 61 * RAM_PAGE_SIZE);
    CHECK_INT(memory_capture_complete(&capture, base, NULL), 0);
    CHECK_INT(memory_capture_write(&capture, next, NULL), 0);
    check_content(capture.memfd, guest.memory);
    check_content(next, guest.memory);
    CHECK(occupied_bytes(capture.memfd) < 80 * RAM_PAGE_SIZE);
    CHECK(occupied_bytes(next) < 80 * RAM_PAGE_SIZE);
    CHECK_INT(memory_seal(capture.memfd), 0);
    capture_close(&capture);
    guest_unmap(&guest);
}

/* A page that was copied with content is zero at last, and the other way round. */
static void test_later_copies_replace_earlier_ones(void) {
    Guest guest;
    int base = base_with_content(), file;
    guest_map(&guest, base);
    dirty_some(&guest);
    MemoryCapture capture;
    memory_capture_init(&capture, &guest.ram, file_new(RAM_BYTES));
    CHECK_INT(memory_capture_finish(&capture, NULL), 0);
    fill_page(guest.memory, 3, 0x33);
    fill_page(guest.memory, 4, 0);
    fill_page(guest.memory, 200, 0);
    CHECK_INT(memory_capture_finish(&capture, NULL), 0);
    CHECK_INT(memory_capture_dirty_bytes(&capture), 6 * RAM_PAGE_SIZE);
    CHECK_INT(memory_capture_complete(&capture, base, NULL), 0);
    check_content(capture.memfd, guest.memory);
    file = file_new(0);
    CHECK_INT(memory_diff_write(&capture, file, NULL), 0);
    guest_unmap(&guest);

    guest_map(&guest, base);
    CHECK_INT(memory_diff_patch(file, &guest.ram, NULL), 0);
    check_content(capture.memfd, guest.memory);
    capture_close(&capture);
    guest_unmap(&guest);
}

typedef struct Laying {
    MemoryCapture *capture;
    int base;
} Laying;

static void *lay(void *data) {
    const Laying *laying = data;
    CHECK_INT(memory_capture_lay(laying->capture, laying->base, NULL), 0);
    return NULL;
}

/* Is what comes after it right, whether the base was laid in part, whole or not at all? */
static void check_laying(int base, bool stop, bool before) {
    Guest guest;
    MemoryCapture capture;
    Laying laying = {.capture = &capture, .base = base};
    pthread_t thread;
    int file = file_new(0);
    guest_map(&guest, base);
    dirty_some(&guest);
    memory_capture_init(&capture, &guest.ram, file_new(RAM_BYTES));
    CHECK_INT(memory_capture_finish(&capture, NULL), 0);
    if (stop && before)
        memory_capture_stop_laying(&capture);
    CHECK_INT(pthread_create(&thread, NULL, lay, &laying), 0);
    if (stop)
        memory_capture_stop_laying(&capture);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK(stop || capture.laid_pages == PAGES);
    CHECK(!before || capture.laid_pages == 0);
    fill_page(guest.memory, 4, 0);
    fill_page(guest.memory, 7, 0); /* the base's content, and never copied before */
    fill_page(guest.memory, 8, 0x88);
    fill_page(guest.memory, 300, 0);
    CHECK_INT(memory_capture_finish(&capture, NULL), 0);
    CHECK_INT(memory_diff_write(&capture, file, NULL), 0);
    CHECK_INT(memory_capture_complete(&capture, base, NULL), 0);
    check_content(capture.memfd, guest.memory);
    guest_unmap(&guest);

    guest_map(&guest, base);
    CHECK_INT(memory_diff_patch(file, &guest.ram, NULL), 0);
    check_content(capture.memfd, guest.memory);
    capture_close(&capture);
    guest_unmap(&guest);
}

static void test_base_is_laid_before_the_last_copy(void) {
    int base = file_new(RAM_BYTES);
    uint8_t page[RAM_PAGE_SIZE];
    for (uint64_t i = 0; i < PAGES; i++) {
        memset(page, (int)(i % 255) + 1, sizeof(page));
        CHECK_INT(fd_pwrite_full(base, page, sizeof(page), i * RAM_PAGE_SIZE), 0);
    }
    check_laying(base_with_content(), false, false);
    check_laying(base, false, false);
    check_laying(base, true, true);
    for (int i = 0; i < 20; i++)
        check_laying(base, true, false);
}

/* A laying that was cancelled tells so. */
static void test_laying_is_cancelled(void) {
    Guest guest;
    MemoryCapture capture;
    int base = base_with_content();
    guest_map(&guest, base);
    memory_capture_init(&capture, &guest.ram, file_new(RAM_BYTES));
    memory_capture_cancel(&capture);
    CHECK_INT(memory_capture_lay(&capture, base, NULL), -ECANCELED);
    capture_close(&capture);
    guest_unmap(&guest);
}

/* Lays a diff over a copy of `under`; returns it. */
static int lay_over(int under, int file) {
    TreeDigestOptions options = {.cancel_fd = -1, .visit = memory_diff_store};
    _cleanup_(memory_diff_close_p) MemoryDiff *diff = NULL;
    char digest[TREE_DIGEST_SIZE], wanted[TREE_DIGEST_SIZE];
    int merged = file_new(RAM_BYTES);
    CHECK_INT(memory_copy_data(under, merged, RAM_BYTES), 0);
    CHECK_INT(memory_diff_open(file, RAM_BYTES, merged, &diff, NULL), 0);
    options.data = diff;
    CHECK_INT(tree_digest_file(file, &options, digest, NULL), 0);
    options.visit = NULL;
    CHECK_INT(tree_digest_file(file, &options, wanted, NULL), 0);
    CHECK_STR(digest, wanted);
    return merged;
}

/* Each VM maps what the diff before it made of the memory. */
static void test_chain_of_diffs_is_laid_over_a_base(void) {
    int under = base_with_content();
    for (unsigned depth = 0; depth < 10; depth++) {
        Guest guest;
        guest_map(&guest, under);
        for (uint64_t i = depth; i < PAGES; i += 7 + depth)
            fill_page(guest.memory, i, (int)((i + depth) % 251));
        fill_page(guest.memory, depth, 0);
        _cleanup_close_ int file = write_diff(&guest);
        int merged = lay_over(under, file);
        check_content(merged, guest.memory);
        guest_unmap(&guest);
        (void)fd_close(under);
        under = merged;
    }
    (void)fd_close(under);
}

static void test_empty_diff(void) {
    Guest guest;
    int base = base_with_content();
    guest_map(&guest, base);
    _cleanup_close_ int file = write_diff(&guest);
    _cleanup_close_ int merged = lay_over(base, file);
    check_content(merged, guest.memory);
    guest_unmap(&guest);
}

static void test_cancelled_capture(void) {
    Guest guest;
    guest_map(&guest, file_new(RAM_BYTES));
    fill_page(guest.memory, 1, 1);
    MemoryCapture capture;
    memory_capture_init(&capture, &guest.ram, file_new(RAM_BYTES));
    memory_capture_cancel(&capture);
    CHECK_INT(memory_capture_finish(&capture, NULL), -ECANCELED);
    capture_close(&capture);
    guest_unmap(&guest);
}

static void test_damaged_diffs_are_refused(void) {
    Guest guest;
    guest_map(&guest, base_with_content());
    dirty_some(&guest);
    int file = write_diff(&guest), merged = file_new(RAM_BYTES);
    MemoryDiff *diff = NULL;
    CHECK_INT(memory_diff_check(file, RAM_BYTES, NULL), 0);
    CHECK(memory_diff_check(file, 2 * RAM_BYTES, NULL) < 0);
    for (off_t size = 0; size < 5 * 4096; size += 1024) {
        _cleanup_close_ int cut = file_new(0);
        CHECK_INT(memory_copy_data(file, cut, (uint64_t)size), 0);
        CHECK(ftruncate(cut, size) == 0);
        CHECK(memory_diff_check(cut, RAM_BYTES, NULL) < 0);
    }
    uint64_t outside = PAGES;
    CHECK_INT(fd_pwrite_full(file, &outside, sizeof(outside), 32), 0);
    _cleanup_error_ Error error = ERROR_INIT;
    CHECK(memory_diff_patch(file, &guest.ram, &error) < 0);
    CHECK_CONTAINS(error.message, "run 0");
    CHECK(memory_diff_open(file, RAM_BYTES, merged, &diff, NULL) < 0);
    guest_unmap(&guest);
}

static void test_sealed_base_cannot_change(void) {
    int base = base_with_content(), sealed = -1;
    char want[SHA256_HEX_SIZE], got[SHA256_HEX_SIZE];
    sealed = file_new(RAM_BYTES);
    CHECK_INT(memory_copy_data(base, sealed, RAM_BYTES), 0);
    CHECK_INT(memory_seal(sealed), 0);
    CHECK(memory_is_sealed(sealed));
    CHECK(!memory_is_sealed(base));
    CHECK(pwrite(sealed, "x", 1, 0) < 0 && errno == EPERM);
    CHECK(ftruncate(sealed, 0) < 0 && errno == EPERM);
    CHECK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, sealed, 0) == MAP_FAILED);
    Guest guest;
    guest_map(&guest, sealed); /* a private mapping of it may be written */
    dirty_some(&guest);
    guest_unmap(&guest);
    digest_of(base, want);
    digest_of(sealed, got);
    CHECK_STR(got, want);
}

static void test_shared_and_absent_mappings_are_refused(void) {
    GuestRam ram = GUEST_RAM_INIT;
    int base = file_new(RAM_BYTES);
    CHECK_INT(guest_ram_open(getpid(), base, RAM_BYTES, &ram, NULL), -ENOENT);
    void *shared = mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, base, 0);
    CHECK(shared != MAP_FAILED);
    _cleanup_error_ Error error = ERROR_INIT;
    CHECK(guest_ram_open(getpid(), base, RAM_BYTES, &ram, &error) < 0);
    CHECK_CONTAINS(error.message, "shared");
    CHECK(munmap(shared, RAM_BYTES) == 0);
}

/* What one whole memory has that another has not, laid over that, gives the first again. */
static void compared_memories(void) {
    enum { BYTES = 3 << 20 };
    _cleanup_close_ int then = memfd_create("then", MFD_CLOEXEC);
    _cleanup_close_ int now = memfd_create("now", MFD_CLOEXEC);
    _cleanup_close_ int file = memfd_create("diff", MFD_CLOEXEC);
    _cleanup_(memory_diff_close_p) MemoryDiff *diff = NULL;
    const TreeDigestOptions options = {.cancel_fd = -1, .threads = 1};
    char a[TREE_DIGEST_SIZE], b[TREE_DIGEST_SIZE], page[4096];
    memset(page, 'x', sizeof(page));
    CHECK_INT(ftruncate(then, BYTES) | ftruncate(now, BYTES), 0);
    CHECK_INT(fd_pwrite_full(then, page, sizeof(page), 0), 0); /* the same in both */
    CHECK_INT(fd_pwrite_full(now, page, sizeof(page), 0), 0);
    CHECK_INT(fd_pwrite_full(then, page, sizeof(page), 8192), 0); /* a hole by now */
    CHECK_INT(fd_pwrite_full(now, page, 7, (2 << 20) + 4096), 0); /* written since */
    CHECK_INT(fd_pwrite_full(now, page, 7, BYTES - 7), 0);        /* the last page */
    CHECK_INT(memory_diff_compare(then, now, BYTES, file, NULL), 0);
    CHECK_INT(lseek(file, 0, SEEK_END), 3 * 4096); /* the header, and two pages */
    CHECK_INT(memory_diff_check(file, BYTES, NULL), 0);
    CHECK_INT(memory_diff_open(file, BYTES, then, &diff, NULL), 0);
    CHECK_INT(tree_digest_file(
                  file,
                  &(TreeDigestOptions){
                      .cancel_fd = -1, .threads = 1, .visit = memory_diff_store, .data = diff},
                  a, NULL),
              0);
    CHECK_INT(tree_digest_file(then, &options, a, NULL), 0);
    CHECK_INT(tree_digest_file(now, &options, b, NULL), 0);
    CHECK_STR(a, b);
}

int main(void) {
    RUN(compared_memories);
    RUN(test_both_scans_see_just_the_written_pages);
    RUN(test_many_ranges);
    RUN(test_diff_patches_a_sibling);
    RUN(test_complete_capture_holds_old_and_new);
    RUN(test_base_is_laid_before_the_last_copy);
    RUN(test_laying_is_cancelled);
    RUN(test_later_copies_replace_earlier_ones);
    RUN(test_chain_of_diffs_is_laid_over_a_base);
    RUN(test_empty_diff);
    RUN(test_cancelled_capture);
    RUN(test_damaged_diffs_are_refused);
    RUN(test_sealed_base_cannot_change);
    RUN(test_shared_and_absent_mappings_are_refused);
    return 0;
}
