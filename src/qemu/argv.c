/* SPDX-License-Identifier: Apache-2.0 */

/* Order matters: the device list, in its order, decides where each device sits on the bus, and a
 * saved device state fits only the same list. So everything below comes in one fixed order, and a
 * restore leaves out only what is no device (kernel, initramfs, command line). */

#include "qemu/argv.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"

void qemu_config_init(QemuConfig *config) {
    *config = (QemuConfig){.memory_fd = -1, .tap_fd = -1, .kernel_fd = -1, .initrd_fd = -1};
    config->qmp_fd = config->agent_fd = config->console_fd = -1;
    for (size_t i = 0; i < QEMU_DISKS_MAX; i++)
        for (size_t j = 0; j < QEMU_CHAIN_MAX; j++)
            config->disks[i].files[j].fd = config->disks[i].files[j].fd_write = -1;
}

void qemu_disk_node(size_t disk, size_t layer, char name[QEMU_NODE_NAME_SIZE]) {
    (void)snprintf(name, QEMU_NODE_NAME_SIZE, "disk%zu-%zu", disk, layer);
}

unsigned qemu_disk_fdset(size_t disk, size_t layer) {
    return (unsigned)(1 + disk * QEMU_CHAIN_MAX + layer);
}

_Static_assert(1 + QEMU_DISKS_MAX * QEMU_CHAIN_MAX <= QEMU_FDSET_FREE, "descriptor sets overlap");

/* Checks */

static int usage(Error *error, const char *what) {
    return error_set(error, ERROR_USAGE, EINVAL, "QEMU's configuration: %s", what);
}

static bool is_serial(const char *text) {
    return text[strspn(
               text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")] == '\0';
}

static bool is_address(const char *text) {
    return text[0] && text[strspn(text, "0123456789.")] == '\0';
}

static int check_disk(const QemuDisk *disk, Error *error) {
    if (disk->n_files == 0 || disk->n_files > QEMU_CHAIN_MAX)
        return usage(error, "a disk has no file or too many");
    if (!is_serial(disk->serial))
        return usage(error, "a disk's serial has characters that are not allowed");
    if (!disk->read_only && disk->files[0].fd_write < 3)
        return usage(error, "a writable disk has no descriptor for writing");
    for (size_t i = 0; i < disk->n_files; i++) {
        if (disk->files[i].fd < 3)
            return usage(error, "a file of a disk has no descriptor for reading");
        if (!str_equal(disk->files[i].format, "qcow2") && !str_equal(disk->files[i].format, "raw"))
            return usage(error, "a disk's format is neither qcow2 nor raw");
        if (str_equal(disk->files[i].format, "raw") && i + 1 < disk->n_files)
            return usage(error, "a raw file cannot lie over another one");
    }
    return 0;
}

static int check_network(const QemuConfig *config, Error *error) {
    if (config->network != QEMU_NETWORK_NONE && !config->network_card)
        return usage(error, "a network without a card");
    if (config->network == QEMU_NETWORK_TAP && config->tap_fd < 3)
        return usage(error, "no descriptor of the TAP device");
    if (config->n_forwards > QEMU_FORWARDS_MAX)
        return usage(error, "too many forwards");
    for (size_t i = 0; i < config->n_forwards; i++)
        if (!is_address(config->forwards[i].host_ip))
            return usage(error, "a forward's address is no IPv4 address");
    return 0;
}

static int check_boot(const QemuConfig *config, Error *error) {
    if (config->incoming)
        return 0;
    return config->kernel_fd < 3 ? usage(error, "no kernel") : 0;
}

/* A CPU model with its features, as -cpu takes it: "qemu64,+rdrand". */
static bool is_cpu(const char *text) {
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.,+-=";

    return !text || (text[0] && strlen(text) < 256 && text[strspn(text, allowed)] == '\0');
}

static int check_config(const QemuConfig *config, Error *error) {
    int r = 0;

    if (!config->binary || !qemu_machine_options(config->machine, config->accel))
        return usage(error, "no binary, or an unknown machine or accelerator");
    if (!is_cpu(config->cpu))
        return usage(error, "the CPU model has characters that are not allowed");
    if (config->memory_bytes == 0 || config->memory_bytes % MIB || config->memory_fd < 3)
        return usage(error, "memory must be whole MiB and have a descriptor");
    if (config->cpus == 0 || config->cpus > 255)
        return usage(error, "the number of CPUs must be 1 to 255");
    if (config->qmp_fd < 3 || config->agent_fd < 3)
        return usage(error, "no descriptor for the monitor or the agent");
    if (config->n_disks > QEMU_DISKS_MAX)
        return usage(error, "too many disks");
    for (size_t i = 0; i < config->n_disks && r == 0; i++)
        r = check_disk(&config->disks[i], error);
    if (r == 0)
        r = check_network(config, error);
    return r == 0 ? check_boot(config, error) : r;
}

/* Parts of the command line */

static void add_machine(const QemuConfig *config, StrList *argv) {
    bool tcg = str_equal(config->accel, "tcg");

    strlist_add(argv, config->binary);
    strlist_add(argv, "-M");
    strlist_add_format(argv, "%s,memory-backend=ram0",
                       qemu_machine_options(config->machine, config->accel));
    strlist_add_many(argv, "-accel", tcg ? "tcg,thread=multi" : "kvm", NULL);
    strlist_add_many(argv, "-cpu", config->cpu ? config->cpu : qemu_default_cpu(config->accel),
                     NULL);
    strlist_add(argv, "-smp");
    strlist_add_format(argv, "%u", config->cpus);
    strlist_add(argv, "-m");
    strlist_add_format(argv, "%lluM", (unsigned long long)(config->memory_bytes / MIB));
    strlist_add_many(argv, "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
                     NULL);
    strlist_add_many(argv, "-sandbox",
                     "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
                     NULL);
}

/* share=off maps the file privately: what the guest writes never reaches it. */
static void add_memory(const QemuConfig *config, StrList *argv) {
    strlist_add(argv, "-object");
    strlist_add_format(
        argv, "memory-backend-file,id=ram0,size=%lluM,mem-path=/proc/self/fd/%d,share=off%s",
        (unsigned long long)(config->memory_bytes / MIB), config->memory_fd,
        config->memory_readonly_rom ? ",readonly=on,rom=off" : "");
}

static void add_socket(StrList *argv, const char *id, int fd) {
    strlist_add(argv, "-chardev");
    strlist_add_format(argv, "socket,id=%s,fd=%d", id, fd);
}

static void add_monitor(const QemuConfig *config, StrList *argv) {
    add_socket(argv, "qmp", config->qmp_fd);
    strlist_add_many(argv, "-mon", "chardev=qmp,mode=control", NULL);
}

static void add_console(const QemuConfig *config, StrList *argv) {
    if (config->console_fd < 0)
        return;
    add_socket(argv, "console", config->console_fd);
    strlist_add_many(argv, "-serial", "chardev:console", NULL);
}

static void add_agent(const QemuConfig *config, StrList *argv) {
    add_socket(argv, "agent", config->agent_fd);
    strlist_add_many(argv, "-device", "virtio-serial-device,id=serial0", "-device",
                     "virtserialport,id=agent0,bus=serial0.0,chardev=agent,name=" QEMU_AGENT_PORT,
                     NULL);
}

static void add_fd_to_set(StrList *argv, int fd, unsigned set) {
    strlist_add(argv, "-add-fd");
    strlist_add_format(argv, "fd=%d,set=%u", fd, set);
}

/* The file below a node. Only what may be written is locked: what is below is read by many VMs,
 * also by clones of the VM that wrote it, whose QEMU keeps its lock for as long as it lives. */
static json_t *disk_file_node(bool writable, unsigned set) {
    char path[32];

    (void)snprintf(path, sizeof(path), "/dev/fdset/%u", set);
    return json_pack("{s:s, s:s, s:s, s:s}", "driver", "file", "filename", path, "locking",
                     writable ? "auto" : "off", "discard", writable ? "unmap" : "ignore");
}

/* The node tree of a disk, from the base up; each file's backing file is given, so that QEMU never
 * follows the path in a qcow2 header: for the last one "backing": null says that there is none. */
static json_t *disk_node(const QemuDisk *disk, size_t index, size_t layer) {
    bool writable = layer == 0 && !disk->read_only;
    bool qcow2 = str_equal(disk->files[layer].format, "qcow2");
    char name[QEMU_NODE_NAME_SIZE];
    int r = 0;
    json_t *node;

    qemu_disk_node(index, layer, name);
    node = json_pack("{s:s, s:s, s:b, s:s, s:o}", "driver", disk->files[layer].format, "node-name",
                     name, "read-only", !writable, "discard", writable ? "unmap" : "ignore", "file",
                     disk_file_node(writable, qemu_disk_fdset(index, layer)));
    if (writable)
        r |= json_object_set_new(node, "detect-zeroes", json_string("unmap"));
    if (layer + 1 < disk->n_files)
        r |= json_object_set_new(node, "backing", disk_node(disk, index, layer + 1));
    else if (qcow2)
        r |= json_object_set_new(node, "backing", json_null());
    if (!node || r < 0)
        abort();
    return node;
}

static void add_disk(const QemuDisk *disk, size_t index, StrList *argv) {
    _cleanup_json_ json_t *node = disk_node(disk, index, 0);
    _cleanup_free_ char *text = json_to_text(node);
    char name[QEMU_NODE_NAME_SIZE];

    for (size_t i = 0; i < disk->n_files; i++) {
        add_fd_to_set(argv, disk->files[i].fd, qemu_disk_fdset(index, i));
        if (disk->files[i].fd_write >= 0)
            add_fd_to_set(argv, disk->files[i].fd_write, qemu_disk_fdset(index, i));
    }
    qemu_disk_node(index, 0, name);
    strlist_add_many(argv, "-blockdev", text, "-device", NULL);
    strlist_add_format(argv, "virtio-blk-device,id=disk%zu,drive=%s%s%s", index, name,
                       disk->serial[0] ? ",serial=" : "", disk->serial);
}

static void add_user_netdev(const QemuConfig *config, StrList *argv) {
    StrBuf text = {0};

    strbuf_add_text(&text, "user,id=" QEMU_NETDEV_ID ",net=" QEMU_USER_NET
                           ",dhcpstart=" QEMU_USER_GUEST ",ipv6=off,restrict=off");
    for (size_t i = 0; i < config->n_forwards; i++) {
        const QemuForward *forward = &config->forwards[i];

        strbuf_add_format(&text, ",hostfwd=%s:%s:%u-" QEMU_USER_GUEST ":%u",
                          forward->udp ? "udp" : "tcp", forward->host_ip, forward->host_port,
                          forward->guest_port);
    }
    strlist_add_many(argv, "-netdev", text.data, NULL);
    strbuf_free(&text);
}

static void add_network(const QemuConfig *config, StrList *argv) {
    const uint8_t *mac = config->mac;
    bool cable = config->network != QEMU_NETWORK_NONE;

    if (!config->network_card)
        return;
    if (config->network == QEMU_NETWORK_USER)
        add_user_netdev(config, argv);
    if (config->network == QEMU_NETWORK_TAP) {
        strlist_add(argv, "-netdev");
        strlist_add_format(argv, "tap,id=" QEMU_NETDEV_ID ",fd=%d,vhost=off", config->tap_fd);
    }
    strlist_add(argv, "-device");
    strlist_add_format(argv,
                       "virtio-net-device,id=" QEMU_NIC_ID
                       "%s,guest_announce=off,mac=%02x:%02x:%02x:%02x:%02x:%02x",
                       cable ? ",netdev=" QEMU_NETDEV_ID : "", mac[0], mac[1], mac[2], mac[3],
                       mac[4], mac[5]);
}

/* migration.send-configuration=off: the state that xen-save-devices-state writes has no such
 * section. */
static void add_boot(const QemuConfig *config, StrList *argv) {
    strlist_add_many(argv, "-global", "migration.send-configuration=off", NULL);
    if (config->incoming) {
        strlist_add_many(argv, "-incoming", "defer", NULL);
        return;
    }
    strlist_add(argv, "-kernel");
    strlist_add_format(argv, "/proc/self/fd/%d", config->kernel_fd);
    if (config->initrd_fd >= 0) {
        strlist_add(argv, "-initrd");
        strlist_add_format(argv, "/proc/self/fd/%d", config->initrd_fd);
    }
    strlist_add_many(argv, "-append",
                     config->cmdline ? config->cmdline : qemu_default_cmdline(config->accel), NULL);
}

int qemu_build_argv(const QemuConfig *config, StrList *argv, Error *error) {
    int r = check_config(config, error);

    if (r < 0)
        return r;
    add_machine(config, argv);
    add_memory(config, argv);
    add_monitor(config, argv);
    add_console(config, argv);
    add_agent(config, argv);
    for (size_t i = 0; i < config->n_disks; i++)
        add_disk(&config->disks[i], i, argv);
    add_network(config, argv);
    add_boot(config, argv);
    return 0;
}
