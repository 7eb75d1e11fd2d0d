/* SPDX-License-Identifier: Apache-2.0 */

/* Guests that send: to the host and to each other, in a network of a switch and, in turn, behind
 * the network user, where one guest reaches the other by a port of the host only. The
 * host's side is a thread here that takes what comes, and its clock is what counts. */

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"
#include "bench/net/net_parts.h"

#define NETWORK "bench-net"
#define BYTES (8 * MIB) /* a transfer */
#define SINK_PORT 5001  /* of guests that take what comes */
#define PINGS 20
#define ASKED_RATIO 1.0

/* Whom a guest sends to. */
typedef struct Way {
    json_t *vm; /* owned: who sends */
    char gateway[16];
    char to_guest[16];
    unsigned guest_port;
    Samples host, guest, ping;
} Way;

typedef struct Rig {
    const Bench *bench; /* borrowed */
    Way on_switch, on_user;
    json_t *takers[2];          /* owned: who takes, in the network and behind a port */
    char host[INET_ADDRSTRLEN]; /* an address of its own that is not its loopback */
    int listener;               /* owned */
    unsigned port;
} Rig;

static const char *text_of(const json_t *object, const char *member) {
    return str_or_empty(json_string_value(json_object_get(object, member)));
}

/* ---- guests ---- */

/* Runs a line in the guest's shell; *out (may be NULL) is what it said, the caller's. */
static int run(const Rig *rig, const json_t *vm, const char *line, char **out, Error *error) {
    _cleanup_json_ json_t *answer = NULL;
    _cleanup_json_ json_t *body = json_pack("{s:[s, s, s]}", "argv", "/bin/sh", "-c", line);
    _cleanup_free_ char *path = str_format("/v1/vms/%s/exec", text_of(vm, "id"));
    int r = bench_call(rig->bench, "POST", path, body, &answer, error);
    if (r < 0)
        return r;
    if (json_integer_value(json_object_get(answer, "exit_status")) != 0)
        return error_set(error, ERROR_FAILED, EIO, "in a guest: %s: %.200s", line,
                         text_of(answer, "stderr"));
    if (out)
        *out = str_copy(text_of(answer, "stdout"));
    return 0;
}

static int start_vm(const Rig *rig, const char *network, bool takes, json_t **vm, Error *error) {
    _cleanup_free_ char *sink =
        str_format("nc -ll -p %d -e sh -c 'exec cat >/dev/null' >/dev/null 2>&1 & "
                   "while ! netstat -ltn | grep -q :%d; do usleep 10000; done",
                   SINK_PORT, SINK_PORT);
    json_t *options = json_pack("{s:[s], s:I}", "networks", network, "memory_bytes",
                                (json_int_t)rig->bench->memory_bytes);
    json_t *forward = json_pack("[{s:s, s:i, s:i}]", "host_ip", rig->host, "host_port", 0,
                                "guest_port", SINK_PORT);
    (void)json_object_set_new(options, "forwards", forward);
    int r = bench_vm_start(rig->bench, options, vm, NULL, error);
    return r < 0 || !takes ? r : run(rig, *vm, sink, NULL, error);
}

static int start_vms(Rig *rig, Error *error) {
    _cleanup_json_ json_t *network = NULL;
    _cleanup_json_ json_t *body =
        json_pack("{s:s, s:s, s:b}", "name", NETWORK, "backend", "switch", "allow_host", 1);
    int r = bench_call(rig->bench, "POST", "/v1/networks", body, &network, error);
    if (r >= 0)
        r = start_vm(rig, NETWORK, false, &rig->on_switch.vm, error);
    if (r >= 0)
        r = start_vm(rig, "user", false, &rig->on_user.vm, error);
    if (r >= 0)
        r = start_vm(rig, NETWORK, true, &rig->takers[0], error);
    if (r >= 0)
        r = start_vm(rig, "user", true, &rig->takers[1], error);
    if (r < 0)
        return r;
    const json_t *forward = json_array_get(json_object_get(rig->takers[1], "forwards"), 0);
    str_set(rig->on_switch.gateway, text_of(network, "gateway"));
    str_set(rig->on_switch.to_guest, text_of(rig->takers[0], "ip"));
    rig->on_switch.guest_port = SINK_PORT;
    str_set(rig->on_user.gateway, "10.0.2.2");
    str_set(rig->on_user.to_guest, rig->host);
    rig->on_user.guest_port = (unsigned)json_integer_value(json_object_get(forward, "host_port"));
    return 0;
}

/* ---- the host's side ---- */

/* That of its default route: what a datagram to anybody would come from. None is sent. */
static int find_own_address(Rig *rig, struct sockaddr_in *address, Error *error) {
    struct sockaddr_in anybody = {.sin_family = AF_INET, .sin_port = htons(9)};
    _cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    socklen_t size = sizeof(*address);
    (void)inet_pton(AF_INET, "192.0.2.1", &anybody.sin_addr); /* RFC 5737 */
    if (fd < 0 || connect(fd, (struct sockaddr *)&anybody, sizeof(anybody)) < 0 ||
        getsockname(fd, (struct sockaddr *)address, &size) < 0)
        return error_set_errno(error, errno, "the host has no address that guests may reach");
    address->sin_port = 0;
    (void)inet_ntop(AF_INET, &address->sin_addr, rig->host, sizeof(rig->host));
    return 0;
}

static int listen_here(Rig *rig, Error *error) {
    struct sockaddr_in address;
    socklen_t size = sizeof(address);
    int r = find_own_address(rig, &address, error);
    if (r < 0)
        return r;
    rig->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (rig->listener < 0 ||
        bind(rig->listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(rig->listener, 4) < 0 ||
        getsockname(rig->listener, (struct sockaddr *)&address, &size) < 0)
        return error_set_errno(error, errno, "cannot listen");
    rig->port = ntohs(address.sin_port);
    return 0;
}

typedef struct Taken {
    int listener;
    uint64_t bytes, usec; /* from the first byte to the end */
} Taken;

static void *take_all(void *data) {
    static char room[256 * KIB];
    Taken *taken = data;
    _cleanup_close_ int fd = accept4(taken->listener, NULL, NULL, SOCK_CLOEXEC);
    uint64_t start = 0;
    ssize_t n;
    while (fd >= 0 && (n = read(fd, room, sizeof(room))) > 0) {
        start = start ? start : clock_monotonic_usec();
        taken->bytes += (uint64_t)n;
    }
    taken->usec = clock_monotonic_usec() - start;
    return NULL;
}

/* ---- what is measured ---- */

static int send_from(const Rig *rig, const Way *way, const char *to, unsigned port, Error *error) {
    _cleanup_free_ char *line =
        str_format("dd if=/dev/zero bs=65536 count=%llu 2>/dev/null | nc %s %u",
                   (unsigned long long)(BYTES / 65536), to, port);
    return run(rig, way->vm, line, NULL, error);
}

static double rate(uint64_t usec) {
    return (double)BYTES / (double)MAX_OF(usec, (uint64_t)1); /* bytes a microsecond */
}

static int measure_to_host(const Rig *rig, Way *way, Error *error) {
    Taken taken = {.listener = rig->listener};
    pthread_t thread;
    if (pthread_create(&thread, NULL, take_all, &taken) != 0)
        return error_set(error, ERROR_FAILED, EAGAIN, "cannot start a thread");
    int r = send_from(rig, way, rig->host, rig->port, error);
    if (r < 0)
        (void)shutdown(rig->listener, SHUT_RDWR); /* nobody comes any more */
    (void)pthread_join(thread, NULL);
    if (r >= 0 && taken.bytes != BYTES)
        r = error_set(error, ERROR_FAILED, EIO, "%llu bytes came of %llu",
                      (unsigned long long)taken.bytes, (unsigned long long)BYTES);
    if (r >= 0)
        samples_add(&way->host, rate(taken.usec));
    return r;
}

static int measure_to_guest(const Rig *rig, Way *way, Error *error) {
    uint64_t start = clock_monotonic_usec();
    int r = send_from(rig, way, way->to_guest, way->guest_port, error);
    if (r >= 0)
        samples_add(&way->guest, rate(clock_monotonic_usec() - start));
    return r;
}

/* The least of several, in which nothing else got in between. */
static int measure_ping(const Rig *rig, Way *way, Error *error) {
    _cleanup_free_ char *out = NULL;
    _cleanup_free_ char *line = str_format("ping -q -c %d -i 0.02 %s", PINGS, way->gateway);
    int r = run(rig, way->vm, line, &out, error);
    const char *times = out ? strstr(out, "min/avg/max = ") : NULL;
    if (r < 0)
        return r;
    if (!times)
        return error_set(error, ERROR_FAILED, EIO, "ping says: %.200s", out);
    samples_add(&way->ping, strtod(times + strlen("min/avg/max = "), NULL) * USEC_PER_MSEC);
    return 0;
}

static int measure_way(const Rig *rig, Way *way, Error *error) {
    int r = measure_to_host(rig, way, error);
    if (r >= 0)
        r = measure_to_guest(rig, way, error);
    return r < 0 ? r : measure_ping(rig, way, error);
}

static int measure(Rig *rig, Error *error) {
    int r = 0;
    for (size_t i = 0; r >= 0 && i < rig->bench->runs; i++) {
        r = measure_way(rig, &rig->on_user, error);
        if (r >= 0)
            r = measure_way(rig, &rig->on_switch, error);
    }
    return r;
}

static void report(const Rig *rig) {
    const Way *with = &rig->on_switch, *beside = &rig->on_user;
    BenchReport *to = rig->bench->report;
    report_add(to, &beside->host);
    report_add_ratio(to, &with->host, &beside->host, 0, ASKED_RATIO);
    report_add(to, &beside->guest);
    report_add_ratio(to, &with->guest, &beside->guest, 0, ASKED_RATIO);
    report_add(to, &beside->ping);
    report_add_ratio(to, &with->ping, &beside->ping, 1 / ASKED_RATIO, 0);
}

static void clean_up(Rig *rig) {
    json_t *vms[] = {rig->on_switch.vm, rig->on_user.vm, rig->takers[0], rig->takers[1]};
    for (size_t i = 0; i < ARRAY_SIZE(vms); i++) {
        if (vms[i])
            (void)bench_vm_remove(rig->bench, vms[i], NULL);
        json_decref(vms[i]);
    }
    (void)bench_undo(rig->bench, "DELETE", "/v1/networks/" NETWORK, NULL, NULL);
    (void)fd_close(rig->listener);
}

int bench_net_guests(Bench *bench, Error *error) {
    Rig rig = {.bench = bench,
               .listener = -1,
               .on_switch = {.host = {.name = "guest to host, switch", .unit = "MB/s"},
                             .guest = {.name = "guest to guest, switch", .unit = "MB/s"},
                             .ping = {.name = "round trip to the gateway, switch", .unit = "us"}},
               .on_user = {.host = {.name = "guest to host, QEMU's user network", .unit = "MB/s"},
                           .guest = {.name = "guest to guest, by a port of the host, the same",
                                     .unit = "MB/s"},
                           .ping = {.name = "round trip to the gateway, the same", .unit = "us"}}};
    rig.on_user.host.label = rig.on_user.guest.label = rig.on_user.ping.label = "QEMU's";
    int r = listen_here(&rig, error);
    if (r >= 0)
        r = start_vms(&rig, error);
    if (r >= 0)
        r = measure(&rig, error);
    if (r >= 0)
        report(&rig);
    clean_up(&rig);
    return r;
}
