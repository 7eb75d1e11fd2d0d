/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/args.h"
#include "cli/client.h"
#include "cli/verb_rows.h"

/* A pcapng file (draft-ietf-opsawg-pcapng) is blocks: u32 type, u32 length of all of it, in the
 * order of this machine, …, the length again. Only whole ones are written, so that the file is good
 * whenever it ends. */

#define BLOCK_MIN 12
#define BLOCK_MAX (256 * 1024) /* more than any frame needs */
#define BLOCK_PACKET 6         /* section 4.3 */

typedef struct Taken {
    int from, to; /* borrowed */
    uint8_t *bytes;
    size_t size;
    uint64_t packets, blocks;
} Taken;

static int write_blocks(Taken *taken, Error *error) {
    size_t at = 0;
    while (taken->size - at >= BLOCK_MIN) {
        uint32_t type, length;
        memcpy(&type, taken->bytes + at, sizeof(type));
        memcpy(&length, taken->bytes + at + sizeof(type), sizeof(length));
        if (length < BLOCK_MIN || length > BLOCK_MAX || length % 4 != 0)
            return error_set(error, ERROR_FAILED, EBADMSG, "what came is no capture");
        if (length > taken->size - at)
            break;
        taken->packets += type == BLOCK_PACKET;
        taken->blocks++;
        at += length;
    }
    int r = fd_write_full(taken->to, taken->bytes, at);
    if (r < 0)
        return error_set_errno(error, -r, "cannot write the capture");
    memmove(taken->bytes, taken->bytes + at, taken->size - at);
    taken->size -= at;
    return 0;
}

/* 1: more may come; 0: that was all. */
static int take(Taken *taken, Error *error) {
    ssize_t got = read(taken->from, taken->bytes + taken->size, BLOCK_MAX - taken->size);
    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return 1;
    if (got < 0)
        return error_set_errno(error, errno, "cannot read the capture");
    if (got == 0)
        return 0;
    taken->size += (size_t)got;
    int r = write_blocks(taken, error);
    return r < 0 ? r : 1;
}

static int take_all(Taken *taken, int signal_fd, Error *error) {
    struct pollfd fds[] = {{.fd = taken->from, .events = POLLIN},
                           {.fd = signal_fd, .events = POLLIN}};
    int r = 1;
    while (r > 0) {
        if (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
            return error_set_errno(error, errno, "cannot wait for the capture");
        if (fds[1].revents)
            return 0;
        r = take(taken, error);
    }
    if (r == 0 && taken->blocks == 0)
        return error_set(error, ERROR_CONFLICT, EBUSY,
                         "the switch did not begin: it writes as many captures as it can");
    return r;
}

/* Interrupted is how it ends. */
static int open_signals(void) {
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGHUP);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC);
}

static int open_output(const char *path, Error *error) {
    int fd = str_equal(path, "-") ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)
                                  : open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    return fd < 0 ? error_set_errno(error, errno, "cannot write %s", path) : fd;
}

static int network_capture_run(const Args *args, Error *error) {
    const char *target = args->operands[0], *path = args->operands[1];
    _cleanup_json_ json_t *request = json_object();
    _cleanup_close_ int socket = -1, signals = open_signals();
    if (args_given(args, "card"))
        json_object_set_new(request, "card", json_string(args_text(args, "card")));
    if (str_equal(path, "-") && isatty(STDOUT_FILENO))
        return error_set(error, ERROR_USAGE, EINVAL, "a capture is nothing for a terminal");
    int r = client_upgrade(API_NETWORK_CAPTURE, target, request, &socket, error);
    if (r < 0)
        return r;
    _cleanup_close_ int output = open_output(path, error);
    _cleanup_free_ uint8_t *bytes = malloc(BLOCK_MAX);
    if (output < 0)
        return output;
    Taken taken = {.from = socket, .to = output, .bytes = bytes};
    if (!bytes)
        return error_set(error, ERROR_NO_MEMORY, ENOMEM, "not enough memory");
    r = take_all(&taken, signals, error);
    if (r >= 0)
        (void)fprintf(stderr, "%llu frames\n", (unsigned long long)taken.packets);
    return r;
}

static const VerbOption options[] = {
    {0, "card", ARG_TEXT, "CARD", .help = "of a VM, such as eth1; else the first one in a network"},
    {.name = NULL},
};
static const VerbOperand operands[] = {
    {"TARGET", ARG_TEXT, "name of a network, or name or id of a VM", 1, 1},
    {"FILE", ARG_TEXT, "where to write it; -: standard output", 1, 1},
    {.name = NULL},
};

const Verb verb_network_capture = {
    .name = "network capture",
    .summary = "write what passes a network into a file",
    .options = options,
    .operands = operands,
    .description =
        "Writes frames to FILE, as pcapng, which Wireshark and tcpdump read, until it is "
        "interrupted. Of a network each frame is there once, as it was sent, also those that are "
        "dropped; of a VM what its guest sent and got. A network of that name is taken before a "
        "VM. Frames that FILE does not take in time are left out.",
    .examples = "ramet network capture lan lan.pcapng\n"
                "ramet network capture db1 - | tcpdump -r - -n",
    .run = network_capture_run,
};
