/* SPDX-License-Identifier: Apache-2.0 */

/* A forked child without privileges stands for QEMU: it maps a sealed base privately, gives its
 * userfaultfd away, and does with its memory what it is told. */

#include "memory/written.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "check.h"
#include "memory/dirty.h"
#include "memory/pagemap.h"
#include "memory/soft_dirty.h"

#define PAGES 16384u
#define TEST_USER 12345
#define WRITERS 3
#define RACE_PAGES 4096u
#define ROUNDS 30
#define ROUNDS_OF_ALL 3 /* all private pages come each time */

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

typedef enum Verb {
    FILL,       /* pages with a byte */
    READ,       /* all */
    DROP,       /* give pages back to the base */
    PAGE_OUT,   /* as far as there is swap */
    LOCK,       /* nobody may write to them */
    UNLOCK,     /* somebody may again */
    REMAP,      /* another file over them */
    WRITE,      /* from now on, by threads, anywhere */
    STOP_WRITE, /* and no more */
} Verb;

typedef struct Order {
    Verb verb;
    uint64_t first, step, count;
    int byte;
} Order;

/* --- the child -------------------------------------------------------------------------------- */

static uint8_t *memory; /* of the child */
static uint64_t memory_pages;
static pthread_t writers[WRITERS];
static int writing; /* atomic */

static void *write_anywhere(void *data) {
    uint64_t random = (uintptr_t)data * 0x9e3779b97f4a7c15u + 1;
    while (__atomic_load_n(&writing, __ATOMIC_RELAXED)) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        uint64_t page = random % memory_pages;
        uint64_t *word = (uint64_t *)(void *)(memory + page * RAM_PAGE_SIZE) + (random >> 40) % 512;
        __atomic_store_n(word, random, __ATOMIC_RELAXED);
    }
    return NULL;
}

static void writers_run(bool run) {
    __atomic_store_n(&writing, run, __ATOMIC_RELAXED);
    for (uintptr_t i = 0; i < WRITERS; i++)
        CHECK_INT(run ? pthread_create(&writers[i], NULL, write_anywhere, (void *)(i + 1))
                      : pthread_join(writers[i], NULL),
                  0);
}

static void remap(uint8_t *at, size_t size) {
    int other = memfd_create("other", MFD_CLOEXEC);
    CHECK(other >= 0 && ftruncate(other, (off_t)size) == 0);
    CHECK(mmap(at, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, other, 0) == at);
}

static void obey(const Order *order) {
    uint8_t *at = memory + order->first * RAM_PAGE_SIZE;
    size_t size = order->count * RAM_PAGE_SIZE;
    volatile uint8_t sum = 0;
    switch (order->verb) {
    case FILL:
        for (uint64_t i = 0; i < order->count; i++)
            memset(at + i * order->step * RAM_PAGE_SIZE, order->byte, RAM_PAGE_SIZE);
        return;
    case READ:
        for (uint64_t i = 0; i < memory_pages; i++)
            sum = (uint8_t)(sum + memory[i * RAM_PAGE_SIZE]);
        return;
    case DROP:
        CHECK_INT(madvise(at, size, MADV_DONTNEED), 0);
        return;
    case PAGE_OUT:
        (void)madvise(at, size, MADV_PAGEOUT);
        return;
    case LOCK:
        CHECK_INT(mprotect(at, size, PROT_READ), 0);
        return;
    case UNLOCK:
        CHECK_INT(mprotect(at, size, PROT_READ | PROT_WRITE), 0);
        return;
    case REMAP:
        remap(at, size);
        return;
    case WRITE:
        writers_run(true);
        return;
    case STOP_WRITE:
        writers_run(false);
        return;
    }
}

static void child_run(int socket, int base, uint64_t pages) {
    Order order;
    size_t none = 0;
    if (geteuid() == 0)
        CHECK_INT(setresuid(TEST_USER, TEST_USER, TEST_USER), 0);
    (void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    memory_pages = pages;
    memory = mmap(NULL, pages * RAM_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, base, 0);
    CHECK(memory != MAP_FAILED);
    int uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
    CHECK_INT(fd_send_message(socket, "u", 1, &uffd, uffd >= 0), 1);
    (void)fd_close(uffd); /* whoever it was sent to has it alone */
    while (fd_receive_message(socket, &order, sizeof(order), NULL, &none) == sizeof(order)) {
        obey(&order);
        CHECK_INT(fd_send_message(socket, "d", 1, NULL, 0), 1);
    }
    _exit(0);
}

/* --- the test's side -------------------------------------------------------------------------- */

typedef struct Guest {
    pid_t pid;
    int socket, uffd, base;
    GuestRam ram;
} Guest;

static int base_new(uint64_t pages) {
    int base = memfd_create("base", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    uint8_t page[RAM_PAGE_SIZE];
    CHECK(base >= 0 && ftruncate(base, (off_t)(pages * RAM_PAGE_SIZE)) == 0);
    for (uint64_t i = 0; i < 1024; i++) {
        memset(page, (int)(i % 255) + 1, sizeof(page));
        CHECK_INT(fd_pwrite_full(base, page, sizeof(page), i * RAM_PAGE_SIZE), 0);
    }
    CHECK_INT(fcntl(base, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW), 0);
    return base;
}

static void guest_begin(Guest *guest, uint64_t pages) {
    int pair[2];
    char byte;
    size_t n_fds = 1;
    *guest = (Guest){.uffd = -1, .base = base_new(pages), .ram = GUEST_RAM_INIT};
    CHECK_INT(fd_socketpair(SOCK_SEQPACKET, pair), 0);
    guest->pid = fork();
    CHECK(guest->pid >= 0);
    if (guest->pid == 0) {
        (void)fd_close(pair[0]);
        child_run(pair[1], guest->base, pages);
    }
    (void)fd_close(pair[1]);
    guest->socket = pair[0];
    CHECK_INT(fd_receive_message(pair[0], &byte, 1, &guest->uffd, &n_fds), 1);
    CHECK_INT(guest_ram_open(guest->pid, guest->base, pages * RAM_PAGE_SIZE, &guest->ram, NULL), 0);
}

static void guest_end(Guest *guest) {
    (void)fd_close(guest->socket); /* which another child may have, too */
    (void)kill(guest->pid, SIGKILL);
    CHECK_INT(waitpid(guest->pid, NULL, 0), guest->pid);
    (void)fd_close(guest->uffd);
    (void)fd_close(guest->base);
    guest_ram_close(&guest->ram);
}

static void tell(const Guest *guest, Order order) {
    char byte;
    size_t none = 0;
    CHECK_INT(fd_send_message(guest->socket, &order, sizeof(order), NULL, 0), sizeof(order));
    CHECK_INT(fd_receive_message(guest->socket, &byte, 1, NULL, &none), 1);
}

static void fill(const Guest *guest, uint64_t first, uint64_t count, int byte) {
    tell(guest, (Order){.verb = FILL, .first = first, .step = 1, .count = count, .byte = byte});
}

/* False where this kernel has no userfaultfd of the kind. */
static bool start(Guest *guest, WrittenPages *written) {
    CHECK_INT(written_pages_start(&guest->ram, guest->uffd, written, NULL), 0);
    if (written->way != WRITTEN_USERFAULTFD)
        fprintf(stderr, "not by a userfaultfd: %s\n", written->refusal);
    else
        CHECK_STR(written->refusal, "");
    return written->way == WRITTEN_USERFAULTFD;
}

/* Exactly these ranges, as pairs of first and count, are told next. */
static void told(WrittenPages *written, const Guest *guest, const uint64_t (*wanted)[2], size_t n) {
    _cleanup_page_ranges_ PageRanges ranges = {0};
    CHECK_INT(written_pages_take(written, &guest->ram, &ranges, NULL), 0);
    CHECK_INT(ranges.count, n);
    for (size_t i = 0; i < n; i++) {
        CHECK_INT(ranges.items[i].first, wanted[i][0]);
        CHECK_INT(ranges.items[i].count, wanted[i][1]);
    }
}

static void test_just_what_was_written(void) {
    Guest guest;
    WrittenPages written;
    guest_begin(&guest, PAGES);
    tell(&guest, (Order){.verb = READ});
    fill(&guest, 10, 5, 0x11);   /* over content */
    fill(&guest, 5000, 1, 0x12); /* over a hole */
    if (start(&guest, &written)) {
        told(&written, &guest, NULL, 0);
        tell(&guest, (Order){.verb = READ});
        told(&written, &guest, NULL, 0);
        fill(&guest, 11, 2, 0x21); /* was private */
        fill(&guest, 100, 1, 0x22);
        fill(&guest, 5000, 2, 0x23);
        fill(&guest, PAGES - 1, 1, 0);
        told(&written, &guest, (const uint64_t[][2]){{11, 2}, {100, 1}, {5000, 2}, {PAGES - 1, 1}},
             4);
        told(&written, &guest, NULL, 0);
        fill(&guest, 12, 1, 0x31);
        told(&written, &guest, (const uint64_t[][2]){{12, 1}}, 1);
        written_pages_stop(&written);
        written_pages_stop(&written);
        CHECK_INT(written.way, WRITTEN_UNKNOWN);
        told(&written, &guest, /* all that is private */
             (const uint64_t[][2]){{10, 5}, {100, 1}, {5000, 2}, {PAGES - 1, 1}}, 4);
    }
    guest_end(&guest);
}

static void test_starts_again(void) {
    Guest guest;
    WrittenPages written;
    guest_begin(&guest, PAGES);
    fill(&guest, 0, 100, 1);
    for (int stopped = 0; stopped < 4; stopped++) {
        if (!start(&guest, &written))
            break;
        told(&written, &guest, NULL, 0);
        fill(&guest, 7, 1, stopped);
        told(&written, &guest, (const uint64_t[][2]){{7, 1}}, 1);
        fill(&guest, 8, 1, stopped); /* not asked for: forgotten by the next start */
        if (stopped % 2)
            written_pages_stop(&written);
    }
    guest_end(&guest);
}

/* More ranges than the kernel gathers at once (512), and than one call returns (1024). */
static void test_many_ranges(void) {
    static const uint64_t counts[] = {511, 512, 513, 700, 1023, 1024, 1025, 1600, 5000};
    Guest guest;
    WrittenPages written;
    guest_begin(&guest, PAGES);
    fill(&guest, 0, PAGES / 2, 1);
    for (size_t n = 0; n < ARRAY_SIZE(counts) && start(&guest, &written); n++) {
        _cleanup_page_ranges_ PageRanges ranges = {0};
        tell(&guest, (Order){.verb = FILL, .step = 3, .count = counts[n], .byte = (int)n});
        CHECK_INT(written_pages_take(&written, &guest.ram, &ranges, NULL), 0);
        CHECK_INT(ranges.count, counts[n]);
        for (size_t i = 0; i < ranges.count; i++) {
            CHECK_INT(ranges.items[i].first, 3 * i);
            CHECK_INT(ranges.items[i].count, 1);
        }
        told(&written, &guest, NULL, 0);
        written_pages_stop(&written);
    }
    guest_end(&guest);
}

static void test_swapped_dropped_and_locked(void) {
    Guest guest;
    WrittenPages written;
    _cleanup_page_ranges_ PageRanges dirty = {0};
    guest_begin(&guest, PAGES);
    fill(&guest, 0, 64, 1);
    tell(&guest, (Order){.verb = PAGE_OUT, .count = 32});
    tell(&guest, (Order){.verb = LOCK, .first = 40, .count = 8});
    if (start(&guest, &written)) {
        tell(&guest, (Order){.verb = PAGE_OUT, .count = 32});
        told(&written, &guest, NULL, 0);
        tell(&guest, (Order){.verb = READ});
        told(&written, &guest, NULL, 0);
        fill(&guest, 3, 1, 2);
        fill(&guest, 50, 1, 2);
        tell(&guest, (Order){.verb = PAGE_OUT, .count = 32});
        tell(&guest, (Order){.verb = UNLOCK, .first = 40, .count = 8});
        fill(&guest, 41, 1, 2);
        told(&written, &guest, (const uint64_t[][2]){{3, 1}, {41, 1}, {50, 1}}, 3);
        fill(&guest, 60, 4, 3);
        tell(&guest, (Order){.verb = DROP, .first = 60, .count = 2});
        told(&written, &guest, (const uint64_t[][2]){{62, 2}}, 1);
        CHECK_INT(dirty_pages_collect(&guest.ram, &dirty, NULL), 0);
        CHECK_INT(dirty.pages, 62); /* and those two are the base's again */
        fill(&guest, 60, 1, 4);
        told(&written, &guest, (const uint64_t[][2]){{60, 1}}, 1);
        written_pages_stop(&written);
    }
    guest_end(&guest);
}

static void test_large(void) {
    uint64_t pages = (uint64_t)6 << 18; /* 6 GiB, of which nearly nothing is there */
    Guest guest;
    WrittenPages written;
    guest_begin(&guest, pages);
    fill(&guest, 0, 1000, 1);
    if (start(&guest, &written)) {
        fill(&guest, pages / 2, 3, 1);
        fill(&guest, pages - 1, 1, 1);
        told(&written, &guest, (const uint64_t[][2]){{pages / 2, 3}, {pages - 1, 1}}, 2);
        written_pages_stop(&written);
    }
    guest_end(&guest);
}

/* --- nothing is lost -------------------------------------------------------------------------- */

static uint8_t *mirror_new(const Guest *guest) {
    uint64_t size = guest->ram.size_bytes;
    uint8_t *mirror = malloc(size);
    CHECK(mirror != NULL);
    CHECK_INT(fd_pread_full(guest->base, mirror, size, 0), size);
    return mirror;
}

static void mirror_copy(uint8_t *mirror, const Guest *guest, const PageRanges *ranges) {
    for (size_t i = 0; i < ranges->count; i++) {
        uint64_t at = ranges->items[i].first * RAM_PAGE_SIZE;
        CHECK_INT(guest_ram_read(&guest->ram, at, mirror + at,
                                 ranges->items[i].count * RAM_PAGE_SIZE, NULL),
                  0);
    }
}

static void mirror_check(const uint8_t *mirror, const Guest *guest) {
    uint8_t page[RAM_PAGE_SIZE];
    for (uint64_t i = 0; i < RACE_PAGES; i++) {
        CHECK_INT(guest_ram_read(&guest->ram, i * RAM_PAGE_SIZE, page, sizeof(page), NULL), 0);
        CHECK(memcmp(page, mirror + i * RAM_PAGE_SIZE, sizeof(page)) == 0);
    }
}

static void take_and_copy(uint8_t *mirror, const Guest *guest, WrittenPages *written) {
    _cleanup_page_ranges_ PageRanges ranges = {0};
    CHECK_INT(written_pages_take(written, &guest->ram, &ranges, NULL), 0);
    mirror_copy(mirror, guest, &ranges);
}

/* While threads of the guest write: the copies of all rounds make its memory in the end. */
static void race(int uffd, Guest *guest) {
    _cleanup_page_ranges_ PageRanges all = {0};
    _cleanup_free_ uint8_t *mirror = mirror_new(guest);
    WrittenPages written;
    tell(guest, (Order){.verb = WRITE});
    CHECK_INT(written_pages_start(&guest->ram, uffd, &written, NULL), 0);
    fprintf(stderr, "by %s\n", written_pages_way(written.way));
    CHECK_INT(dirty_pages_collect(&guest->ram, &all, NULL), 0);
    mirror_copy(mirror, guest, &all);
    for (int i = 0; i < (written.way == WRITTEN_UNKNOWN ? ROUNDS_OF_ALL : ROUNDS); i++)
        take_and_copy(mirror, guest, &written);
    tell(guest, (Order){.verb = STOP_WRITE});
    take_and_copy(mirror, guest, &written);
    mirror_check(mirror, guest);
    written_pages_stop(&written);
}

static void test_nothing_is_lost(void) {
    for (int with = 1; with >= 0; with--) { /* without: soft-dirty bits, or all pages each time */
        Guest guest;
        guest_begin(&guest, RACE_PAGES);
        fill(&guest, 0, RACE_PAGES / 4, 1);
        race(with ? guest.uffd : -1, &guest);
        race(with ? guest.uffd : -1, &guest);
        guest_end(&guest);
    }
}

/* --- faults ----------------------------------------------------------------------------------- */

static void check_refused(Guest *guest, int uffd, const char *why) {
    WrittenPages written;
    CHECK_INT(written_pages_start(&guest->ram, uffd, &written, NULL), 0);
    CHECK(written.way != WRITTEN_USERFAULTFD);
    CHECK_CONTAINS(written.refusal, why);
    fill(guest, 20, 2, 9);
    told(&written, guest, (const uint64_t[][2]){{20, 2}}, 1);
    written_pages_stop(&written);
}

static void test_refuses_what_is_none(void) {
    Guest guest;
    _cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    guest_begin(&guest, PAGES);
    check_refused(&guest, null, "no userfaultfd");
    guest_end(&guest);
}

/* The children are of one layout, so its memory stands at the same place. */
static void test_refuses_another_process(void) {
    Guest guest, other;
    WrittenPages written;
    guest_begin(&guest, PAGES);
    guest_begin(&other, PAGES);
    if (start(&guest, &written)) {
        written_pages_stop(&written);
        check_refused(&guest, other.uffd, "");
        CHECK(start(&guest, &written)); /* the right one still does */
        fill(&guest, 30, 1, 1);
        told(&written, &guest, (const uint64_t[][2]){{30, 1}}, 1);
        CHECK(start(&other, &written)); /* and so does the other one for its own */
    }
    guest_end(&guest);
    guest_end(&other);
}

/* What was mapped over it is not registered: all that is private is told from there on. */
static void test_memory_that_was_mapped_anew(void) {
    Guest guest;
    WrittenPages written;
    guest_begin(&guest, PAGES);
    fill(&guest, 10, 4, 1);
    if (start(&guest, &written)) {
        tell(&guest, (Order){.verb = REMAP, .first = 100, .count = 50});
        fill(&guest, 120, 1, 2);
        told(&written, &guest, (const uint64_t[][2]){{10, 4}, {120, 1}}, 2);
        CHECK_INT(written.way, WRITTEN_UNKNOWN);
        CHECK_CONTAINS(written.refusal, "cannot tell what was written");
    }
    guest_end(&guest);
}

static void test_the_guest_ends(void) {
    Guest guest;
    char byte = 1;
    GuestRam other = GUEST_RAM_INIT;
    WrittenPages written, none;
    _cleanup_page_ranges_ PageRanges ranges = {0};
    _cleanup_error_ Error error = ERROR_INIT, late = ERROR_INIT;
    guest_begin(&guest, PAGES);
    fill(&guest, 10, 4, 1);
    CHECK_INT(written_pages_start(&guest.ram, guest.uffd, &written, NULL), 0);
    fill(&guest, 10, 4, 2);
    CHECK_INT(kill(guest.pid, SIGKILL), 0);
    CHECK_INT(waitid(P_PID, (id_t)guest.pid, &(siginfo_t){0}, WEXITED | WNOWAIT), 0);
    CHECK_INT(written_pages_take(&written, &guest.ram, &ranges, &error), -ESRCH);
    CHECK_CONTAINS(error_message(&error), "cannot read the page map");
    CHECK_INT(ranges.count, 0);
    written_pages_stop(&written);
    CHECK_INT(written_pages_start(&guest.ram, guest.uffd, &none, &late), -ESRCH);
    CHECK_CONTAINS(error_message(&late), "cannot read the page map");
    CHECK_INT(guest_ram_read(&guest.ram, 0, &byte, 1, NULL), -ESRCH);
    CHECK_INT(guest_ram_write(&guest.ram, 0, &byte, 1, NULL), -ESRCH);
    CHECK_INT(guest_ram_open(guest.pid, guest.base, PAGES * RAM_PAGE_SIZE, &other, NULL), -ESRCH);
    guest_end(&guest);
}

/* --- soft-dirty bits -------------------------------------------------------------------------- */

/* A page map as a kernel with CONFIG_MEM_SOFT_DIRTY would show it. */
static void test_soft_dirty_entries(void) {
    static const uint64_t present = 1ull << 63, swapped = 1ull << 62, file = 1ull << 61,
                          soft_dirty = 1ull << 55;
    const uint64_t entries[] = {0,
                                present,
                                present | soft_dirty,
                                present | file | soft_dirty,
                                soft_dirty,
                                swapped | soft_dirty,
                                swapped,
                                present | soft_dirty | 0x1234};
    uint64_t place = 16 * sizeof(uint64_t);
    _cleanup_close_ int map = memfd_create("pagemap", MFD_CLOEXEC);
    GuestRam ram = {.pid = getpid(), .pagemap_fd = map, .mem_fd = -1};
    WrittenPages written = {.way = WRITTEN_SOFT_DIRTY, .uffd = -1};
    Guest guest = {.ram = ram};
    guest.ram.address = 16 * RAM_PAGE_SIZE;
    guest.ram.size_bytes = ARRAY_SIZE(entries) * RAM_PAGE_SIZE;
    CHECK_INT(fd_pwrite_full(map, entries, sizeof(entries), place), 0);
    for (int i = 0; i < 2; i++) /* they come each time */
        told(&written, &guest, (const uint64_t[][2]){{2, 1}, {5, 1}, {7, 1}}, 3);
    CHECK_INT(ftruncate(map, (off_t)(place + 24)), 0);
    _cleanup_page_ranges_ PageRanges ranges = {0};
    CHECK_INT(written_pages_take(&written, &guest.ram, &ranges, NULL), -ESRCH);
    CHECK_INT(ranges.count, 0);
}

static void test_soft_dirty_bits(void) {
    Guest guest;
    WrittenPages written;
    guest_begin(&guest, PAGES);
    fill(&guest, 10, 4, 1);
    CHECK_INT(written_pages_start(&guest.ram, -1, &written, NULL), 0);
    CHECK_INT(written.way, soft_dirty_works() ? WRITTEN_SOFT_DIRTY : WRITTEN_UNKNOWN);
    CHECK_STR(written.refusal, "");
    if (written.way == WRITTEN_SOFT_DIRTY) {
        told(&written, &guest, NULL, 0);
        fill(&guest, 12, 1, 2);
        fill(&guest, 200, 1, 2);
        told(&written, &guest, (const uint64_t[][2]){{12, 1}, {200, 1}}, 2);
    } else {
        fprintf(stderr, "this kernel has none\n");
        CHECK_INT(soft_dirty_clear(guest.pid), 0); /* it takes the command all the same */
        told(&written, &guest, (const uint64_t[][2]){{10, 4}}, 1);
    }
    guest_end(&guest);
}

static void test_probe(void) {
    Guest guest;
    WrittenPages written;
    WrittenWay without = soft_dirty_works() ? WRITTEN_SOFT_DIRTY : WRITTEN_UNKNOWN;
    guest_begin(&guest, PAGES);
    CHECK_INT(written_pages_start(&guest.ram, guest.uffd, &written, NULL), 0);
    CHECK_INT(written_pages_probe(true), written.way);
    CHECK_INT(written_pages_probe(false), without);
    CHECK_STR(written_pages_way(WRITTEN_USERFAULTFD), "userfaultfd");
    CHECK_STR(written_pages_way(WRITTEN_SOFT_DIRTY), "soft-dirty");
    CHECK_STR(written_pages_way(WRITTEN_UNKNOWN), "none");
    guest_end(&guest);
}

int main(void) {
    RUN(test_just_what_was_written);
    RUN(test_starts_again);
    RUN(test_many_ranges);
    RUN(test_swapped_dropped_and_locked);
    RUN(test_large);
    RUN(test_nothing_is_lost);
    RUN(test_refuses_what_is_none);
    RUN(test_refuses_another_process);
    RUN(test_memory_that_was_mapped_anew);
    RUN(test_the_guest_ends);
    RUN(test_soft_dirty_entries);
    RUN(test_soft_dirty_bits);
    RUN(test_probe);
    return 0;
}
