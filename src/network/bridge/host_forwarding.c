/* SPDX-License-Identifier: Apache-2.0 */

#include "network/bridge/host_forwarding.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"

/* What the kernel does not have is not there. */
static void set_at(const char *family, const char *what, const char *device, const char *name,
                   const char *value) {
    _cleanup_free_ char *path = str_format("/proc/sys/net/%s/%s/%s/%s", family, what, device, name);
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return;
    if (fd < 0 || fd_write_full(fd, value, strlen(value)) < 0)
        log_warning("cannot set %s: %s", path, strerror(errno));
}

static void set(const char *family, const char *device, const char *name, const char *value) {
    set_at(family, "conf", device, name, value);
}

static bool is_set(const char *family, const char *device, const char *name) {
    _cleanup_free_ char *path = str_format("/proc/sys/net/%s/conf/%s/%s", family, device, name);
    _cleanup_free_ char *value = NULL;
    return fd_read_file_at(AT_FDCWD, path, 16, &value, NULL) >= 0 && *value != '0';
}

void host_set_bridge(const char *device) {
    set("ipv4", device, "forwarding", "1");
    set("ipv4", device, "route_localnet", "1");
    set("ipv4", device, "send_redirects", "0");
    set("ipv6", device, "disable_ipv6", "0");
    set("ipv6", device, "accept_ra", "0");
    set("ipv6", device, "accept_dad", "0");
    set("ipv6", device, "force_forwarding", "1");
}

void host_wait_for_guests(const char *device) {
    set_at("ipv4", "neigh", device, "mcast_solicit", "20");
}

/* The table's line is at *at; its end, behind which the next one is. */
static const char *line_end(const char *at) {
    const char *end = strchr(at, '\n');
    return end ? end + 1 : at + strlen(at);
}

static bool read_line(const char *line, bool ip6, char name[64]) {
    char destination[33], source[33];
    unsigned prefix, address, mask;
    if (!ip6)
        return sscanf(line, "%63s %x %*x %*x %*d %*d %*d %x", name, &address, &mask) == 3 &&
               address == 0 && mask == 0;
    return sscanf(line, "%32s %x %32s %*x %*s %*x %*x %*x %*x %63s", destination, &prefix, source,
                  name) == 4 &&
           prefix == 0 && !str_equal(name, "lo");
}

const char *host_next_uplink(const char **at, bool ip6, char *device, size_t size) {
    char name[64];
    while (**at) {
        const char *line = *at;
        *at = line_end(line);
        if (!read_line(line, ip6, name))
            continue;
        (void)snprintf(device, size, "%s", name);
        return device;
    }
    return NULL;
}

static void forward_each(const char *path, bool ip6) {
    _cleanup_free_ char *table = NULL;
    char device[IFNAMSIZ];
    if (fd_read_file_at(AT_FDCWD, path, MIB, &table, NULL) < 0)
        return;
    for (const char *at = table; host_next_uplink(&at, ip6, device, sizeof(device));) {
        const char *family = ip6 ? "ipv6" : "ipv4", *name = ip6 ? "force_forwarding" : "forwarding";
        if (!is_set(family, device, name))
            set(family, device, name, "1");
    }
}

void host_forward_uplinks(void) {
    forward_each("/proc/net/route", false);
    forward_each("/proc/net/ipv6_route", true);
}

int host_check_bridges(Error *error) {
    _cleanup_close_ int tun = -1;
    if (!capng_have_capability(CAPNG_EFFECTIVE, CAP_NET_ADMIN)) {
        error_set(error, ERROR_PERMISSION, EPERM,
                  "a bridge wants root, or a daemon with CAP_NET_ADMIN");
        error_set_hint(error, "leave --backend out: ramet-switch needs no privilege");
        return -EPERM;
    }
    tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    if (tun >= 0)
        return 0;
    int failed = errno;
    error_set(error, ERROR_UNSUPPORTED, ENOTSUP, "there are no TAP devices: /dev/net/tun: %s",
              strerror(failed));
    error_set_hint(error, "modprobe tun, or leave --backend out");
    return -ENOTSUP;
}
