/* SPDX-License-Identifier: Apache-2.0 */
/* The order matters: random numbers first, since everything after may draw some; the clock before
 * anything that looks at it; the network at the end, when the guest is somebody else already. */

#include "agent/identity.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>

#include "agent/grow.h"
#include "agent/hooks.h"
#include "proto/agent.h"
#include "proto/tlv.h"

#define CLOCK_LIMIT_DEFAULT_USEC 1000000u
#define BOOT_ID_PATH "/proc/sys/kernel/random/boot_id"

/* ---- parsing ---- */

static bool is_pattern(const char *text, const char *pattern) {
    for (; *pattern; text++, pattern++)
        if (*pattern == 'x' ? !isxdigit((unsigned char)*text) : *text != *pattern)
            return false;
    return *text == '\0';
}

static bool is_hostname(const char *text) {
    if (!*text)
        return false;
    for (; *text; text++)
        if (!isalnum((unsigned char)*text) && !strchr("-_.", *text))
            return false;
    return true;
}

static int take_text(const TlvField *field, char *text, size_t room, const char *pattern) {
    int r = tlv_text(field, text, room);

    if (r < 0)
        return -EBADMSG;
    return (pattern ? is_pattern(text, pattern) : is_hostname(text)) ? 0 : -EBADMSG;
}

static int take_bytes(const TlvField *field, void *bytes, size_t size, bool *there) {
    if (field->size != size)
        return -EBADMSG;
    memcpy(bytes, field->data, size);
    *there = true;
    return 0;
}

static int take_flag(const TlvField *field, bool *flag) {
    uint64_t value;
    int r = tlv_u64(field, &value);

    if (r == 0)
        *flag = value != 0;
    return r;
}

static int take_prefix(const TlvField *field, unsigned *prefix) {
    uint64_t value;
    int r = tlv_u64(field, &value);

    if (r < 0 || value > 32)
        return -EBADMSG;
    *prefix = (unsigned)value;
    return 0;
}

static int take_dns(const TlvField *field, Network *network) {
    bool there;

    if (network->n_dns == NETWORK_DNS_MAX)
        return 0;
    int r = take_bytes(field, network->dns[network->n_dns], 4, &there);

    if (r == 0)
        network->n_dns++;
    return r;
}

static int take_field(Identity *identity, const TlvField *field) {
    Network *network = &identity->network;

    switch (field->tag) {
    case TAG_HOSTNAME:
        return take_text(field, identity->hostname, sizeof(identity->hostname), NULL);
    case TAG_MACHINE_ID:
        return take_text(field, identity->machine_id, sizeof(identity->machine_id),
                         "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
    case TAG_BOOT_ID:
        return take_text(field, identity->boot_id, sizeof(identity->boot_id),
                         "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx");
    case TAG_ENTROPY:
        identity->entropy_size = MIN_OF(field->size, sizeof(identity->entropy));
        memcpy(identity->entropy, field->data, identity->entropy_size);
        return 0;
    case TAG_REALTIME_USEC:
        identity->has_clock = true;
        return tlv_u64(field, &identity->realtime_usec);
    case TAG_UPTIME_USEC:
        return tlv_u64(field, &identity->uptime_usec);
    case TAG_LIMIT_USEC:
        return tlv_u64(field, &identity->limit_usec);
    case TAG_MAC:
        return take_bytes(field, network->mac, 6, &network->has_mac);
    case TAG_IPV4:
        return take_bytes(field, network->ip, 4, &network->has_ip);
    case TAG_IPV4_GATEWAY:
        return take_bytes(field, network->gateway, 4, &network->has_gateway);
    case TAG_IPV4_PREFIX:
        return take_prefix(field, &network->prefix);
    case TAG_DNS:
        return take_dns(field, network);
    case TAG_SSH_KEYS:
        return take_flag(field, &identity->ssh_keys);
    case TAG_HOOKS:
        return take_flag(field, &identity->hooks);
    case TAG_GROW_ROOT:
        return take_flag(field, &identity->grow_root);
    default:
        return 0;
    }
}

int identity_parse(const void *payload, size_t size, Identity *identity, Result *result) {
    Identity read = {.limit_usec = CLOCK_LIMIT_DEFAULT_USEC};
    TlvReader reader;
    TlvField field;
    int r;

    tlv_read(&reader, payload, size);
    while ((r = tlv_next(&reader, &field)) > 0)
        if (take_field(&read, &field) < 0)
            return result_say(result, EBADMSG, "identity: field %u is malformed", field.tag);
    if (r < 0)
        return result_say(result, EBADMSG, "identity: the request is malformed");
    *identity = read;
    return 0;
}

/* ---- files that are covered ---- */

static bool same_file(const char *one, const char *other) {
    struct stat a, b;

    return stat(one, &a) == 0 && stat(other, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

int identity_cover(const char *path, const char *name, const char *text, bool create) {
    char own[256];
    int r = make_folders(RUN_FOLDER, 0755);

    (void)snprintf(own, sizeof(own), RUN_FOLDER "/%s", name);
    if (r == 0)
        r = write_text(own, text, 0644);
    if (r < 0 || same_file(path, own))
        return r;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

    /* Only then: O_CREAT waits for the thaw of a frozen file system even when the file is there. */
    if (fd < 0 && errno == ENOENT && create)
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_CREAT, 0644);
    if (fd < 0)
        return errno == ENOENT && !create ? 0 : -errno;
    (void)close(fd);
    return mount(own, path, NULL, MS_BIND, NULL) < 0 ? -errno : 0;
}

/* ---- the steps ---- */

static int add_entropy(const Identity *identity, Result *result) {
    _cleanup_close_ int fd = open("/dev/urandom", O_RDWR | O_CLOEXEC);
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
static uint64_t time_now(const Identity *identity) {
    uint64_t now = now_usec();

    if (identity->uptime_usec == 0 || identity->uptime_usec > now)
        return identity->realtime_usec;
    return identity->realtime_usec + (now - identity->uptime_usec);
}

int identity_set_clock(uint64_t wanted, uint64_t limit_usec, Result *result) {
    uint64_t now = realtime_usec();
    struct timespec time = {.tv_sec = (time_t)(wanted / 1000000u),
                            .tv_nsec = (long)(wanted % 1000000u * 1000u)};

    if ((now > wanted ? now - wanted : wanted - now) <= limit_usec)
        return 0;
    if (clock_settime(CLOCK_REALTIME, &time) < 0)
        return result_fail(result, errno, "clock: cannot set the time");
    return 0;
}

static int set_hostname(const Identity *identity, Result *result) {
    char line[sizeof(identity->hostname) + 1];
    int r;

    if (identity->hostname[0] == '\0')
        return 0;
    if (sethostname(identity->hostname, strlen(identity->hostname)) < 0)
        return result_fail(result, errno, "hostname: cannot set it");
    (void)snprintf(line, sizeof(line), "%s\n", identity->hostname);
    r = identity_cover("/etc/hostname", "hostname", line, false);
    return r < 0 ? result_fail(result, -r, "hostname: cannot replace /etc/hostname") : 0;
}

static int set_machine_id(const Identity *identity, Result *result) {
    char line[sizeof(identity->machine_id) + 1];
    int r;

    if (identity->machine_id[0] == '\0')
        return 0;
    (void)snprintf(line, sizeof(line), "%s\n", identity->machine_id);
    r = identity_cover("/etc/machine-id", "machine-id", line, true);
    return r < 0 ? result_fail(result, -r, "machine-id: cannot replace /etc/machine-id") : 0;
}

/* The text always has the same length, so that one write replaces it whole. */
static int set_boot_id(const Identity *identity, Result *result) {
    const char *own = RUN_FOLDER "/boot-id";
    char line[sizeof(identity->boot_id) + 1];
    int r;

    if (identity->boot_id[0] == '\0')
        return 0;
    (void)snprintf(line, sizeof(line), "%s\n", identity->boot_id);
    r = make_folders(RUN_FOLDER, 0755);
    if (r == 0)
        r = write_text(own, line, 0444);
    if (r == 0 && !same_file(BOOT_ID_PATH, own) &&
        mount(own, BOOT_ID_PATH, NULL, MS_BIND, NULL) < 0)
        r = -errno;
    return r < 0 ? result_fail(result, -r, "boot-id: cannot replace " BOOT_ID_PATH) : 0;
}

/* A link that leads into /run (as systemd-resolved makes it) may lead to nothing yet: its target is
 * made. */
static int write_resolv_conf(const char *text) {
    const char *path = "/etc/resolv.conf";
    char target[4096], absolute[4200];
    ssize_t length = readlink(path, target, sizeof(target) - 1);

    if (length < 0)
        return identity_cover(path, "resolv.conf", text, true);
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
    return identity_cover(absolute, "resolv.conf", text, true);
}

static int set_dns(const Network *network, Result *result) {
    char text[NETWORK_DNS_MAX * 40];
    size_t length = 0;

    for (size_t i = 0; i < network->n_dns; i++) {
        const uint8_t *ip = network->dns[i];

        length += (size_t)snprintf(text + length, sizeof(text) - length, "nameserver %u.%u.%u.%u\n",
                                   ip[0], ip[1], ip[2], ip[3]);
    }
    static char last[sizeof(text)]; /* also in the snapshot that we woke from */
    int r = length > 0 && strcmp(text, last) != 0 ? write_resolv_conf(text) : 0;

    if (r == 0 && length > 0)
        memcpy(last, text, length + 1);

    /* A read-only image has its own idea of names; the network works without ours. */
    if (r == -EROFS)
        r = 0;
    return r < 0 ? result_fail(result, -r, "network: cannot replace /etc/resolv.conf") : 0;
}

int identity_apply(const Identity *identity, Result *result) {
    int r = add_entropy(identity, result);

    if (r == 0 && identity->has_clock)
        r = identity_set_clock(time_now(identity), identity->limit_usec, result);
    if (r == 0)
        r = set_hostname(identity, result);
    if (r == 0)
        r = set_machine_id(identity, result);
    if (r == 0)
        r = set_boot_id(identity, result);
    if (r == 0)
        r = network_apply(&identity->network, result);
    if (r == 0)
        r = set_dns(&identity->network, result);
    return r;
}

bool identity_has_more(const Identity *identity) {
    return (identity->grow_root && grow_is_needed("/")) ||
           (identity->ssh_keys && hooks_have_ssh_keys()) || (identity->hooks && hooks_exist());
}

/* What was covered once is only covered with another text. */
static bool is_missing(const char *path) {
    return access(path, F_OK) < 0;
}

bool identity_needs_disk(const Identity *identity) {
    return identity_has_more(identity) ||
           (identity->machine_id[0] && is_missing("/etc/machine-id")) ||
           (identity->network.n_dns > 0 && is_missing("/etc/resolv.conf"));
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
