/* SPDX-License-Identifier: Apache-2.0 */

/* Order matters: the device list, in its order, decides where each device sits on the bus, and a
 * saved device state fits only the same list. So everything below comes in one fixed order, and a
 * restore leaves out only what is no device (kernel, initramfs, command line). */

#include "qemu/argv.h"
#include "qemu/machine.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "proto/agent.h"

void qemu_disk_node(size_t disk, size_t layer, char name[QEMU_NODE_NAME_SIZE]) {
    (void)snprintf(name, QEMU_NODE_NAME_SIZE, "disk%zu-%zu", disk, layer);
}

void qemu_netdev(size_t card, char name[QEMU_NETDEV_NAME_SIZE]) {
    (void)snprintf(name, QEMU_NETDEV_NAME_SIZE, "net%zu", card);
}

unsigned qemu_disk_fdset(size_t disk, size_t layer) {
    return (unsigned)(1 + disk * PLAN_CHAIN_MAX + layer);
}

_Static_assert(1 + PLAN_DISKS_MAX * PLAN_CHAIN_MAX <= QEMU_FDSET_FREE, "descriptor sets overlap");

/* hw/i386/microvm.c, microvm_memory_init; hw/i386/pc_q35.c, pc_q35_init: all below 2.75 GiB, or
 * 2 GiB of what is more. */
uint64_t qemu_memory_hole(const Plan *plan) {
    if (!plan->firmware)
        return 3 * GIB;
    return plan->memory_bytes >= 0xb0000000u ? 2 * GIB : 0xb0000000u;
}

#define FDSET_CODE 900u
#define FDSET_CODE_TEXT "900"
#define FDSET_VARIABLES 901u
#define FDSET_VARIABLES_TEXT "901"

_Static_assert(1 + PLAN_DISKS_MAX * PLAN_CHAIN_MAX <= FDSET_CODE, "descriptor sets overlap");

static void add_machine(const Plan *plan, StrList *argv) {
    bool tcg = str_equal(plan->accel, "tcg");
    strlist_add(argv, plan->qemu);
    strlist_add(argv, "-M");
    strlist_add_format(
        argv, "%s,memory-backend=ram0%s", qemu_machine_options(plan->machine, plan->accel),
        plan->firmware == PLAN_FIRMWARE_UEFI ? ",pflash0=flash0,pflash1=flash1" : "");
    strlist_add_many(argv, "-accel", tcg ? "tcg,thread=multi" : "kvm", NULL);
    strlist_add_many(argv, "-cpu", plan->cpu[0] ? plan->cpu : qemu_default_cpu(plan->accel), NULL);
    strlist_add(argv, "-smp");
    strlist_add_format(argv, "%u", plan->cpus);
    strlist_add(argv, "-m");
    strlist_add_format(argv, "%lluM", (unsigned long long)(plan->memory_bytes / MIB));
    strlist_add_many(argv, "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
                     NULL);
    strlist_add_many(argv, "-sandbox",
                     "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
                     NULL);
}

/* share=off maps the file privately: what the guest writes never reaches it. merge=off: that VMs
 * have equal pages is for none of them to find out, and moving memory would look at each page. */
static void add_memory(const Plan *plan, StrList *argv) {
    strlist_add(argv, "-object");
    strlist_add_format(
        argv,
        "memory-backend-file,id=ram0,size=%lluM,mem-path=/proc/self/fd/%d,share=off,merge=off%s",
        (unsigned long long)(plan->memory_bytes / MIB), plan->memory_fd,
        plan->memory_readonly_rom ? ",readonly=on,rom=off" : "");
}

static void add_socket(StrList *argv, const char *id, int fd) {
    strlist_add(argv, "-chardev");
    strlist_add_format(argv, "socket,id=%s,fd=%d", id, fd);
}

static void add_monitor(const QemuSockets *sockets, StrList *argv) {
    add_socket(argv, "qmp", sockets->qmp);
    strlist_add_many(argv, "-mon", "chardev=qmp,mode=control", NULL);
}

static void add_console(const QemuSockets *sockets, StrList *argv) {
    if (sockets->console < 0)
        return;
    add_socket(argv, "console", sockets->console);
    strlist_add_many(argv, "-serial", "chardev:console", NULL);
}

/* The transport of a virtio device: on a PCI bus a modern device only, which needs no I/O ports. */
static const char *transport(const Plan *plan) {
    return plan->firmware ? "pci,disable-legacy=on" : "device";
}

static void add_agent(const Plan *plan, const QemuSockets *sockets, StrList *argv) {
    add_socket(argv, "agent", sockets->agent);
    strlist_add(argv, "-device");
    strlist_add_format(argv, "virtio-serial-%s,id=serial0", transport(plan));
    strlist_add_many(
        argv, "-device",
        "virtserialport,id=agent0,bus=serial0.0,chardev=agent,name=" AGENT_CHANNEL_NAME, NULL);
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
static json_t *disk_node(const PlanDisk *disk, size_t index, size_t layer) {
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

static void add_disk(const Plan *plan, size_t index, StrList *argv) {
    const PlanDisk *disk = &plan->disks[index];
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
    strlist_add_format(argv, "virtio-blk-%s,id=disk%zu,drive=%s%s%s%s", transport(plan), index,
                       name, disk->serial[0] ? ",serial=" : "", disk->serial,
                       plan->firmware && index == 0 ? ",bootindex=0" : "");
}

#define QEMU_STATE_NET "10.0.2.0/24"

/* Frames as datagrams, or a TAP device, which has no header of offloads: so both give the card the
 * same features. A state of an earlier version may have a section of the user-mode network that
 * its card was in, which finds its like in one that nothing is plugged into. */
static void add_fd_netdev(const PlanCard *card, size_t index, StrList *argv) {
    bool tap = card->network == PLAN_NETWORK_TAP;
    if (card->user_state) {
        strlist_add(argv, "-netdev");
        strlist_add_format(argv, "user,id=state%zu,net=" QEMU_STATE_NET ",ipv6=off,restrict=on",
                           index);
    }
    strlist_add(argv, "-netdev");
    strlist_add_format(
        argv, tap ? "tap,id=net%zu,fd=%d,vhost=off" : "dgram,id=net%zu,local.type=fd,local.str=%d",
        index, card->fd);
}

/* Nobody boots from a card: its ROM would be one more thing to copy. */
static void add_card(const Plan *plan, size_t index, StrList *argv) {
    const PlanCard *card = &plan->cards[index];
    _cleanup_free_ char *cable = str_format(",netdev=net%zu", index);
    const uint8_t *mac = card->mac;
    if (card->network != PLAN_NETWORK_NONE)
        add_fd_netdev(card, index, argv);
    strlist_add(argv, "-device");
    strlist_add_format(argv,
                       "virtio-net-%s%s,id=nic%zu%s,guest_announce=off,"
                       "mac=%02x:%02x:%02x:%02x:%02x:%02x",
                       transport(plan), plan->firmware ? ",romfile=" : "", index,
                       card->network == PLAN_NETWORK_NONE ? "" : cable, mac[0], mac[1], mac[2],
                       mac[3], mac[4], mac[5]);
}

/* UEFI's code, which all read, and its variables, which are the VM's own, as two flash chips. */
static void add_flash(const Plan *plan, StrList *argv) {
    if (plan->firmware != PLAN_FIRMWARE_UEFI)
        return;
    add_fd_to_set(argv, plan->firmware_fd, FDSET_CODE);
    add_fd_to_set(argv, plan->variables_fd, FDSET_VARIABLES);
    strlist_add_many(argv, "-blockdev",
                     "driver=raw,node-name=flash0,read-only=on,file.driver=file,file.locking=off,"
                     "file.filename=/dev/fdset/" FDSET_CODE_TEXT,
                     "-blockdev",
                     "driver=raw,node-name=flash1,file.driver=file,file.filename=/dev/"
                     "fdset/" FDSET_VARIABLES_TEXT,
                     NULL);
}

/* A QEMU that waits for a state does not load its firmware, and the firmware is not in the state.
 * But it is by a jump to the firmware's first line (real mode, F000:FFF0) that a kernel resets this
 * machine, and in a blank one it ran through zeroes for ever. So two instructions stand there,
 * which come to what the firmware does with such a jump: `lidt %cs:0` finds a table of no length;
 * then there is no handler for `int3`, nor for that fault, nor for the next, and such a CPU shuts
 * down, which QEMU takes for a reset. The loader is in no state, nor does it change the list of
 * devices. Seven bytes: with eight, some versions of QEMU abort. */
#define RESET_VECTOR "loader,addr=0xffff0,data-len=7,data=0xcc00001e010f2e"

/* migration.send-configuration=off: the state that xen-save-devices-state writes has no such
 * section. */
static void add_boot(const Plan *plan, StrList *argv) {
    strlist_add_many(argv, "-global", "migration.send-configuration=off", NULL);
    if (plan->boot == PLAN_BOOT_RESTORE) {
        if (!plan->firmware)
            strlist_add_many(argv, "-device", RESET_VECTOR, NULL);
        strlist_add_many(argv, "-incoming", "defer", NULL);
        return;
    }
    if (plan->firmware)
        return;
    strlist_add(argv, "-kernel");
    strlist_add_format(argv, "/proc/self/fd/%d", plan->kernel_fd);
    if (plan->initrd_fd >= 0) {
        strlist_add(argv, "-initrd");
        strlist_add_format(argv, "/proc/self/fd/%d", plan->initrd_fd);
    }
    strlist_add_many(argv, "-append",
                     plan->cmdline ? plan->cmdline : qemu_default_cmdline(plan->accel), NULL);
}

int qemu_build_argv(const Plan *plan, const QemuSockets *sockets, StrList *argv, Error *error) {
    if (!qemu_machine_options(plan->machine, plan->accel))
        return error_set(error, ERROR_USAGE, EINVAL,
                         "QEMU's machine %s or accelerator %s is unknown", plan->machine,
                         plan->accel);
    add_machine(plan, argv);
    add_memory(plan, argv);
    add_monitor(sockets, argv);
    add_console(sockets, argv);
    add_flash(plan, argv);
    add_agent(plan, sockets, argv);
    for (size_t i = 0; i < plan->n_disks; i++)
        add_disk(plan, i, argv);
    for (size_t i = 0; i < plan->n_cards; i++)
        add_card(plan, i, argv);
    add_boot(plan, argv);
    return 0;
}
