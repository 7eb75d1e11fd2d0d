/* SPDX-License-Identifier: Apache-2.0 */

/* Is there room for another VM? Copy-on-write is there to promise more than there is, so nothing is
 * reserved; but a VM that could not even boot once is refused before it harms the others. So is one
 * whose host ports are taken: QEMU would say so, too, but only once it was started. */

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/statvfs.h>

#include "vm/internal.h"

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
    error_set_hint(error, "try --memory");
    return -ENOMEM;
}

int admission_check_disk(const Ramet *ramet, Error *error) {
    struct statvfs info;
    uint64_t free_bytes;

    if (statvfs(ramet->home, &info) < 0)
        return error_set_errno(error, errno, "cannot look at the file system of %s", ramet->home);
    free_bytes = (uint64_t)info.f_bavail * info.f_frsize;
    if (free_bytes >= DISK_LEAST_BYTES)
        return 0;
    error_set(error, ERROR_NO_SPACE, ENOSPC, "the disk of %s is full (%llu MiB free, %llu needed)",
              ramet->home, (unsigned long long)(free_bytes / MIB),
              (unsigned long long)(DISK_LEAST_BYTES / MIB));
    error_set_hint(error, "remove VMs or images, or set RAMET_HOME to a larger disk");
    return -ENOSPC;
}

/* Below it a port needs a capability, and QEMU has none. */
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

static int check_port(const json_t *forward, Error *error) {
    const char *ip = json_string_value(json_object_get(forward, "host_ip"));
    unsigned port = (unsigned)json_integer_value(json_object_get(forward, "host_port"));
    bool udp = str_equal(json_string_value(json_object_get(forward, "protocol")), "udp");
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

    if (port == 0 || !ip || inet_pton(AF_INET, ip, &address.sin_addr) != 1)
        return 0;
    if (port < first_free_port()) {
        error_set(error, ERROR_PERMISSION, EACCES,
                  "host port %u needs privileges, and QEMU runs without any", port);
        error_set_hint(error, "choose one from %u on with -p", first_free_port());
        return -EACCES;
    }
    if (try_port(&address, udp) != -EADDRINUSE)
        return 0; /* what else may be wrong with it QEMU tells */
    error_set(error, ERROR_CONFLICT, EADDRINUSE, "host port %s:%u is taken", ip, port);
    error_set_hint(error, "choose another with -p");
    return -EADDRINUSE;
}

int admission_check_ports(const json_t *forwards, Error *error) {
    int r = 0;

    for (size_t i = 0; r >= 0 && i < json_array_size(forwards); i++)
        r = check_port(json_array_get(forwards, i), error);
    return r;
}
