/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/qemu/remap.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "zygote/protocol.h"

_Static_assert(REMAP_REPLACED_MAX == ZYGOTE_REPLACED_MAX, "the protocol has room for them");

/* The answer to this very request; what else is said is dropped. */
static int await(const Remapping *remapping, ZygoteRemapAnswer *answer) {
    uint64_t deadline = clock_monotonic_usec() + remapping->patience_usec;
    struct pollfd item = {.fd = remapping->socket, .events = POLLIN};
    while (clock_monotonic_usec() < deadline) {
        size_t n_fds = 0;
        int n = poll(&item, 1, clock_poll_timeout(deadline));
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n <= 0)
            continue;
        ssize_t size = fd_receive_message(remapping->socket, answer, sizeof(*answer), NULL, &n_fds);
        if (size == 0 || size == -ECONNRESET)
            return -ECONNRESET;
        if (size == (ssize_t)sizeof(*answer) && answer->number == remapping->last)
            return 0;
    }
    return -ETIMEDOUT;
}

static int ask(Remapping *remapping, ZygoteRemap *request, int fd, ZygoteRemapAnswer *answer) {
    request->number = ++remapping->last;
    request->size = request->size ? request->size : remapping->size;
    ssize_t sent = fd_send_message(remapping->socket, request, sizeof(*request), &fd, fd >= 0);
    if (sent < 0)
        return (int)sent;
    if (syscall(SYS_pidfd_send_signal, remapping->pid_fd, ZYGOTE_REMAP_SIGNAL, NULL, 0) < 0)
        return -errno;
    return await(remapping, answer);
}

/* Who did not answer once may do so at any time, and is not asked again. */
static int fail(Remapping *remapping, int r, const char *what, Error *error) {
    remapping->socket = fd_close(remapping->socket);
    return error_set_errno(error, -r, "QEMU does not %s", what);
}

int remap_map(Remapping *remapping, int fd, Error *error) {
    ZygoteRemap request = {.step = ZYGOTE_REMAP_MAP, .address = remapping->address};
    ZygoteRemapAnswer answer = {0};
    if (remapping->socket < 0)
        return error_set(error, ERROR_CONFLICT, ENOTCONN, "this QEMU cannot map other memory");
    int r = ask(remapping, &request, fd, &answer);
    if (r < 0)
        return fail(remapping, r, "map other memory", error);
    if (answer.error)
        return error_set_errno(error, answer.error > 0 ? answer.error : EPROTO,
                               "QEMU cannot map other memory");
    remapping->beside = answer.beside;
    remapping->aside = answer.aside;
    return 0;
}

int remap_swap(Remapping *remapping, int fd, const int *replaced, size_t n, Error *error) {
    ZygoteRemap request = {.step = ZYGOTE_REMAP_SWAP,
                           .address = remapping->address,
                           .beside = remapping->beside,
                           .aside = remapping->aside};
    ZygoteRemapAnswer answer = {0};
    request.n_replaced = (uint32_t)MIN_OF(n, (size_t)REMAP_REPLACED_MAX);
    for (size_t i = 0; i < request.n_replaced; i++)
        request.replaced[i] = replaced[i];
    int r = ask(remapping, &request, fd, &answer);
    if (r < 0) {
        (void)fail(remapping, r, "change its memory", error);
        return -ENOTRECOVERABLE;
    }
    if (answer.error)
        return error_set_errno(error, answer.error > 0 ? answer.error : ENOTRECOVERABLE,
                               "QEMU cannot change its memory");
    return 0;
}

int remap_drop(Remapping *remapping, uint64_t address, uint64_t size, Error *error) {
    ZygoteRemap request = {.step = ZYGOTE_REMAP_DROP, .address = address, .size = size};
    ZygoteRemapAnswer answer = {0};
    if (remapping->socket < 0)
        return -ENOTCONN;
    int r = ask(remapping, &request, -1, &answer);
    if (r < 0)
        return fail(remapping, r, "give memory back", error);
    return answer.error ? error_set_errno(error, answer.error > 0 ? answer.error : EPROTO,
                                          "QEMU cannot give memory back")
                        : 0;
}
