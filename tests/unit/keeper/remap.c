/* SPDX-License-Identifier: Apache-2.0 */

/* A forked child stands for QEMU: it maps a base privately, writes to it, and serves its keeper, or
 * says something else than the truth. */

#include "keeper/qemu/remap.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "check.h"
#include "memory/carry.h"
#include "memory/dirty.h"
#include "zygote/protocol.h"
#include "zygote/remap.h"

#define PAGES 4096u
#define BYTES ((uint64_t)PAGES * RAM_PAGE_SIZE)

typedef struct Child {
    pid_t pid;
    int base, snapshot; /* owned */
    GuestRam ram;       /* owned */
    Remapping remapping;
    void (*serve)(int socket); /* instead of the truth */
} Child;

static int make_memfd(int byte) {
    uint8_t page[RAM_PAGE_SIZE];
    int fd = memfd_create("base", MFD_CLOEXEC);
    CHECK_INT(ftruncate(fd, (off_t)BYTES), 0);
    memset(page, byte, sizeof(page));
    for (uint64_t i = 0; i < PAGES; i += 2)
        CHECK_INT(fd_pwrite_full(fd, page, sizeof(page), i * RAM_PAGE_SIZE), 0);
    return fd;
}

static void run_child(const Child *child, int socket) {
    uint8_t *memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE, child->base, 0);
    if (memory == MAP_FAILED)
        _exit(1);
    for (uint64_t i = 0; i < PAGES; i += 3)
        memory[i * RAM_PAGE_SIZE] = (uint8_t)i;
    if (child->serve)
        child->serve(socket);
    else if (remap_serve(socket) < 0)
        _exit(1);
    (void)send(socket, "", 1, 0);
    for (;;)
        (void)pause();
}

static void begin(Child *child) {
    int ends[2];
    char byte;
    size_t n_fds = 0;
    child->base = make_memfd(1);
    child->snapshot = make_memfd(2);
    CHECK_INT(fd_socketpair(SOCK_SEQPACKET, ends), 0);
    child->pid = fork();
    if (child->pid == 0)
        run_child(child, ends[1]);
    (void)fd_close(ends[1]);
    CHECK_INT(fd_receive_message(ends[0], &byte, 1, NULL, &n_fds), 1);
    CHECK_INT(guest_ram_open(child->pid, child->base, BYTES, &child->ram, NULL), 0);
    child->remapping = REMAPPING_INIT;
    child->remapping.socket = ends[0];
    child->remapping.pid_fd = (int)syscall(SYS_pidfd_open, child->pid, 0);
    child->remapping.address = child->ram.address;
    child->remapping.size = BYTES;
}

static void end(Child *child) {
    int status;
    CHECK_INT(kill(child->pid, SIGKILL), 0);
    CHECK_INT(waitpid(child->pid, &status, 0), child->pid);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL); /* not of anything else before */
    (void)fd_close(child->base);
    (void)fd_close(child->snapshot);
    (void)fd_close(child->remapping.socket);
    (void)fd_close(child->remapping.pid_fd);
    guest_ram_close(&child->ram);
}

static uint8_t first_byte(const Child *child, uint64_t address, uint64_t page) {
    uint8_t byte = 0;
    CHECK_INT(pread(child->ram.mem_fd, &byte, 1, (off_t)(address + page * RAM_PAGE_SIZE)), 1);
    return byte;
}

static void check_content(const Child *child, int base) {
    for (uint64_t i = 0; i < PAGES; i++)
        CHECK_INT(first_byte(child, child->ram.address, i), i % 3 == 0   ? (uint8_t)i
                                                            : i % 2 == 0 ? base
                                                                         : 0);
}

/* What was written is there, all else is the other file's, and descriptors are, too. */
static void test_changes_what_is_mapped(void) {
    Child child = {0};
    WrittenPages written = {.way = WRITTEN_UNKNOWN, .uffd = -1};
    _cleanup_guest_ram_ GuestRam ram = GUEST_RAM_INIT, none = GUEST_RAM_INIT;
    _cleanup_page_ranges_ PageRanges dirty = {0};
    _cleanup_free_ char *link = NULL;
    struct stat file, wanted;
    begin(&child);
    CHECK_INT(remap_map(&child.remapping, child.snapshot, NULL), 0);
    CHECK_INT((int)((child.remapping.beside - child.ram.address) % (2 << 20)), 0);
    check_content(&child, 1);
    CHECK_INT(first_byte(&child, child.remapping.beside, 0), 2);
    MemoryCarry carry = {.ram = &child.ram,
                         .written = &written,
                         .to_address = child.remapping.beside,
                         .max_pages = PAGES};
    CHECK_INT(memory_carry_finish(&carry, NULL), 0);
    CHECK_INT((int)carry.pages, (PAGES + 2) / 3);
    CHECK_INT(remap_swap(&child.remapping, child.snapshot, &child.base, 1, NULL), 0);
    check_content(&child, 2);
    CHECK_INT(guest_ram_open(child.pid, child.snapshot, BYTES, &ram, NULL), 0);
    CHECK(ram.address == child.ram.address);
    CHECK_INT(dirty_pages_collect(&ram, &dirty, NULL), 0);
    CHECK_INT((int)dirty.pages, (PAGES + 2) / 3);
    CHECK_INT(first_byte(&child, child.remapping.aside, 2), 1);
    for (uint64_t at = 0; at < BYTES; at += BYTES / 4)
        CHECK_INT(remap_drop(&child.remapping, child.remapping.aside + at, BYTES / 4, NULL), 0);
    CHECK_INT(guest_ram_open(child.pid, child.base, BYTES, &none, NULL), -ENOENT);
    CHECK(asprintf(&link, "/proc/%d/fd/%d", (int)child.pid, child.base) > 0);
    CHECK_INT(stat(link, &file) + fstat(child.snapshot, &wanted), 0);
    CHECK(file.st_ino == wanted.st_ino);
    check_content(&child, 2);
    end(&child);
}

/* Too much was written, or nothing is where it should be: all is as it was. */
static void test_refusals(void) {
    Child child = {0};
    WrittenPages written = {.way = WRITTEN_UNKNOWN, .uffd = -1};
    _cleanup_error_ Error error = ERROR_INIT, none = ERROR_INIT;
    begin(&child);
    CHECK_INT(remap_map(&child.remapping, child.remapping.pid_fd, &error), -ENODEV);
    CHECK_CONTAINS(error_message(&error), "cannot map other memory");
    CHECK_INT(remap_map(&child.remapping, child.snapshot, NULL), 0);
    MemoryCarry carry = {.ram = &child.ram,
                         .written = &written,
                         .to_address = child.remapping.beside,
                         .max_pages = PAGES / 4};
    CHECK_INT(memory_carry_ahead(&carry, NULL), -E2BIG);
    child.remapping.address = RAM_PAGE_SIZE; /* nothing is mapped there */
    CHECK_INT(remap_swap(&child.remapping, child.snapshot, NULL, 0, NULL), -EFAULT);
    check_content(&child, 1);
    child.remapping.address = child.ram.address;
    child.remapping.beside = RAM_PAGE_SIZE; /* the second step fails */
    CHECK_INT(remap_swap(&child.remapping, child.snapshot, NULL, 0, &none), -EFAULT);
    check_content(&child, 1);
    end(&child);
}

static void ignore(int socket) {
    (void)socket;
    (void)signal(ZYGOTE_REMAP_SIGNAL, SIG_IGN);
}

static int liars_socket;

/* Of another request, too short, and at last nothing that a swap can be believed of. */
static void on_lie(int number) {
    ZygoteRemapAnswer answer = {.number = 12345};
    (void)number;
    (void)send(liars_socket, &answer, sizeof(answer), 0);
    (void)send(liars_socket, "short", 5, 0);
    answer = (ZygoteRemapAnswer){.number = 1, .error = -7};
    (void)send(liars_socket, &answer, sizeof(answer), 0);
}

static void lie(int socket) {
    liars_socket = socket;
    (void)signal(ZYGOTE_REMAP_SIGNAL, on_lie);
}

/* One that does not answer is not asked again, and after a swap nobody knows. */
static void test_who_does_not_answer(void) {
    Child child = {.serve = ignore}, other = {.serve = ignore};
    begin(&child);
    child.remapping.patience_usec = 50000;
    CHECK_INT(remap_map(&child.remapping, child.snapshot, NULL), -ETIMEDOUT);
    CHECK_INT(child.remapping.socket, -1);
    CHECK_INT(remap_map(&child.remapping, child.snapshot, NULL), -ENOTCONN);
    end(&child);
    begin(&other);
    other.remapping.patience_usec = 50000;
    CHECK_INT(remap_swap(&other.remapping, other.snapshot, NULL, 0, NULL), -ENOTRECOVERABLE);
    end(&other);
}

static void test_who_lies(void) {
    Child child = {.serve = lie}, other = {.serve = lie};
    begin(&child);
    CHECK_INT(remap_map(&child.remapping, child.snapshot, NULL), -EPROTO);
    end(&child);
    begin(&other);
    CHECK_INT(remap_swap(&other.remapping, other.snapshot, NULL, 0, NULL), -ENOTRECOVERABLE);
    end(&other);
}

int main(void) {
    RUN(test_changes_what_is_mapped);
    RUN(test_refusals);
    RUN(test_who_does_not_answer);
    RUN(test_who_lies);
    return 0;
}
