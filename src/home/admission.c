/* SPDX-License-Identifier: Apache-2.0 */

/* Is there room for another VM? Copy-on-write is there to promise more than there is, so nothing is
 * reserved; but a VM that could not even boot once is refused before it harms the others. So is one
 * whose host ports are taken: QEMU would say so, too, but only once it was started. */

#include "home/admission.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "home/home.h"
#include "home/inside.h"

#define DISK_LEAST_BYTES (64 * MIB)

static int read_available(uint64_t *bytes) {
    _cleanup_fclose_ FILE *file = fopen("/proc/meminfo", "re");
    unsigned long long kib;
    char line[256];
    if (!file)
        return -errno;
    while (fgets(line, sizeof(line), file)) {
        if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1) {
            *bytes = kib * KIB;
            return 0;
        }
    }
    return -ENOENT;
}

int admission_check_memory(uint64_t wanted_bytes, Error *error) {
    uint64_t available;
    if (read_available(&available) < 0 || wanted_bytes <= available)
        return 0;
    error_set(error, ERROR_NO_MEMORY, ENOMEM, "not enough memory (wanted %llu MiB, %llu free)",
              (unsigned long long)(wanted_bytes / MIB), (unsigned long long)(available / MIB));
    error_set_hint(error, "ask for less memory, or stop other VMs");
    return -ENOMEM;
}

int admission_check_disk(const Home *home, Error *error) {
    struct statvfs info;
    uint64_t free_bytes;
    if (statvfs(home->path, &info) < 0)
        return error_set_errno(error, errno, "cannot look at the file system of %s", home->path);
    free_bytes = (uint64_t)info.f_bavail * info.f_frsize;
    if (free_bytes >= DISK_LEAST_BYTES)
        return 0;
    error_set(error, ERROR_NO_SPACE, ENOSPC, "the disk of %s is full (%llu MiB free, %llu needed)",
              home->path, (unsigned long long)(free_bytes / MIB),
              (unsigned long long)(DISK_LEAST_BYTES / MIB));
    error_set_hint(error, "remove VMs or images, or set RAMET_HOME to a larger disk");
    return -ENOSPC;
}

/* Below it a port needs a capability. */
static unsigned first_free_port(void) {
    _cleanup_fclose_ FILE *file = fopen("/proc/sys/net/ipv4/ip_unprivileged_port_start", "re");
    unsigned port;
    return file && fscanf(file, "%u", &port) == 1 ? port : 1024;
}

/* As QEMU takes it. */
static int try_port(const struct sockaddr_in *address, bool udp) {
    _cleanup_close_ int fd = socket(AF_INET, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
    int one = 1;
    if (fd < 0)
        return -errno;
    if (!udp)
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    return bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ? -errno : 0;
}

/* Those that were picked last: QEMU has not bound all of them yet. */
#define PICKED_MAX 2048
static pthread_mutex_t picked_mutex = PTHREAD_MUTEX_INITIALIZER;
static uint16_t picked[PICKED_MAX];
static size_t picked_next;

static bool note_picked(uint16_t port) {
    bool fresh = true;
    (void)pthread_mutex_lock(&picked_mutex);
    for (size_t i = 0; i < PICKED_MAX && fresh; i++)
        fresh = picked[i] != port;
    if (fresh)
        picked[picked_next++ % PICKED_MAX] = port;
    (void)pthread_mutex_unlock(&picked_mutex);
    return fresh;
}

/* What the kernel gives for 0 (ip(7), ip_local_port_range). */
static int ask_port(const PortForward *forward, uint16_t *port) {
    _cleanup_close_ int fd =
        socket(AF_INET, (forward->udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof(address);
    if (fd < 0 || inet_pton(AF_INET, forward->host_ip, &address.sin_addr) != 1 ||
        bind(fd, (const struct sockaddr *)&address, size) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) < 0)
        return errno ? -errno : -EINVAL;
    *port = ntohs(address.sin_port);
    return 0;
}

static int none_free(const PortForward *forward, int r, Error *error) {
    if (r < 0 && r != -EADDRINUSE)
        return error_set_errno(error, -r, "cannot look for a free port of %s", forward->host_ip);
    error_set(error, ERROR_CONFLICT, EADDRINUSE, "no port of %s is free", forward->host_ip);
    error_set_hint(error, "choose one with -p, or widen net.ipv4.ip_local_port_range");
    return -EADDRINUSE;
}

int admission_pick_ports(PortForwards *forwards, Error *error) {
    for (size_t i = 0; i < forwards->count; i++) {
        PortForward *forward = &forwards->items[i];
        uint16_t port = 0;
        int r = 0;
        for (int tries = 0; forward->host_port == 0 && r == 0 && tries < PICKED_MAX; tries++) {
            r = ask_port(forward, &port);
            if (r == 0 && note_picked(port))
                forward->host_port = port;
        }
        if (forward->host_port == 0)
            return none_free(forward, r, error);
    }
    return 0;
}

/* The switch has none itself; the daemon listens for it. */
static bool may_listen_below(void) {
    return geteuid() == 0;
}

static int check_port(const VmSpec *spec, const PortForward *forward, Error *error) {
    const char *ip = forward->host_ip;
    unsigned port = forward->host_port;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(forward->host_port)};
    if (port == 0 || inet_pton(AF_INET, ip, &address.sin_addr) != 1)
        return 0;
    if (port < first_free_port() && !may_listen_below()) {
        error_set(error, ERROR_PERMISSION, EACCES,
                  "host port %u needs privileges, and this daemon has none", port);
        error_set_hint(error, "choose one from %u on with -p, or run the daemon as root",
                       first_free_port());
        return -EACCES;
    }
    if (try_port(&address, forward->udp) != -EADDRINUSE)
        return 0; /* what else may be wrong with it, its switch tells */
    error_set(error, ERROR_CONFLICT, EADDRINUSE, "host port %s:%u is taken", ip, port);
    error_set_hint(error, "choose another with -p");
    return -EADDRINUSE;
}

int admission_check_ports(const VmSpec *spec, const PortForwards *forwards, Error *error) {
    int r = 0;
    for (size_t i = 0; r >= 0 && i < forwards->count; i++)
        r = check_port(spec, &forwards->items[i], error);
    return r;
}
