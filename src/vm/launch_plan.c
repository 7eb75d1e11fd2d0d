/* SPDX-License-Identifier: Apache-2.0 */

/* The plan of a start, and the open files that travel with it: a boot gets the kernel and blank
 * memory; a restore gets a snapshot's memory and device state, and the nonce and counter that prove
 * it. */

#include "vm/launch_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/digest.h"
#include "image/initramfs.h"
#include "qemu/argv.h"

#define CONSOLE_MAX_BYTES (4 * MIB)

static void files_close(LaunchFiles *files) {
    for (size_t i = 0; i < files->count; i++)
        (void)fd_close(files->fds[i]);
    files->count = 0;
}

/* Takes fd over. */
static PlanFd files_add(LaunchFiles *files, int fd) {
    if (files->count == LAUNCH_FILES_MAX)
        abort();
    files->fds[files->count] = fd;
    return (PlanFd)files->count++;
}

static int files_open(LaunchFiles *files, int dir_fd, const char *path, int flags, PlanFd *index,
                      Error *error) {
    int fd = openat(dir_fd, path, flags | O_CLOEXEC | O_NOCTTY);

    if (fd < 0)
        return error_set_errno(error, errno, "cannot open %s", path);
    *index = files_add(files, fd);
    return 0;
}

void launch_free(Launch *launch) {
    vm_spec_free(&launch->spec);
    qemu_features_free(&launch->features);
    (void)fd_close(launch->dir_fd);
    files_close(&launch->files);
    plan_free(&launch->plan);
}

static void take_chain(Launch *launch, LayerChain *chain, PlanDisk *disk) {
    for (size_t i = 0; i < chain->count; i++) {
        PlanDiskFile *file = &disk->files[disk->n_files++];

        *file = (PlanDiskFile){.fd_write = PLAN_NO_FD};
        file->fd = files_add(&launch->files, TAKE_FD(chain->files[i].fd));
        (void)snprintf(file->format, sizeof(file->format), "%s", chain->files[i].format);
    }
}

static int plan_disk(Launch *launch, Error *error) {
    _cleanup_layer_chain_ LayerChain chain = {0};
    PlanDisk *disk = &launch->plan.disks[0];
    PlanDiskFile *overlay = &disk->files[0];
    const char *name = vm_disk_file(launch->row);
    int r;

    *disk = (PlanDisk){.serial = "root", .n_files = 1};
    *overlay = (PlanDiskFile){.format = "qcow2"};
    r = files_open(&launch->files, launch->dir_fd, name, O_RDONLY, &overlay->fd, error);
    if (r >= 0)
        r = files_open(&launch->files, launch->dir_fd, name, O_RDWR, &overlay->fd_write, error);
    if (r >= 0)
        r = layer_chain_open(launch->ramet, row_text(launch->row, "layer"),
                             row_text(launch->row, "base"), &chain, error);
    if (r < 0)
        return error_add_context(error, "the disk");
    take_chain(launch, &chain, disk);
    launch->plan.n_disks = 1;
    return 0;
}

static int plan_kernel(Launch *launch, Error *error) {
    ImageContext context = {.home = launch->ramet->home, .cancel_fd = launch->operation->cancel_fd};
    _cleanup_kernel_bundle_ KernelBundle bundle = {0};
    _cleanup_free_ char *initramfs = NULL, *key = NULL;
    Plan *plan = &launch->plan;
    int r;

    r = kernel_bundle_open(launch->ramet->home, row_text(launch->row, "kernel_key"), &bundle,
                           error);
    if (r >= 0)
        r = initramfs_ensure(&context, &bundle, launch->ramet->agent, &initramfs, &key, error);
    if (r >= 0)
        r = files_open(&launch->files, AT_FDCWD, bundle.vmlinux, O_RDONLY, &plan->kernel_fd, error);
    if (r >= 0)
        r = files_open(&launch->files, AT_FDCWD, initramfs, O_RDONLY, &plan->initrd_fd, error);
    if (r < 0)
        return error_add_context(error, "the kernel");
    plan->cmdline = str_format("%s systemd.machine_id=%s systemd.hostname=%s",
                               qemu_default_cmdline(launch->accel), launch->row->id,
                               row_text(launch->row, "hostname"));
    row_set(launch->row, "initramfs_key", json_string(key));
    return 0;
}

static int note_memory(Launch *launch, int fd, const char *name, Error *error) {
    struct stat info;

    if (fstat(fd, &info) < 0)
        return error_set_errno(error, errno, "cannot look at the memory base");
    row_set(launch->row, "memory_base", json_string(name));
    row_set(launch->row, "memory_inode", json_integer((json_int_t)info.st_ino));
    return 0;
}

int launch_plan_memory(Launch *launch, Error *error) {
    Plan *plan = &launch->plan;
    _cleanup_free_ char *name = NULL;
    int fd, r;

    if (launch->restore)
        r = hot_memory_open(launch->ramet, &launch->features, launch->restore->snapshot, &fd, &name,
                            error);
    else
        r = blank_open(launch->ramet, &launch->features, launch->spec.memory_bytes,
                       launch->operation->cancel_fd, &fd, &name, error);
    if (r < 0)
        return r;
    plan->memory_fd = files_add(&launch->files, fd);
    plan->memory_bytes = launch->spec.memory_bytes;
    plan->memory_readonly_rom = launch->features.memory_rom;
    plan->memory_sealed = true;
    return note_memory(launch, fd, name, error);
}

static int plan_state(Launch *launch, Error *error) {
    int fd, r;

    r = snapshot_open_file(launch->ramet, launch->restore->snapshot, "state", &fd, NULL, error);
    if (r >= 0)
        launch->plan.state_fd = files_add(&launch->files, fd);
    return r;
}

static int plan_patch(Launch *launch, Error *error) {
    int fd, r = snapshot_open_memory(launch->ramet, launch->restore->snapshot, &fd, error);

    if (r < 0)
        return r;
    launch->plan.patch_fds[0] = files_add(&launch->files, fd);
    launch->plan.n_patches = 1;
    return 0;
}

/* The device state is small: it is read whole, so that a flipped bit never meets QEMU. */
static int check_state(const Launch *launch, Error *error) {
    const json_t *file = snapshot_file(launch->restore->snapshot, "state");
    const char *sha256 = json_string_value(json_object_get(file, "sha256"));
    char found[SHA256_HEX_SIZE];
    int r = sha256_file(launch->files.fds[launch->plan.state_fd], found, error);

    if (r >= 0 && !str_equal(found, sha256))
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
    plan->start_paused = launch->restore->paused;
    plan->counter = snapshot_u64(snapshot, "counter");
    plan->mailbox = snapshot_u64(snapshot, "mailbox");
    if (hex_decode(snapshot_text(snapshot, "marker"), plan->marker, sizeof(plan->marker)) < 0 ||
        hex_decode(snapshot_text(snapshot, "ram_nonce"), plan->ram_nonce, sizeof(plan->ram_nonce)) <
            0)
        return error_set(error, ERROR_CORRUPT, EBADMSG, "the snapshot's marker cannot be read");
    r = plan_state(launch, error);
    if (r >= 0)
        r = check_state(launch, error);
    if (r >= 0 && snapshot_is_diff(snapshot))
        r = plan_patch(launch, error);
    if (r < 0)
        return r;
    row_set(launch->row, "boot", json_string(launch->restore->boot));
    row_set(launch->row, "memory_snapshot", json_string(snapshot->id));
    row_set(launch->row, "memory_owner", json_string(snapshot->base));
    return 0;
}

static void plan_network(Launch *launch) {
    Plan *plan = &launch->plan;
    bool user = str_equal(launch->spec.network, "user");

    plan->network_card = true; /* in every VM, so that all have one device list */
    plan->network = user ? PLAN_NETWORK_USER : PLAN_NETWORK_NONE;
    plan->tap_fd = PLAN_NO_FD;
    for (size_t i = 0; user && i < launch->spec.n_forwards; i++) {
        const SpecForward *from = &launch->spec.forwards[i];
        PlanForward *to = &plan->forwards[plan->n_forwards++];

        *to = (PlanForward){
            .host_port = from->host_port, .guest_port = from->guest_port, .udp = from->udp};
        (void)snprintf(to->host_ip, sizeof(to->host_ip), "%s", from->host_ip);
    }
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

/* A clone becomes another; who resumes stays who it was. */
static void plan_clone(PlanIdentity *identity) {
    identity->clone = identity->new_ssh_keys = identity->run_hooks = true;
    make_boot_id(identity->boot_id);
}

static void plan_identity(Launch *launch) {
    PlanIdentity *identity = &launch->plan.identity;
    const VmRow *row = launch->row;
    unsigned mac[6] = {0};

    (void)snprintf(identity->hostname, sizeof(identity->hostname), "%s", row_text(row, "hostname"));
    (void)snprintf(identity->machine_id, sizeof(identity->machine_id), "%s", row->id);
    (void)sscanf(row->mac, "%x:%x:%x:%x:%x:%x", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4],
                 &mac[5]);
    for (size_t i = 0; i < 6; i++)
        identity->mac[i] = (uint8_t)mac[i];
    identity->grow_root = !launch->restore; /* a clone's disk grows after that: grow_disk.c */
    if (launch->restore && launch->restore->clone)
        plan_clone(identity);
    if (launch->plan.network != PLAN_NETWORK_USER)
        return;
    identity->prefix = QEMU_USER_PREFIX;
    (void)snprintf(identity->ip, sizeof(identity->ip), "%s", row_text(row, "ip"));
    (void)snprintf(identity->gateway, sizeof(identity->gateway), QEMU_USER_GATEWAY);
    (void)snprintf(identity->dns, sizeof(identity->dns), QEMU_USER_DNS);
}

static void plan_keeper(Launch *launch) {
    const Ramet *ramet = launch->ramet;
    Plan *plan = &launch->plan;
    bool fast = str_equal(launch->accel, "kvm");
    uint64_t silence = (fast ? 45 : 240) * USEC_PER_SEC, ready = (fast ? 180 : 900) * USEC_PER_SEC;

    plan->console_max_bytes = CONSOLE_MAX_BYTES;
    plan->uid = plan->gid = launch->row->uid;
    plan->silence_timeout_usec =
        ramet->silence_timeout_usec ? ramet->silence_timeout_usec : silence;
    plan->ready_timeout_usec = ramet->ready_timeout_usec ? ramet->ready_timeout_usec : ready;
    plan->remove_on_exit = launch->row->remove && launch->row->attached;
}

void launch_plan_who(Launch *launch) {
    plan_network(launch);
    plan_identity(launch);
    plan_keeper(launch);
}

int launch_make_plan(Launch *launch, Error *error) {
    Plan *plan = &launch->plan;
    int r;

    (void)snprintf(plan->vm_id, sizeof(plan->vm_id), "%s", launch->row->id);
    (void)snprintf(plan->name, sizeof(plan->name), "%s", launch->row->name);
    (void)snprintf(plan->accel, sizeof(plan->accel), "%s", launch->accel);
    (void)snprintf(plan->machine, sizeof(plan->machine), "microvm");
    (void)snprintf(plan->cpu, sizeof(plan->cpu), "%s", qemu_default_cpu(launch->accel));
    plan->qemu = str_copy(launch->features.binary);
    (void)snprintf(plan->qemu_preload, sizeof(plan->qemu_preload), "%s", launch->features.preload);
    plan->cpus = launch->spec.cpus;
    plan->boot = PLAN_BOOT_COLD;
    launch_plan_who(launch);
    r = plan_disk(launch, error);
    if (r >= 0)
        r = launch->restore ? plan_restore(launch, error) : plan_kernel(launch, error);
    if (r >= 0)
        r = files_open(&launch->files, launch->dir_fd, ".", O_RDONLY | O_DIRECTORY,
                       &plan->console_dir_fd, error);
    return r;
}
