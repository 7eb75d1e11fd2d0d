/* SPDX-License-Identifier: Apache-2.0 */

#include "bench/stock/plain_qemu.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/fd.h"
#include "base/process/spawn.h"
#include "base/str.h"
#include "proto/frame.h"
#include "proto/tlv.h"

#define BOOT_BOUND_USEC (300 * USEC_PER_SEC)

int plain_spawn(StrList *argv, int channel, int monitor, pid_t *pid, Error *error) {
    const SpawnFd fds[] = {{.from = STDERR_FILENO, .to = STDERR_FILENO},
                           {.from = channel, .to = PLAIN_CHANNEL_FD},
                           {.from = monitor, .to = PLAIN_MONITOR_FD}};
    const SpawnOptions options = {
        .program = argv->items[0],
        .argv = argv->items,
        .fds = fds,
        .n_fds = monitor < 0 ? 2 : 3,
        .die_with_parent = true,
    };
    return spawn_process(&options, pid, error);
}

void plain_end(pid_t pid) {
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
}

static int wait_bytes(int fd, uint64_t deadline_usec, Error *error) {
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    int r = poll(&poll_fd, 1, clock_poll_timeout(deadline_usec));
    if (r < 0 && errno != EINTR)
        return error_set_errno(error, errno, "cannot wait for QEMU");
    if (r == 0)
        return error_set(error, ERROR_TIMEOUT, 0, "plain QEMU did not answer in %" PRIu64 " s",
                         BOOT_BOUND_USEC / USEC_PER_SEC);
    return 0;
}

static ssize_t read_some(int fd, void *buffer, size_t size, uint64_t deadline_usec, Error *error) {
    int r = wait_bytes(fd, deadline_usec, error);
    if (r < 0)
        return r;
    ssize_t n = read(fd, buffer, size);
    if (n < 0)
        return error_set_errno(error, errno, "cannot read from QEMU");
    if (n == 0)
        return error_set(error, ERROR_FAILED, EPIPE, "plain QEMU ended before it answered");
    return n;
}

/* Reads frames until one of that type has come. */
static int wait_frame(int fd, FrameReader *reader, uint8_t type, uint64_t deadline_usec,
                      Error *error) {
    for (;;) {
        Frame frame;
        while (frame_reader_next(reader, &frame))
            if (frame.type == type)
                return 0;
        size_t room;
        uint8_t *space = frame_reader_space(reader, &room);
        ssize_t n = read_some(fd, space, room, deadline_usec, error);
        if (n < 0)
            return (int)n;
        frame_reader_added(reader, (size_t)n);
    }
}

static int send_greeting(int fd, uint8_t next_marker[AGENT_MARKER_SIZE], const uint8_t *sync,
                         Error *error) {
    uint8_t payload[128], message[AGENT_MARKER_SIZE + FRAME_HEADER_SIZE + sizeof(payload)];
    uint8_t nonce[AGENT_NONCE_SIZE];
    TlvWriter writer;
    random_bytes(nonce, sizeof(nonce));
    random_bytes(next_marker, AGENT_MARKER_SIZE);
    tlv_start(&writer, payload, sizeof(payload));
    tlv_add(&writer, TAG_NONCE, nonce, sizeof(nonce));
    tlv_add(&writer, TAG_MARKER, next_marker, AGENT_MARKER_SIZE);
    memcpy(message, sync, AGENT_MARKER_SIZE);
    frame_encode_header(message + AGENT_MARKER_SIZE, 0, 0, FRAME_HELLO, (uint32_t)writer.size);
    memcpy(message + AGENT_MARKER_SIZE + FRAME_HEADER_SIZE, payload, writer.size);
    int r = fd_write_full(fd, message, AGENT_MARKER_SIZE + FRAME_HEADER_SIZE + writer.size);
    return r < 0 ? error_set_errno(error, -r, "cannot greet the agent") : 0;
}

int plain_greet(int fd, bool booting, uint8_t marker[AGENT_MARKER_SIZE], Error *error) {
    uint8_t sync[AGENT_MARKER_SIZE];
    uint64_t deadline = clock_monotonic_usec() + BOOT_BOUND_USEC;
    _cleanup_(frame_reader_free) FrameReader reader = {0};
    if (frame_reader_init(&reader) < 0)
        abort();
    memcpy(sync, booting ? (const uint8_t *)AGENT_MARKER : marker, sizeof(sync));
    int r = booting ? wait_frame(fd, &reader, FRAME_ANNOUNCE, deadline, error) : 0;
    if (r >= 0)
        r = send_greeting(fd, marker, sync, error);
    if (r >= 0)
        r = wait_frame(fd, &reader, FRAME_WELCOME, deadline, error);
    return r;
}

void plain_argv(const PlainBoot *boot, StrList *argv) {
    strlist_add_many(argv, boot->qemu, "-M", "microvm", "-accel", boot->accel, "-display", "none",
                     "-nodefaults", "-no-user-config", "-no-reboot", "-kernel", boot->kernel,
                     "-initrd", boot->initrd, "-append",
                     boot->cmdline ? boot->cmdline : "console=ttyS0", "-serial", "file:/dev/null",
                     NULL);
    strlist_add(argv, "-m");
    strlist_add_format(argv, "%" PRIu64 "M", boot->memory_bytes / MIB);
    strlist_add(argv, "-drive");
    strlist_add_format(argv, "if=none,id=d0,format=qcow2,file=%s", boot->disk);
    strlist_add_many(argv, "-device", "virtio-blk-device,drive=d0,serial=root", "-chardev",
                     "socket,id=agent,fd=3", "-device", "virtio-serial-device", "-device",
                     "virtserialport,chardev=agent,name=" AGENT_CHANNEL_NAME, NULL);
}

static int answered_greeting(int fd, Error *error) {
    uint8_t marker[AGENT_MARKER_SIZE];
    return plain_greet(fd, true, marker, error);
}

/* Starts QEMU with a channel on descriptor 3, waits until `answered` says so, and ends it. */
static int time_answer(StrList *argv, int (*answered)(int channel, Error *error), uint64_t *usec,
                       Error *error) {
    _cleanup_close_ int ours = -1, theirs = -1;
    int pair[2];
    pid_t pid;
    int r = fd_socketpair(SOCK_STREAM, pair);
    if (r < 0)
        return error_set_errno(error, -r, "cannot make a socket pair");
    ours = pair[0];
    theirs = pair[1];
    uint64_t start = clock_monotonic_usec();
    r = plain_spawn(argv, theirs, -1, &pid, error);
    if (r < 0)
        return r;
    theirs = fd_close(theirs);
    r = answered(ours, error);
    uint64_t taken = clock_monotonic_usec() - start;
    plain_end(pid);
    if (r >= 0)
        *usec = taken;
    return r;
}

int plain_boot(const PlainBoot *boot, uint64_t *usec, Error *error) {
    _cleanup_(strlist_free) StrList argv = {0};
    plain_argv(boot, &argv);
    return time_answer(&argv, answered_greeting, usec, error);
}

static int wait_line(int fd, Error *error) {
    uint64_t deadline = clock_monotonic_usec() + BOOT_BOUND_USEC;
    char buffer[4096];
    for (;;) {
        ssize_t n = read_some(fd, buffer, sizeof(buffer), deadline, error);
        if (n < 0)
            return (int)n;
        if (memchr(buffer, '\n', (size_t)n))
            return 0;
    }
}

int plain_greeting(const char *qemu, const char *accel, uint64_t *usec, Error *error) {
    _cleanup_(strlist_free) StrList argv = {0};
    strlist_add_many(&argv, qemu, "-M", "microvm", "-accel", accel, "-nodefaults", "-display",
                     "none", "-incoming", "defer", "-chardev", "socket,id=qmp,fd=3", "-mon",
                     "chardev=qmp,mode=control", NULL);
    return time_answer(&argv, wait_line, usec, error);
}
