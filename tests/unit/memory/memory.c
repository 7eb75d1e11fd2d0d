/* SPDX-License-Identifier: Apache-2.0 */

/* Captures, diffs and patches of a private mapping in this very process, as QEMU has one. */

#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/fd.h"
#include "memory/capture.h"
#include "memory/copy.h"
#include "memory/diff.h"
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

static void test_diff_patches_a_sibling(void) {
    Guest parent, child;
    char before[SHA256_HEX_SIZE], after[SHA256_HEX_SIZE];
    int base = base_with_content(), file = file_new(0);
    digest_of(base, before);
    guest_map(&parent, base);
    dirty_some(&parent);
    _cleanup_(memory_capture_free_p) MemoryCapture *capture = NULL;
    CHECK_INT(memory_capture(&parent.ram, &capture, NULL), 0);
    CHECK_INT(memory_capture_dirty_bytes(capture), 5 * RAM_PAGE_SIZE);
    CHECK(!memory_capture_wants_base(capture));
    fill_page(parent.memory, 7, 0x77); /* after the capture: not in it */
    CHECK_INT(memory_diff_write(capture, file, NULL), 0);
    struct stat status;
    CHECK(fstat(file, &status) == 0);
    CHECK_INT(status.st_size, 4096 + 4 * 4096); /* zero pages are not stored */

    uint8_t *wanted = malloc(RAM_BYTES);
    CHECK(wanted != NULL);
    memcpy(wanted, parent.memory, RAM_BYTES);
    memset(wanted + 7 * RAM_PAGE_SIZE, 8, RAM_PAGE_SIZE);
    guest_unmap(&parent);

    guest_map(&child, base);
    uint64_t pages = 0;
    CHECK_INT(memory_diff_patch(file, &child.ram, &pages, NULL), 0);
    CHECK_INT(pages, 5);
    CHECK(memcmp(child.memory, wanted, RAM_BYTES) == 0);
    free(wanted);
    digest_of(base, after);
    CHECK_STR(after, before);
    guest_unmap(&child);
}

static void test_new_base_holds_old_and_new(void) {
    Guest guest;
    int base = base_with_content(), next = file_new(0);
    guest_map(&guest, base);
    dirty_some(&guest);
    _cleanup_(memory_capture_free_p) MemoryCapture *capture = NULL;
    CHECK_INT(memory_capture(&guest.ram, &capture, NULL), 0);
    CHECK_INT(memory_capture_write_base(capture, base, next, NULL), 0);
    uint8_t *content = malloc(RAM_BYTES);
    CHECK(content && fd_pread_full(next, content, RAM_BYTES, 0) == (ssize_t)RAM_BYTES);
    CHECK(memcmp(content, guest.memory, RAM_BYTES) == 0);
    free(content);
    struct stat status;
    CHECK(fstat(next, &status) == 0);
    CHECK(status.st_blocks * 512 < 80 * 4096);
    guest_unmap(&guest);
}

/* The room that was made before need not hold all, and ranges come in more than one call. */
static void test_prepared_capture_holds_what_came_since(void) {
    Guest guest;
    int base = file_new(RAM_BYTES), next = file_new(0);
    guest_map(&guest, base);
    _cleanup_(memory_capture_free_p) MemoryCapture *capture = NULL;
    CHECK_INT(memory_capture_prepare(&guest.ram, &capture, NULL), 0);
    CHECK_INT(memory_capture_dirty_bytes(capture), 0);
    for (uint64_t i = 0; i < PAGES; i += 2)
        fill_page(guest.memory, i, (int)(i % 251) + 1);
    CHECK_INT(memory_capture_take(capture, &guest.ram, NULL), 0);
    CHECK_INT(memory_capture_dirty_bytes(capture), PAGES / 2 * RAM_PAGE_SIZE);
    CHECK_INT(memory_capture_write_base(capture, base, next, NULL), 0);
    uint8_t *content = malloc(RAM_BYTES);
    CHECK(content && fd_pread_full(next, content, RAM_BYTES, 0) == (ssize_t)RAM_BYTES);
    CHECK(memcmp(content, guest.memory, RAM_BYTES) == 0);
    free(content);
    guest_unmap(&guest);
}

static void test_base_rule(void) {
    Guest guest;
    guest_map(&guest, file_new(RAM_BYTES));
    for (uint64_t i = 0; i <= PAGES / 4; i++)
        fill_page(guest.memory, i, 1);
    _cleanup_(memory_capture_free_p) MemoryCapture *capture = NULL;
    CHECK_INT(memory_capture(&guest.ram, &capture, NULL), 0);
    CHECK(memory_capture_wants_base(capture));
    guest_unmap(&guest);
}

static void test_damaged_diffs_are_refused(void) {
    Guest guest;
    guest_map(&guest, base_with_content());
    dirty_some(&guest);
    _cleanup_(memory_capture_free_p) MemoryCapture *capture = NULL;
    CHECK_INT(memory_capture(&guest.ram, &capture, NULL), 0);
    int file = file_new(0);
    CHECK_INT(memory_diff_write(capture, file, NULL), 0);
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
    CHECK(memory_diff_patch(file, &guest.ram, NULL, &error) < 0);
    CHECK_CONTAINS(error.message, "run 0");
    guest_unmap(&guest);
}

static void test_sealed_base_cannot_change(void) {
    int base = base_with_content(), sealed = -1;
    char want[SHA256_HEX_SIZE], got[SHA256_HEX_SIZE];
    CHECK_INT(memory_seal_base(base, RAM_BYTES, "snapshot", &sealed, NULL), 0);
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

int main(void) {
    RUN(test_both_scans_see_just_the_written_pages);
    RUN(test_many_ranges);
    RUN(test_diff_patches_a_sibling);
    RUN(test_new_base_holds_old_and_new);
    RUN(test_prepared_capture_holds_what_came_since);
    RUN(test_base_rule);
    RUN(test_damaged_diffs_are_refused);
    RUN(test_sealed_base_cannot_change);
    RUN(test_shared_and_absent_mappings_are_refused);
    return 0;
}
