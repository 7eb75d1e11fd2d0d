/* SPDX-License-Identifier: Apache-2.0 */

/* A signal's handler does it, since QEMU knows nothing of it: everything that it calls is
 * async-signal-safe, and it takes what it needs from the socket, never from QEMU's own memory.
 *
 * The new memory is mapped somewhere else first, while the guest runs, and filled there by the
 * keeper. In the pause page tables move, nothing is copied or freed: the old memory goes aside, the
 * new one comes in its place. What went aside is given back by and by, while the guest runs again.
 * Moving keeps the old mapping at its place without its pages (MREMAP_DONTUNMAP, Linux 5.13), so
 * that nobody else can be given that place meanwhile, and the new one replaces it in one step. */

#include "zygote/remap.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "zygote/protocol.h"

#define TABLE_BYTES ((uint64_t)2 << 20) /* what a page table is for, on x86-64 */

static int remap_socket = -1;

static void *pointer(uint64_t address) {
    return (void *)(uintptr_t)address; /* NOLINT(performance-no-int-to-ptr) */
}

/* Address space with nothing in it. It lies in its page tables as `like` does, so that tables can
 * move whole. 0: there is none. */
static uint64_t reserve(uint64_t like, uint64_t size) {
    void *start = mmap(NULL, size + TABLE_BYTES, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED)
        return 0;
    uint64_t first = (uint64_t)(uintptr_t)start, skip = (like - first) % TABLE_BYTES;
    if (skip > 0)
        (void)munmap(start, skip);
    (void)munmap(pointer(first + skip + size), TABLE_BYTES - skip);
    return first + skip;
}

static void release(uint64_t address, uint64_t size) {
    if (address)
        (void)munmap(pointer(address), size);
}

/* As QEMU maps and advises its memory (util/mmap-alloc.c, backends/hostmem.c). */
static int map_file(uint64_t address, uint64_t size, int fd) {
    if (mmap(pointer(address), size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd, 0) ==
        MAP_FAILED)
        return -errno;
    (void)madvise(pointer(address), size, MADV_HUGEPAGE);
    (void)madvise(pointer(address), size, MADV_DONTFORK);
    return 0;
}

static int map_beside(const ZygoteRemap *request, int fd, ZygoteRemapAnswer *answer) {
    uint64_t beside = reserve(request->address, request->size),
             aside = reserve(request->address, request->size);
    int r = beside && aside ? map_file(beside, request->size, fd) : -ENOMEM;
    if (r < 0) {
        release(beside, request->size);
        release(aside, request->size);
        return r;
    }
    answer->beside = beside;
    answer->aside = aside;
    return 0;
}

static int move(uint64_t from, uint64_t to, uint64_t size, int flags) {
    return mremap(pointer(from), size, size, MREMAP_MAYMOVE | MREMAP_FIXED | flags, pointer(to)) ==
                   MAP_FAILED
               ? -errno
               : 0;
}

/* -ENOTRECOVERABLE: the guest's memory is not in its place. After any other failure it is as it
 * was. */
static int swap(const ZygoteRemap *request, int fd) {
    int r = move(request->address, request->aside, request->size, MREMAP_DONTUNMAP);
    if (r < 0)
        return r;
    r = move(request->beside, request->address, request->size, 0);
    if (r < 0)
        return move(request->aside, request->address, request->size, 0) < 0 ? -ENOTRECOVERABLE : r;
    for (uint32_t i = 0; i < request->n_replaced && i < ZYGOTE_REPLACED_MAX; i++)
        (void)dup3(fd, request->replaced[i], O_CLOEXEC);
    return 0;
}

static int serve(const ZygoteRemap *request, int fd, ZygoteRemapAnswer *answer) {
    switch (request->step) {
    case ZYGOTE_REMAP_MAP:
        return map_beside(request, fd, answer);
    case ZYGOTE_REMAP_SWAP:
        return swap(request, fd);
    case ZYGOTE_REMAP_DROP:
        return munmap(pointer(request->address), request->size) < 0 ? -errno : 0;
    default:
        return -EINVAL;
    }
}

/* *fd: that came with it, or -1. False: there is none (any more). */
static bool receive(ZygoteRemap *request, int *fd) {
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec part = {.iov_base = request, .iov_len = sizeof(*request)};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
    ssize_t got = recvmsg(remap_socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    const struct cmsghdr *rights = got > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    *fd = -1;
    if (rights && rights->cmsg_level == SOL_SOCKET && rights->cmsg_type == SCM_RIGHTS)
        memcpy(fd, CMSG_DATA(rights), sizeof(*fd));
    return got == (ssize_t)sizeof(*request);
}

static void on_signal(int signal) {
    int before = errno, fd;
    ZygoteRemap request;
    (void)signal;
    while (receive(&request, &fd)) {
        ZygoteRemapAnswer answer = {.number = request.number};
        answer.error = -serve(&request, fd, &answer);
        if (fd >= 0)
            (void)close(fd);
        (void)send(remap_socket, &answer, sizeof(answer), MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    errno = before;
}

int remap_serve(int socket) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    (void)sigfillset(&action.sa_mask);
    remap_socket = socket;
    return sigaction(ZYGOTE_REMAP_SIGNAL, &action, NULL) < 0 ? -errno : 0;
}
