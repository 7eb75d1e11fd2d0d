/* SPDX-License-Identifier: Apache-2.0 */

/* The plan of a start, and the open files that travel with it: a boot gets the kernel and blank
 * memory; a restore gets a snapshot's memory and device state, and the nonce and counter that prove
 * it. */

#include "run/launch_plan.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/str.h"
#include "frozen/blank.h"
#include "frozen/network_device.h"
#include "frozen/restore_memory.h"
#include "frozen/snapshot_files.h"
#include "home/home.h"
#include "home/identity.h"
#include "home/inside.h"
#include "home/row.h"
#include "image/context.h"
#include "image/firmware.h"
#include "image/initramfs.h"
#include "image/kernel_bundle.h"
#include "network/lease.h"
#include "network/tap.h"
#include "proto/plan.h"
#include "proto/user_network.h"
#include "qemu/argv.h"
#include "qemu/features.h"
#include "qemu/machine.h"
#include "run/launch_disks.h"
#include "run/launch_firmware.h"
#include "run/launch_ssh.h"
#include "storage/config_disk.h"
#include "store/networks.h"
#include "store/snapshots.h"
#include "store/vms.h"

#define CMDLINE_SIZE 2048 /* COMMAND_LINE_SIZE of x86 */
#define CONSOLE_MAX_BYTES (4 * MIB)
#define SILENCE_CPU_SEC 8 /* under emulation; and a quarter more for each virtual CPU */

void launch_free(Launch *launch) {
    qemu_features_free(&launch->features);
    (void)fd_close(launch->dir_fd);
    launch_files_close(&launch->files);
    plan_free(&launch->plan);
}

/* 128 random bits, as systemd wants them. */
static const char *machine_id(const VmRow *row) {
    return *row->runtime.machine_id ? row->runtime.machine_id : row->id;
}

/* Nothing of it is the VM's: others go on from what it is when it waits. */
static void plan_waiting(Launch *launch) {
    launch->plan.kernel_only = true;
    launch->plan.cmdline = str_format("%s ramet.wait=disks", qemu_default_cmdline(launch->accel));
}

static int plan_cmdline(Launch *launch, Error *error) {
    StrBuf text = {0};
    strbuf_add_format(&text, "%s systemd.machine_id=%s systemd.hostname=%s%s",
                      qemu_default_cmdline(launch->accel), machine_id(launch->row),
                      launch->row->runtime.hostname,
                      launch->row->spec.agent_is_init ? " ramet.init=agent" : "");
    launch_add_mounts(launch->row, &text);
    launch->plan.cmdline = strbuf_steal(&text);
    if (strlen(launch->plan.cmdline) < CMDLINE_SIZE)
        return 0;
    return error_set(error, ERROR_USAGE, E2BIG,
                     "the paths of its disks are too long for the kernel's command line");
}

static bool has_config_disk(const VmRow *row) {
    bool found = false;
    for (size_t i = 0; i < row->spec.mounts.count; i++)
        found |= row->spec.mounts.items[i].kind == VM_MOUNT_CONFIG;
    return found;
}

static int plan_kernel(Launch *launch, Error *error) {
    ImageContext context = {.home = launch->home->path, .cancel_fd = launch->operation->cancel_fd};
    _cleanup_kernel_bundle_ KernelBundle bundle = {0};
    _cleanup_free_ char *initramfs = NULL, *key = NULL;
    Plan *plan = &launch->plan;
    int r;
    r = kernel_bundle_open(launch->home->path, launch->row->runtime.kernel_key, &bundle, error);
    if (r >= 0)
        r = initramfs_ensure(&context, &bundle, launch->home->agent, has_config_disk(launch->row),
                             &initramfs, &key, error);
    if (r >= 0)
        r = launch_files_open(&launch->files, AT_FDCWD, bundle.vmlinux, O_RDONLY, &plan->kernel_fd,
                              error);
    if (r >= 0)
        r = launch_files_open(&launch->files, AT_FDCWD, initramfs, O_RDONLY, &plan->initrd_fd,
                              error);
    if (r < 0)
        return error_add_context(error, "the kernel");
    str_set(launch->row->runtime.initramfs_key, key);
    if (!row_is_booted_kernel(launch->row))
        return plan_cmdline(launch, error);
    plan_waiting(launch);
    return 0;
}

static int note_memory(Launch *launch, int fd, const char *name, Error *error) {
    struct stat info;
    if (fstat(fd, &info) < 0)
        return error_set_errno(error, errno, "cannot look at the memory base");
    str_replace(&launch->row->runtime.memory_base, name);
    launch->row->runtime.memory_inode = info.st_ino;
    return 0;
}

static int plan_blank_memory(Launch *launch, Error *error) {
    _cleanup_free_ char *name = NULL;
    int fd, r = blank_open(launch->home, &launch->features, launch->row->spec.memory_bytes,
                           launch->operation->cancel_fd, &fd, &name, error);
    if (r < 0)
        return r;
    launch->plan.memory_fd = launch_files_add(&launch->files, fd);
    return note_memory(launch, fd, name, error);
}

static int plan_saved_memory(Launch *launch, Error *error) {
    _cleanup_restore_memory_ RestoreMemory memory = {0};
    _cleanup_error_ Error trouble = ERROR_INIT;
    VmRow *row = launch->row;
    Plan *plan = &launch->plan;
    int r = restore_memory_open(launch->home, &launch->features, launch->restore->snapshot,
                                launch->restore->clone, &memory, &trouble, error);
    if (r >= 0)
        r = note_memory(launch, memory.fd, memory.name, error);
    if (r < 0)
        return r;
    plan->memory_fd = launch_files_add(&launch->files, TAKE_FD(memory.fd));
    for (; plan->n_patches < memory.n_patches; plan->n_patches++)
        plan->patch_fds[plan->n_patches] =
            launch_files_add(&launch->files, TAKE_FD(memory.patches[plan->n_patches]));
    str_set(row->runtime.memory_snapshot, launch->restore->snapshot->id);
    str_set(row->runtime.memory_owner, memory.owner);
    row->runtime.memory_adopted = false;
    if (trouble.kind != ERROR_NONE)
        json_replace(&row->runtime.fallback,
                     row_tell_fallback(launch->home, launch->operation, row,
                                       "its clones cannot share all of its memory", &trouble));
    return 0;
}

int launch_plan_memory(Launch *launch, Error *error) {
    launch->plan.memory_bytes = launch->row->spec.memory_bytes;
    launch->plan.memory_readonly_rom = launch->features.memory_rom;
    return launch->restore ? plan_saved_memory(launch, error) : plan_blank_memory(launch, error);
}

static int plan_state(Launch *launch, Error *error) {
    const SnapshotRow *snapshot = launch->restore->snapshot;
    int fd, r;
    r = snapshot_open_file(launch->home, snapshot, &snapshot->data.files.state, &fd, NULL, error);
    if (r >= 0)
        launch->plan.state_fd = launch_files_add(&launch->files, fd);
    return r;
}

/* The device state is small: it is read whole, so that a flipped bit never meets QEMU. */
static int check_state(const Launch *launch, Error *error) {
    const SnapshotFile *file = &launch->restore->snapshot->data.files.state;
    char found[SHA256_HEX_SIZE];
    int r = sha256_file(launch->files.fds[launch->plan.state_fd], found, error);
    if (r >= 0 && !str_equal(found, file->sha256))
        r = error_set(error, ERROR_CORRUPT, EBADMSG,
                      "the device state of the snapshot is not what was saved (SHA-256)");
    return r;
}

/* What of a snapshot a restore needs beside its memory base. */
static int plan_restore(Launch *launch, Error *error) {
    const SnapshotRow *snapshot = launch->restore->snapshot;
    Plan *plan = &launch->plan;
    int r;
    plan->boot = PLAN_BOOT_RESTORE;
    plan->kernel_only = launch->restore->kernel_only;
    plan->start_paused = launch->restore->paused;
    plan->counter = snapshot->data.counter;
    plan->mailbox = snapshot->data.mailbox;
    if (hex_decode(snapshot->data.marker, plan->marker, sizeof(plan->marker)) < 0 ||
        hex_decode(snapshot->data.ram_nonce, plan->ram_nonce, sizeof(plan->ram_nonce)) < 0)
        return error_set(error, ERROR_CORRUPT, EBADMSG, "the snapshot's marker cannot be read");
    r = plan_state(launch, error);
    if (r >= 0)
        r = check_state(launch, error);
    if (r >= 0 && plan->kernel_only)
        r = plan_cmdline(launch, error);
    if (r < 0)
        return r;
    str_set(launch->row->runtime.boot, launch->restore->boot);
    return 0;
}

static void parse_mac(const char *text, uint8_t mac[6]) {
    (void)sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4],
                 &mac[5]);
}

/* A clone may be in fewer networks than its source, and has its cards all the same. */
static const char *card_network(const VmRow *row, size_t index) {
    return index < row->spec.cards.count ? row->spec.cards.items[index].network : "none";
}

/* What is behind a card: what the VM is in, as far as the state lets it. */
static PlanCard choose_network(Home *home, const VmRow *row, size_t index) {
    const char *network = card_network(row, index), *device = row->runtime.network_device;
    PlanCard card = {.fd = PLAN_NO_FD, .peer_fd = PLAN_NO_FD};
    bool user_state = network_device_is_user(device, index);
    if (!str_equal(network, "none")) {
        bool tap = vm_network_is_named(network) && network_wants_tap(home, network);
        card.network = tap ? PLAN_NETWORK_TAP : PLAN_NETWORK_DGRAM;
        card.user_state = user_state;
    } else if (user_state || network_device_is_dgram(device, index)) {
        card.network = PLAN_NETWORK_DGRAM;
        card.user_state = user_state;
        card.unplugged = true;
    }
    return card;
}

/* What the card is called in the guest. A switch translates, so there it stays what it was when the
 * guest was frozen, unless another is asked for: that a kernel changes it takes as long as half of
 * all else that a clone does until it is ready. `frozen`: what it was; "" for a guest that boots.
 */
static void choose_mac(const Launch *launch, size_t index, const PlanCard *card, const char *frozen,
                       char mac[18]) {
    const VmRow *row = launch->row;
    VmAddress address = vm_address(row, index);
    bool translated = card->network == PLAN_NETWORK_DGRAM && !card->unplugged &&
                      !*row->spec.cards.items[index].mac;
    /* by which the agent of a booted kernel finds its cards */
    bool keeps = launch->restore && (launch->restore->keep || launch->restore->kernel_only);
    if ((translated || keeps) && guest_macs_get(frozen, index, mac))
        return;
    if (!*address.mac)
        identity_mac(address.mac);
    (void)snprintf(mac, sizeof(address.mac), "%s", address.mac);
}

static void plan_card(const Launch *launch, size_t index, const char *frozen, PlanCard *card) {
    VmRow *row = launch->row;
    char mac[18];
    *card = choose_network(launch->home, row, index);
    choose_mac(launch, index, card, frozen, mac);
    guest_macs_add(row->runtime.guest_macs, mac);
    parse_mac(mac, card->mac);
}

/* A clone that is claimed has its own from before. */
static const char *frozen_macs(const Launch *launch) {
    const Restore *restore = launch->restore;
    if (!restore)
        return "";
    return restore->snapshot ? restore->snapshot->data.guest_macs : launch->row->runtime.guest_macs;
}

static void plan_cards(Launch *launch) {
    Plan *plan = &launch->plan;
    VmRuntime *run = &launch->row->runtime;
    char frozen[GUEST_MACS_SIZE];
    str_set(frozen, frozen_macs(launch));
    run->guest_macs[0] = '\0';
    plan->n_cards = MIN_OF(network_device_count(run->network_device), ARRAY_SIZE(plan->cards));
    for (size_t i = 0; i < plan->n_cards; i++)
        plan_card(launch, i, frozen, &plan->cards[i]);
}

/* One end is QEMU's, the other for who forwards the frames. Where nobody does, it is closed: QEMU
 * then drops what the guest sends. */
static int plan_pair(Launch *launch, PlanCard *card, Error *error) {
    int pair[2], r = fd_socketpair(SOCK_DGRAM | SOCK_NONBLOCK, pair);
    if (r < 0)
        return error_set_errno(error, -r, "cannot make the sockets of a network card");
    card->fd = launch_files_add(&launch->files, pair[0]);
    if (card->unplugged)
        (void)fd_close(pair[1]);
    else
        card->peer_fd = launch_files_add(&launch->files, pair[1]);
    return 0;
}

static int plan_tap(Launch *launch, size_t index, Error *error) {
    int fd, r = network_take_tap(launch->home, launch->row, index, &fd, error);
    if (r >= 0)
        launch->plan.cards[index].fd = launch_files_add(&launch->files, fd);
    return r;
}

static int plan_devices(Launch *launch, Error *error) {
    Plan *plan = &launch->plan;
    int r = 0;
    launch->row->runtime.user_switched = true;
    for (size_t i = 0; r >= 0 && i < plan->n_cards; i++) {
        if (plan->cards[i].network == PLAN_NETWORK_DGRAM)
            r = plan_pair(launch, &plan->cards[i], error);
        else if (plan->cards[i].network == PLAN_NETWORK_TAP)
            r = plan_tap(launch, i, error);
    }
    return r;
}

/* A version 4 UUID (RFC 9562, section 5.4). */
static void make_boot_id(char text[37]) {
    uint8_t id[16];
    char hex[33];
    random_bytes(id, sizeof(id));
    id[6] = (uint8_t)((id[6] & 0x0f) | 0x40);
    id[8] = (uint8_t)((id[8] & 0x3f) | 0x80);
    hex_encode(id, sizeof(id), hex);
    (void)snprintf(text, 37, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16,
                   hex + 20);
}

/* A clone becomes another; who resumes stays who it was, and so does, to those around it, a clone
 * that keeps its names. */
static void plan_clone(PlanIdentity *identity, bool keep) {
    identity->clone = true;
    make_boot_id(identity->boot_id);
    identity->keep = keep;
    identity->run_hooks = !keep;
}

static void add_dns(PlanIdentity *identity, const char *server) {
    size_t count = identity->n_further_dns;
    if (!*identity->dns) {
        str_set(identity->dns, server);
    } else if (count < ARRAY_SIZE(identity->further_dns)) {
        str_set(identity->further_dns[count], server);
        identity->n_further_dns++;
    }
}

/* The way out is by the first card that has one. */
static bool has_gateway(const PlanIdentity *identity) {
    bool found = *identity->first.gateway;
    for (size_t i = 0; i < identity->n_further; i++)
        found |= *identity->further[i].gateway != '\0';
    return found;
}

static void plan_user_address(const VmAddress *known, PlanAddress *address,
                              PlanIdentity *identity) {
    str_set(address->ip, known->ip);
    address->prefix = USER_NETWORK_PREFIX;
    if (!has_gateway(identity))
        str_set(address->gateway, USER_NETWORK_GATEWAY);
    add_dns(identity, USER_NETWORK_DNS);
}

/* Its gateway knows the names of its VMs, and is the way out where there is one. */
static void plan_leased_address(Store *store, const char *name, VmAddress *known,
                                PlanAddress *address, PlanIdentity *identity) {
    _cleanup_network_row_ NetworkRow network = {0};
    if (networks_get(store, name, &network, NULL) < 0)
        return;
    if (!*known->ip)
        network_spare_address(&network, known);
    str_set(address->ip, known->ip);
    str_set(address->ip6, known->ip6);
    address->prefix = network.data.prefix;
    address->prefix6 = network.data.prefix6;
    if (!network.data.no_uplink && !has_gateway(identity)) {
        str_set(address->gateway, network.data.gateway);
        str_set(address->gateway6, network.data.gateway6);
    }
    add_dns(identity, network.data.gateway);
    if (!*identity->search)
        (void)snprintf(identity->search, sizeof(identity->search), "%s.ramet",
                       name_within_lab(name));
}

static void plan_address(const Launch *launch, size_t index, PlanIdentity *identity) {
    PlanAddress *address = index > 0 ? &identity->further[index - 1] : &identity->first;
    const PlanCard *card = &launch->plan.cards[index];
    const char *name = card_network(launch->row, index);
    VmAddress known = vm_address(launch->row, index);
    memcpy(address->mac, card->mac, sizeof(address->mac));
    if (vm_network_is_named(name))
        plan_leased_address(launch->home->store, name, &known, address, identity);
    else if (str_equal(name, "user"))
        plan_user_address(&known, address, identity);
}

static void plan_identity(Launch *launch) {
    PlanIdentity *identity = &launch->plan.identity;
    const VmRow *row = launch->row;
    const Plan *plan = &launch->plan;
    (void)snprintf(identity->hostname, sizeof(identity->hostname), "%s", row->runtime.hostname);
    (void)snprintf(identity->machine_id, sizeof(identity->machine_id), "%s", machine_id(row));
    /* a clone's disk grows after that: machine/resize_disk.c */
    identity->grow_root = !launch->restore || launch->restore->kernel_only;
    if (launch->restore && launch->restore->clone)
        plan_clone(identity, launch->restore->keep);
    if (launch->restore && launch->restore->clone && launch->restore->snapshot)
        config_disk_changed(&launch->restore->snapshot->data.spec.mounts, &row->spec.mounts,
                            identity->changed_disk, sizeof(identity->changed_disk));
    launch_plan_ssh(launch->home, launch->row, launch->restore, identity);
    identity->n_further = plan->n_cards > 0 ? plan->n_cards - 1 : 0;
    for (size_t i = 0; i < plan->n_cards; i++)
        plan_address(launch, i, identity);
}

/* Who has less than a CPU takes longer. */
static void plan_limits(const VmLimits *limits, Plan *plan) {
    uint64_t cpu = limits->cpu_thousandths;
    plan->io_bytes = limits->io_bytes;
    plan->io_ops = limits->io_ops;
    if (cpu && cpu < 1000) {
        plan->silence_timeout_usec = plan->silence_timeout_usec * 1000 / cpu;
        plan->ready_timeout_usec = plan->ready_timeout_usec * 1000 / cpu;
    }
}

static void plan_keeper(Launch *launch) {
    const Home *home = launch->home;
    Plan *plan = &launch->plan;
    bool fast = str_equal(launch->accel, "kvm");
    uint64_t silence = (fast ? 45 : 240) * USEC_PER_SEC, ready = (fast ? 180 : 900) * USEC_PER_SEC;
    plan->console_max_bytes = CONSOLE_MAX_BYTES;
    plan->uid = plan->gid = launch->row->uid;
    plan->silence_timeout_usec = home->silence_timeout_usec ? home->silence_timeout_usec : silence;
    plan->silence_cpu_usec =
        fast ? 0
             : (SILENCE_CPU_SEC + SILENCE_CPU_SEC / 4 * launch->row->spec.cpus) * USEC_PER_SEC
                   << launch->earlier;
    plan->ready_timeout_usec = home->ready_timeout_usec ? home->ready_timeout_usec : ready;
    if (firmware_is(launch->row->runtime.kernel_key))
        launch_firmware_bounds(home, plan);
    plan_limits(&launch->row->spec.limits, plan);
    plan->remove_on_exit = launch->row->remove && launch->row->attached;
}

void launch_plan_who(Launch *launch) {
    plan_cards(launch);
    plan_identity(launch);
    plan_keeper(launch);
}

/* A state loads only into the machine that it was saved from. */
static void plan_machine(Launch *launch) {
    Plan *plan = &launch->plan;
    const char *machine =
        plan->firmware    ? QEMU_MACHINE_PC
        : launch->restore ? qemu_machine_with(launch->restore->snapshot->data.facts.machine_options,
                                              launch->accel)
                          : qemu_machine_for(plan->n_disks, plan->n_cards);
    (void)snprintf(plan->machine, sizeof(plan->machine), "%s", str_or_empty(machine));
}

int launch_make_plan(Launch *launch, Error *error) {
    Plan *plan = &launch->plan;
    int r;
    (void)snprintf(plan->vm_id, sizeof(plan->vm_id), "%s", launch->row->id);
    (void)snprintf(plan->name, sizeof(plan->name), "%s", launch->row->name);
    (void)snprintf(plan->accel, sizeof(plan->accel), "%s", launch->accel);
    (void)snprintf(plan->cpu, sizeof(plan->cpu), "%s", qemu_default_cpu(launch->accel));
    plan->qemu = str_copy(launch->features.binary);
    plan->cpus = launch->row->spec.cpus;
    plan->boot = PLAN_BOOT_COLD;
    launch_plan_who(launch);
    r = plan_devices(launch, error);
    if (r >= 0)
        r = launch_plan_disks(launch->home, launch->row, launch->dir_fd, &launch->files, plan,
                              launch->restore != NULL, error);
    if (r >= 0)
        r = launch_plan_firmware(launch->home, launch->operation, launch->row, launch->restore,
                                 launch->dir_fd, &launch->files, plan, error);
    if (r >= 0)
        plan_machine(launch);
    if (r >= 0 && launch->restore)
        r = plan_restore(launch, error);
    else if (r >= 0 && !plan->firmware)
        r = plan_kernel(launch, error);
    if (r >= 0)
        r = launch_files_open(&launch->files, launch->dir_fd, ".", O_RDONLY | O_DIRECTORY,
                              &plan->console_dir_fd, error);
    return r;
}
