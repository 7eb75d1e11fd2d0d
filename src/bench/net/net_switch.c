/* SPDX-License-Identifier: Apache-2.0 */

/* How it works: a switch is started with ports whose other ends are here. This process sends
 * batches of frames into one and takes them out of the other, on another core; what counts is the
 * processor time that the switch takes for a frame (/proc/PID/schedstat), which is the rate that
 * one core can do, however slow this process is. */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/str.h"
#include "bench/net/net_parts.h"
#include "bench/net/switch_rig.h"

#define FRAMES 300000u
#define BATCH 32
#define PAYLOAD 1500 /* of Ethernet */
#define FRAME (14 + PAYLOAD)
#define MORE_PORTS 100
#define ASKED_NS 2000 /* 500,000 frames a second */
#define ASKED_BYTES (2 * MIB)

typedef struct Rig {
    SwitchRig with;
    uint8_t frame[FRAME];
} Rig;

/* ---- what it takes ---- */

static int read_number(pid_t pid, const char *file, const char *before, uint64_t *number,
                       Error *error) {
    _cleanup_free_ char *path = str_format("/proc/%d/%s", (int)pid, file);
    _cleanup_free_ char *text = NULL;
    int r = fd_read_file_at(AT_FDCWD, path, 64 * KIB, &text, NULL);
    const char *at = r < 0 ? NULL : strstr(text, before);
    if (!at)
        return error_set(error, ERROR_UNSUPPORTED, ENOENT, "%s says nothing of it", path);
    *number = strtoull(at + strlen(before), NULL, 10);
    return 0;
}

static int read_kib(pid_t pid, const char *file, const char *before, uint64_t *bytes,
                    Error *error) {
    int r = read_number(pid, file, before, bytes, error);
    *bytes *= KIB;
    return r;
}

/* A UDP datagram from the first port to the second. The switch does not look at its checksum. */
static void make_frame(uint8_t frame[FRAME]) {
    static const uint8_t ip[] = {
        0x45, 0, PAYLOAD >> 8, PAYLOAD & 0xff, 0, 0, 0, 0, 64, 17, 0, 0, 10, 7, 0, 2, 10, 7, 0, 3};
    static const uint8_t udp[] = {4, 0, 4, 0, (PAYLOAD - 20) >> 8, (PAYLOAD - 20) & 0xff, 0, 0};
    memset(frame, 0, FRAME);
    switch_rig_mac(1, frame);
    switch_rig_mac(0, frame + 6);
    frame[12] = 8;
    memcpy(frame + 14, ip, sizeof(ip));
    memcpy(frame + 34, udp, sizeof(udp));
}

static int send_some(const Rig *rig, unsigned n) {
    struct mmsghdr messages[BATCH];
    struct iovec piece = {(void *)(uintptr_t)rig->frame, FRAME};
    for (unsigned i = 0; i < n; i++)
        messages[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &piece, .msg_iovlen = 1}};
    return sendmmsg(rig->with.ends[0], messages, n, MSG_DONTWAIT);
}

static int receive_some(const Rig *rig) {
    static uint8_t room[BATCH][FRAME];
    struct mmsghdr messages[BATCH];
    struct iovec pieces[BATCH];
    for (unsigned i = 0; i < BATCH; i++) {
        pieces[i] = (struct iovec){room[i], FRAME};
        messages[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &pieces[i], .msg_iovlen = 1}};
    }
    return recvmmsg(rig->with.ends[1], messages, BATCH, MSG_DONTWAIT, NULL);
}

static bool wait_ready(const Rig *rig, bool sends) {
    struct pollfd fds[2] = {{.fd = rig->with.ends[0], .events = sends ? POLLOUT : 0},
                            {.fd = rig->with.ends[1], .events = POLLIN}};
    return poll(fds, ARRAY_SIZE(fds), 2000) > 0;
}

/* Sends all of them and takes what comes. Frames that were dropped are not waited for: false when
 * more than a hundredth was. */
static bool pump(const Rig *rig, uint64_t *received) {
    uint64_t sent = 0, got = 0;
    for (;;) {
        int n =
            sent < FRAMES ? send_some(rig, (unsigned)MIN_OF(FRAMES - sent, (uint64_t)BATCH)) : 0;
        sent += n > 0 ? (unsigned)n : 0;
        int taken = receive_some(rig);
        got += taken > 0 ? (unsigned)taken : 0;
        if (got == FRAMES || (n <= 0 && taken <= 0 && !wait_ready(rig, sent < FRAMES)))
            break;
    }
    *received = got;
    return got >= FRAMES - FRAMES / 100;
}

static int measure_frames(const Rig *rig, Samples *cost, Samples *rate, Error *error) {
    uint64_t before = 0, after = 0, received;
    int r = read_number(rig->with.pid, "schedstat", "", &before, error);
    uint64_t start = clock_monotonic_usec();
    if (r < 0)
        return r;
    if (!pump(rig, &received))
        return error_set(error, ERROR_FAILED, EIO, "only %llu of %u frames came through",
                         (unsigned long long)received, FRAMES);
    uint64_t usec = clock_monotonic_usec() - start;
    r = read_number(rig->with.pid, "schedstat", "", &after, error);
    if (r < 0)
        return r;
    samples_add(cost, (double)(after - before) / (double)received);
    samples_add(rate, (double)received * (double)USEC_PER_SEC / (double)usec);
    return 0;
}

static int measure_memory(Bench *bench, Rig *rig, Error *error) {
    static Samples resident = {.name = "switch with two ports, resident", .unit = "bytes"};
    static Samples own = {.name = "of that, its own (not pages of libraries)", .unit = "bytes"};
    static Samples port = {.name = "a further port", .unit = "bytes"};
    static Samples uplink = {.name = "an uplink", .unit = "bytes"};
    uint64_t bytes, private, more, with_uplink;
    int r = read_kib(rig->with.pid, "status", "VmRSS:", &bytes, error);
    if (r >= 0)
        r = read_kib(rig->with.pid, "smaps_rollup", "\nAnonymous:", &private, error);
    for (size_t i = 0; i < MORE_PORTS && r >= 0; i++)
        r = switch_rig_add_port(&rig->with, error);
    if (r >= 0)
        r = read_kib(rig->with.pid, "smaps_rollup", "\nAnonymous:", &more, error);
    if (r >= 0)
        r = switch_rig_set_network(&rig->with, true, error);
    if (r >= 0)
        r = read_kib(rig->with.pid, "smaps_rollup", "\nAnonymous:", &with_uplink, error);
    if (r < 0)
        return r;
    samples_add(&resident, (double)bytes);
    samples_add(&own, (double)private);
    samples_add(&port, (double)(more - private) / MORE_PORTS);
    samples_add(&uplink, (double)(with_uplink - more));
    report_add_bound(bench->report, &resident, ASKED_BYTES);
    report_add(bench->report, &own);
    report_add(bench->report, &port);
    report_add(bench->report, &uplink);
    return 0;
}

static int make_rig(Rig *rig, Error *error) {
    int r = switch_rig_init(&rig->with, error);
    for (size_t i = 0; i < 2 && r >= 0; i++)
        r = switch_rig_add_port(&rig->with, error);
    return r;
}

static void free_rig(Rig *rig) {
    switch_rig_free(&rig->with);
}

int bench_net_switch(Bench *bench, Error *error) {
    static Samples cost = {.name = "a frame of 1,500 bytes, port to port", .unit = "ns"};
    static Samples rate = {.name = "frames a second, with this process", .unit = "frames/s"};
    _cleanup_(free_rig) Rig rig;
    int r = make_rig(&rig, error);
    make_frame(rig.frame);
    for (size_t i = 0; i < bench->runs && r >= 0; i++)
        r = measure_frames(&rig, &cost, &rate, error);
    if (r < 0)
        return r;
    report_add_bound(bench->report, &cost, ASKED_NS);
    report_add(bench->report, &rate);
    return measure_memory(bench, &rig, error);
}
