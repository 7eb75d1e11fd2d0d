/* SPDX-License-Identifier: Apache-2.0 */
/* The order matters: random numbers first, since everything after may draw some; the clock before
 * anything that looks at it; the network at the end, when the guest is somebody else already.
 *
 * A clone spends its first moments here, and an emulated one pays for every new path through its
 * kernel. So what can be found out or opened ahead is, before the snapshot (identity_prepare). */

#include "agent/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "agent/grow.h"
#include "agent/hooks.h"
#include "agent/own_file.h"
#include "agent/user.h"

static OwnFile machine_id_file = {
    .path = "/etc/machine-id", .name = "machine-id", .mode = 0644, .create = true, .fd = -1};
static OwnFile boot_id_file = {
    .path = "/proc/sys/kernel/random/boot_id", .name = "boot-id", .mode = 0444, .fd = -1};

/* What was found before the snapshot. */
static struct {
    bool made;
    int random_fd;
    bool ssh_keys, hooks;
} prepared = {.random_fd = -1};

void identity_prepare(void) {
    own_file_prepare(&machine_id_file);
    own_file_prepare(&boot_id_file);
    network_prepare();
    user_prepare();
    if (prepared.random_fd < 0)
        prepared.random_fd = open("/dev/urandom", O_RDWR | O_CLOEXEC);
    prepared.ssh_keys = hooks_have_ssh_keys();
    prepared.hooks = hooks_exist();
    prepared.made = true;
}

void identity_forget(void) {
    prepared.made = false;
    network_forget();
}

static int add_entropy(const Identity *identity, Result *result) {
    _cleanup_close_ int own =
        prepared.random_fd < 0 ? open("/dev/urandom", O_RDWR | O_CLOEXEC) : -1;
    int fd = own < 0 ? prepared.random_fd : own;
    struct {
        int bits, bytes; /* struct rand_pool_info */
        uint8_t data[sizeof(identity->entropy)];
    } pool = {.bits = (int)identity->entropy_size * 8, .bytes = (int)identity->entropy_size};

    if (identity->entropy_size == 0)
        return 0;
    memcpy(pool.data, identity->entropy, identity->entropy_size);
    if (fd < 0 || ioctl(fd, RNDADDENTROPY, &pool) < 0 || ioctl(fd, RNDRESEEDCRNG) < 0)
        return result_fail(result, errno, "entropy: cannot reseed the kernel");
    return 0;
}

/* The host's time was that at some moment of ours, which the WELCOME told it: what has passed since
 * then, on the way and in here, is added. */
static uint64_t wanted_time(const Clock *clock) {
    uint64_t now = now_usec();

    if (clock->uptime_usec == 0 || clock->uptime_usec > now)
        return clock->realtime_usec;
    return clock->realtime_usec + (now - clock->uptime_usec);
}

int identity_set_clock(const Clock *clock, Result *result) {
    uint64_t wanted = wanted_time(clock), now = realtime_usec();
    struct timespec time = {.tv_sec = (time_t)(wanted / 1000000u),
                            .tv_nsec = (long)(wanted % 1000000u * 1000u)};

    if ((now > wanted ? now - wanted : wanted - now) <= clock->limit_usec)
        return 0;
    if (clock_settime(CLOCK_REALTIME, &time) < 0)
        return result_fail(result, errno, "clock: cannot set the time");
    return 0;
}

/* Without snprintf, which is a hundred blocks of code to translate. */
static int set_line(OwnFile *file, const char *text) {
    char line[OWN_FILE_MAX];
    size_t length = strlen(text);

    if (length == 0)
        return 0;
    if (length + 2 > sizeof(line))
        return -E2BIG;
    copy_text(line, sizeof(line), text);
    copy_text(line + length, sizeof(line) - length, "\n");
    return own_file_set(file, line);
}

int identity_cover_machine_id(const char *machine_id) {
    return set_line(&machine_id_file, machine_id);
}

/* The kernel's own file shows the name, whatever it is, and needs no change in a clone. */
int identity_name(const char *hostname) {
    static bool shown; /* also in the snapshot that we woke from */
    int r = sethostname(hostname, strlen(hostname)) < 0 ? -errno : 0;

    if (r == 0 && !shown)
        r = own_file_bind("/proc/sys/kernel/hostname", "/etc/hostname");
    shown |= r == 0;
    return r;
}

static int set_text(OwnFile *file, const char *text, Result *result) {
    int r = set_line(file, text);

    return r < 0 ? result_fail(result, -r, "identity: cannot replace %s", file->path) : 0;
}

static int set_hostname(const Identity *identity, Result *result) {
    int r = identity->hostname[0] ? identity_name(identity->hostname) : 0;

    return r < 0 ? result_fail(result, -r, "hostname: cannot set it") : 0;
}

static int cover_resolv_conf(const char *path, const char *text) {
    OwnFile file = {.path = path, .name = "resolv.conf", .mode = 0644, .create = true, .fd = -1};

    return own_file_set(&file, text);
}

/* A link that leads into /run (as systemd-resolved makes it) may lead to nothing yet: its target is
 * made. */
static int write_resolv_conf(const char *text) {
    const char *path = "/etc/resolv.conf";
    char target[4096], absolute[4200];
    ssize_t length = readlink(path, target, sizeof(target) - 1);

    if (length < 0)
        return cover_resolv_conf(path, text);
    target[length] = '\0';
    (void)snprintf(absolute, sizeof(absolute), "%s%s", target[0] == '/' ? "" : "/etc/", target);
    if (access(path, F_OK) < 0) {
        char *slash = strrchr(absolute, '/');

        *slash = '\0';
        int r = make_folders(absolute, 0755);

        if (r < 0)
            return r;
        *slash = '/';
    }
    return cover_resolv_conf(absolute, text);
}

static size_t resolv_conf_text(const Network *network, char *text, size_t room) {
    size_t length = 0;

    for (size_t i = 0; i < network->n_dns; i++) {
        const uint8_t *ip = network->dns[i];

        length += (size_t)snprintf(text + length, room - length, "nameserver %u.%u.%u.%u\n", ip[0],
                                   ip[1], ip[2], ip[3]);
    }
    return length;
}

static int set_dns(const Network *network, Result *result) {
    static Network last; /* also in the snapshot that we woke from */
    char text[NETWORK_DNS_MAX * 40];

    if (network->n_dns == last.n_dns &&
        memcmp(network->dns, last.dns, network->n_dns * sizeof(last.dns[0])) == 0)
        return 0;
    int r = resolv_conf_text(network, text, sizeof(text)) > 0 ? write_resolv_conf(text) : 0;

    if (r == 0 && network->n_dns > 0)
        last = *network;

    /* A read-only image has its own idea of names; the network works without ours. */
    if (r == -EROFS)
        r = 0;
    return r < 0 ? result_fail(result, -r, "network: cannot replace /etc/resolv.conf") : 0;
}

int identity_apply(const Identity *identity, Result *result) {
    int r = add_entropy(identity, result);

    if (r == 0 && identity->clock.given)
        r = identity_set_clock(&identity->clock, result);
    if (r == 0)
        r = set_hostname(identity, result);
    if (r == 0)
        r = set_text(&machine_id_file, identity->machine_id, result);
    if (r == 0)
        r = set_text(&boot_id_file, identity->boot_id, result);
    if (r == 0)
        r = network_apply(&identity->network, result);
    if (r == 0)
        r = set_dns(&identity->network, result);
    return r;
}

static bool have_ssh_keys(void) {
    return prepared.made ? prepared.ssh_keys : hooks_have_ssh_keys();
}

static bool have_hooks(void) {
    return prepared.made ? prepared.hooks : hooks_exist();
}

bool identity_has_more(const Identity *identity) {
    return (identity->grow_root && grow_is_needed("/")) ||
           (identity->ssh_keys && have_ssh_keys()) || (identity->hooks && have_hooks());
}

static bool is_missing(const char *path) {
    return access(path, F_OK) < 0;
}

/* What is mapped only changes its text; anything else may make a file on the disk first. */
bool identity_needs_disk(const Identity *identity) {
    return identity_has_more(identity) ||
           (identity->machine_id[0] && !machine_id_file.map && is_missing("/etc/machine-id")) ||
           (identity->network.n_dns > 0 && !prepared.made && is_missing("/etc/resolv.conf"));
}

void identity_finish(void *data, int in, int out, Result *result) {
    const Identity *identity = data;

    if (identity->grow_root && grow_is_needed("/") && grow_file_system("/", result) < 0)
        return;
    if (identity->ssh_keys && hooks_renew_ssh_keys(result) < 0)
        return;
    if (identity->hooks)
        (void)hooks_run(result);
}
