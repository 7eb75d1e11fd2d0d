/* SPDX-License-Identifier: Apache-2.0 */
/* The order matters: random numbers first, since everything after may draw some; the clock before
 * anything that looks at it; the network at the end, when the guest is somebody else already.
 *
 * A clone spends its first moments here, and an emulated one pays for every new path through its
 * kernel. So what can be found out or opened ahead is, before the snapshot
 * (guest_identity_prepare). */

#include "agent/identity/guest_identity.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>
#include <time.h>

#include "agent/base/user.h"
#include "agent/disk/disks.h"
#include "agent/disk/fs_resize.h"
#include "agent/identity/bind_cover.h"
#include "agent/identity/hooks.h"
#include "agent/identity/hosts.h"
#include "agent/identity/reseed.h"

#define RESOLV_CONF_MAX (NETWORK_DNS_MAX * 40 + 160)

static BindCover machine_id_file = {
    .path = "/etc/machine-id", .name = "machine-id", .mode = 0644, .create = true, .fd = -1};
static BindCover boot_id_file = {
    .path = "/proc/sys/kernel/random/boot_id", .name = "boot-id", .mode = 0444, .fd = -1};

static char resolv_path[512]; /* "": not covered yet */
static BindCover resolv_file = {
    .path = resolv_path, .name = "resolv.conf", .mode = 0644, .create = true, .fd = -1};

/* What was set last, also in the snapshot that we were restored from. */
static bool name_is_shown;
static Dns dns;

/* What was found before the snapshot. */
static struct {
    bool made;
    int random_fd;
    bool ssh_keys, hooks;
} prepared = {.random_fd = -1};

static int show_name(void) {
    int r = name_is_shown ? 0 : bind_cover_mount("/proc/sys/kernel/hostname", "/etc/hostname");
    name_is_shown |= r == 0;
    return r;
}

/* As an agent before this one has set them. */
static void learn_dns(void) {
    char text[RESOLV_CONF_MAX];
    unsigned ip[4];
    if (dns.count > 0 || read_text("/etc/resolv.conf", text, sizeof(text)) <= 0)
        return;
    for (const char *at = text; (at = strstr(at, "nameserver ")) && dns.count < NETWORK_DNS_MAX;
         at++)
        if (sscanf(at, "nameserver %u.%u.%u.%u", &ip[0], &ip[1], &ip[2], &ip[3]) == 4) {
            for (size_t i = 0; i < 4; i++)
                dns.servers[dns.count][i] = (uint8_t)ip[i];
            dns.count++;
        }
    (void)sscanf(text, "search %127s", dns.search);
}

/* Where names are asked for is another in a clone on another network. */
static void prepare_resolv_conf(void) {
    if (!resolv_path[0] && access(RUN_FOLDER "/resolv.conf", F_OK) == 0) /* by another agent */
        copy_text(resolv_path, sizeof(resolv_path), "/etc/resolv.conf");
    if (resolv_path[0])
        bind_cover_prepare(&resolv_file);
}

void guest_identity_prepare(void) {
    (void)show_name();
    learn_dns();
    prepare_resolv_conf();
    bind_cover_prepare(&machine_id_file);
    bind_cover_prepare(&boot_id_file);
    hosts_prepare();
    network_prepare();
    user_prepare();
    if (prepared.random_fd < 0)
        prepared.random_fd = open("/dev/urandom", O_RDWR | O_CLOEXEC);
    generation_prepare();
    (void)reseed_prepare("/proc");
    prepared.ssh_keys = hooks_have_ssh_keys();
    authorized_keys_prepare();
    prepared.hooks = hooks_exist();
    prepared.made = true;
}

void guest_identity_forget(void) {
    prepared.made = false;
    network_forget();
    reseed_forget();
}

void guest_identity_take_locks(void) {
    struct utsname name;
    (void)uname(&name); /* that of the hostname */
    network_take_locks();
}

int guest_identity_add_entropy(const GuestIdentity *identity, Result *result) {
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

int guest_identity_set_clock(const Clock *clock, Result *result) {
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
static int set_line(BindCover *file, const char *text) {
    char line[BIND_COVER_MAX];
    size_t length = strlen(text);
    if (length == 0)
        return 0;
    if (length + 2 > sizeof(line))
        return -E2BIG;
    copy_text(line, sizeof(line), text);
    copy_text(line + length, sizeof(line) - length, "\n");
    return bind_cover_set(file, line);
}

int guest_identity_cover_machine_id(const char *machine_id) {
    return set_line(&machine_id_file, machine_id);
}

/* The kernel's own file shows the name, whatever it is, and needs no change in a clone. */
int guest_identity_name(const char *hostname) {
    int r = sethostname(hostname, strlen(hostname)) < 0 ? -errno : 0;
    return r == 0 ? show_name() : r;
}

static int set_text(BindCover *file, const char *text, Result *result) {
    int r = set_line(file, text);
    return r < 0 ? result_fail(result, -r, "identity: cannot replace %s", file->path) : 0;
}

static int set_hostname(const GuestIdentity *identity, Result *result) {
    if (!identity->hostname[0])
        return 0;
    int r = guest_identity_name(identity->hostname);
    if (r < 0)
        return result_fail(result, -r, "hostname: cannot set it");
    r = hosts_set(identity->hostname);

    /* A read-only image stays without. */
    return r < 0 && r != -EROFS ? result_fail(result, -r, "hostname: cannot replace /etc/hosts")
                                : 0;
}

static int cover_resolv_conf(const char *path, const char *text) {
    copy_text(resolv_path, sizeof(resolv_path), path);
    return bind_cover_set(&resolv_file, text);
}

/* A link that leads into /run (as systemd-resolved makes it) may lead to nothing yet: its target is
 * made. */
static int write_resolv_conf(const char *text) {
    const char *path = "/etc/resolv.conf";
    char target[4096], absolute[4200];
    if (resolv_file.map)
        return bind_cover_set(&resolv_file, text);
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

static size_t resolv_conf_text(const Dns *wanted, char *text, size_t room) {
    size_t length = 0;
    if (wanted->search[0])
        length = (size_t)snprintf(text, room, "search %s\n", wanted->search);
    for (size_t i = 0; i < wanted->count; i++) {
        const uint8_t *ip = wanted->servers[i];
        length += (size_t)snprintf(text + length, room - length, "nameserver %u.%u.%u.%u\n", ip[0],
                                   ip[1], ip[2], ip[3]);
    }
    return length;
}

/* Covers what is there by the same, so that a clone in a network has only to change it. What is
 * long is somebody's own. */
static void cover_without_dns(void) {
    char text[BIND_COVER_MAX];
    ssize_t size = read_text("/etc/resolv.conf", text, sizeof(text));
    if (size <= 0)
        copy_text(text, sizeof(text), "# no name server\n");
    if (size < (ssize_t)sizeof(text) - 1)
        (void)write_resolv_conf(text);
}

static int set_dns(const Dns *wanted, Result *result) {
    char text[RESOLV_CONF_MAX];
    if (wanted->count == 0 && dns.count == 0 && !resolv_path[0])
        cover_without_dns();
    if (wanted->count == dns.count && strcmp(wanted->search, dns.search) == 0 &&
        memcmp(wanted->servers, dns.servers, wanted->count * sizeof(dns.servers[0])) == 0)
        return 0;
    int r = resolv_conf_text(wanted, text, sizeof(text)) > 0 ? write_resolv_conf(text) : 0;
    if (r == 0 && wanted->count > 0)
        dns = *wanted;

    /* A read-only image has its own idea of names; the network works without ours. */
    if (r == -EROFS)
        r = 0;
    return r < 0 ? result_fail(result, -r, "network: cannot replace /etc/resolv.conf") : 0;
}

static int set_generation(const GuestIdentity *identity, Result *result) {
    int r = identity->has_generation ? generation_set(identity->generation) : 0;
    return r < 0 ? result_fail(result, -r, "cannot write " GENERATION_FILE) : 0;
}

int guest_identity_apply(const GuestIdentity *identity, Result *result) {
    int r = guest_identity_add_entropy(identity, result);
    if (r == 0)
        reseed_apply(); /* which takes new numbers from the kernel, later */
    if (r == 0)
        r = set_generation(identity, result);
    if (r == 0 && identity->clock.given)
        r = guest_identity_set_clock(&identity->clock, result);
    if (r == 0)
        r = set_hostname(identity, result);
    if (r == 0)
        r = set_text(&machine_id_file, identity->machine_id, result);
    if (r == 0)
        r = set_text(&boot_id_file, identity->boot_id, result);
    if (r == 0)
        r = network_apply(identity->networks, identity->n_networks, result);
    if (r == 0)
        r = set_dns(&identity->dns, result);
    return r;
}

static bool have_ssh_keys(void) {
    return prepared.made ? prepared.ssh_keys : hooks_have_ssh_keys();
}

static bool have_hooks(void) {
    return prepared.made ? prepared.hooks : hooks_exist();
}

bool guest_identity_has_more(const GuestIdentity *identity) {
    return identity->n_mounts > 0 || identity->changed_disk[0] ||
           (identity->resize_root && fs_resize_is_needed("/")) ||
           authorized_keys_are_new(&identity->logins) || (identity->ssh_keys && have_ssh_keys()) ||
           (identity->hooks && have_hooks());
}

static bool is_missing(const char *path) {
    return access(path, F_OK) < 0;
}

/* What is mapped only changes its text; anything else may make a file on the disk first. */
bool guest_identity_needs_disk(const GuestIdentity *identity) {
    return (identity->machine_id[0] && !machine_id_file.map && is_missing("/etc/machine-id")) ||
           (identity->dns.count > 0 && !prepared.made && is_missing("/etc/resolv.conf"));
}

void guest_identity_finish(void *data, int in, int out, Result *result) {
    const GuestIdentity *identity = data;
    result->exclusive = identity->exclusive;
    for (size_t i = 0; i < identity->n_mounts; i++)
        if (disks_mount_word(identity->mounts[i], result) < 0)
            return;
    if (identity->changed_disk[0] && disks_change(identity->changed_disk, result) < 0)
        return;
    if (identity->ssh_keys &&
        hooks_renew_ssh_keys(identity->ssh_key, identity->ssh_public_key, result) < 0)
        return;
    if (authorized_keys_are_new(&identity->logins) &&
        authorized_keys_write(&identity->logins, result) < 0)
        return;
    if (identity->resize_root && fs_resize_is_needed("/") && fs_resize("/", result) < 0)
        return;
    result->itself = !identity->hooks || hooks_run(result) == 0;
}
