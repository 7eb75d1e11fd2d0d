/* SPDX-License-Identifier: Apache-2.0 */

/* By a userfaultfd in asynchronous write-protect mode (Linux 6.7,
 * Documentation/admin-guide/mm/userfaultfd.rst): pages are write-protected, and the first write to
 * one takes the protection off without anybody being asked. PAGEMAP_SCAN tells those without and
 * protects them again, page by page in one step, and flushes the processors' address caches before
 * it returns: a write either is told now, and in memory by then, or is told next time. Pages that
 * are not there are left alone: the first write makes a private page without protection, the first
 * read one that still is the base's, which is not told. So nothing is left in the page tables of
 * memory that is never touched.
 *
 * By soft-dirty bits (CONFIG_MEM_SOFT_DIRTY): clearing and reading them are two calls, and what is
 * written between a look and the clearing after it would be lost. So they are cleared once, at the
 * start, before anything is copied, and each take tells all that was written since.
 *
 * By no way: all private pages are told each time. When the userfaultfd fails on the way, it goes
 * on so, too: some pages may have been protected without being told. */

#include "memory/written.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "memory/dirty.h"
#include "memory/pagemap.h"
#include "memory/soft_dirty.h"

/* From include/uapi/linux/userfaultfd.h of Linux 6.7; the headers of Debian 12 are older. */
#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC ((uint64_t)1 << 15)
#endif

static void unregister(int uffd, uint64_t address, uint64_t size_bytes) {
    struct uffdio_range all = {.start = address, .len = size_bytes};
    (void)ioctl(uffd, UFFDIO_UNREGISTER, &all);
}

/* 0, or a negative errno and *failed. A descriptor takes UFFDIO_API once: the second time is an
 * error, as it is where the kernel lacks the feature; but then nothing can be registered. */
static int protect(const GuestRam *ram, int uffd, const char **failed) {
    struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_WP_ASYNC};
    struct uffdio_register all = {.range = {.start = ram->address, .len = ram->size_bytes},
                                  .mode = UFFDIO_REGISTER_MODE_WP};
    *failed = "the kernel has no asynchronous write protection, or it is no userfaultfd";
    if (ioctl(uffd, UFFDIO_API, &api) < 0 && errno != EINVAL)
        return -errno;
    *failed = "cannot register the guest's memory";
    if (ioctl(uffd, UFFDIO_REGISTER, &all) < 0)
        return -errno;
    *failed = "cannot write-protect the guest's memory, or it is another process's descriptor";
    int r = pagemap_protect(ram);
    if (r < 0)
        unregister(uffd, ram->address, ram->size_bytes);
    return r;
}

static void refuse(WrittenPages *written, const char *what, int error) {
    (void)snprintf(written->refusal, sizeof(written->refusal), "%s: %s", what, strerror(error));
}

static bool start_userfaultfd(const GuestRam *ram, int uffd, WrittenPages *written) {
    const char *failed;
    int r = protect(ram, uffd, &failed);
    if (r < 0)
        refuse(written, failed, -r);
    return r >= 0;
}

int written_pages_start(const GuestRam *ram, int uffd, WrittenPages *written, Error *error) {
    *written = (WrittenPages){.uffd = uffd, .address = ram->address, .size_bytes = ram->size_bytes};
    int r = pagemap_check_alive(ram);
    if (r < 0)
        return error_set_errno(error, -r, "cannot read the page map of process %d", (int)ram->pid);
    if (uffd >= 0 && start_userfaultfd(ram, uffd, written))
        written->way = WRITTEN_USERFAULTFD;
    else if (soft_dirty_works() && soft_dirty_clear(ram->pid) == 0)
        written->way = WRITTEN_SOFT_DIRTY;
    return 0;
}

static int take_protected(WrittenPages *written, const GuestRam *ram, PageRanges *ranges,
                          Error *error) {
    int r = pagemap_scan_written(ram, ranges);
    if (r >= 0)
        return 0;
    refuse(written, "cannot tell what was written", -r);
    written_pages_stop(written);
    page_ranges_free(ranges);
    return dirty_pages_collect(ram, ranges, error);
}

int written_pages_take(WrittenPages *written, const GuestRam *ram, PageRanges *ranges,
                       Error *error) {
    int r;
    if (written->way == WRITTEN_USERFAULTFD)
        return take_protected(written, ram, ranges, error);
    if (written->way == WRITTEN_UNKNOWN)
        return dirty_pages_collect(ram, ranges, error);
    r = pagemap_read(ram, PAGEMAP_SOFT_DIRTY, ranges);
    if (r >= 0)
        return 0;
    page_ranges_free(ranges);
    return error_set_errno(error, -r, "cannot read the page map of process %d", (int)ram->pid);
}

void written_pages_stop(WrittenPages *written) {
    if (written->way == WRITTEN_USERFAULTFD)
        unregister(written->uffd, written->address, written->size_bytes);
    written->way = WRITTEN_UNKNOWN;
}

const char *written_pages_way(WrittenWay way) {
    static const char *const names[] = {"none", "userfaultfd", "soft-dirty"};
    return names[way];
}

/* The probe */

#define PROBE_PAGES 2

/* Both pages are private; after the start one is written. */
static bool tells_one(const GuestRam *ram, int uffd, volatile char *memory) {
    WrittenPages written;
    _cleanup_page_ranges_ PageRanges ranges = {0};
    memory[0] = 1;
    memory[RAM_PAGE_SIZE] = 1;
    if (written_pages_start(ram, uffd, &written, NULL) < 0 || written.way != WRITTEN_USERFAULTFD)
        return false;
    memory[RAM_PAGE_SIZE] = 2;
    int r = written_pages_take(&written, ram, &ranges, NULL);
    bool same_way = written.way == WRITTEN_USERFAULTFD;
    written_pages_stop(&written);
    return r >= 0 && same_way && ranges.pages == 1 && ranges.items[0].first == 1;
}

static bool userfaultfd_works(void) {
    _cleanup_close_ int uffd =
        (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
    _cleanup_close_ int base = memfd_create("probe", MFD_CLOEXEC);
    _cleanup_guest_ram_ GuestRam ram = GUEST_RAM_INIT;
    size_t size = PROBE_PAGES * RAM_PAGE_SIZE;
    if (uffd < 0 || base < 0 || ftruncate(base, (off_t)size) < 0)
        return false;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, base, 0);
    if (memory == MAP_FAILED)
        return false;
    bool works =
        guest_ram_open(getpid(), base, size, &ram, NULL) >= 0 && tells_one(&ram, uffd, memory);
    (void)munmap(memory, size);
    return works;
}

WrittenWay written_pages_probe(bool userfaultfd) {
    if (userfaultfd && userfaultfd_works())
        return WRITTEN_USERFAULTFD;
    return soft_dirty_works() ? WRITTEN_SOFT_DIRTY : WRITTEN_UNKNOWN;
}
