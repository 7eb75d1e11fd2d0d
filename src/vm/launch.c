/* SPDX-License-Identifier: Apache-2.0 */

/* One attempt to start a VM: spawn a keeper, gather the open files, send it the plan, wait for
 * ready. A boot gets the kernel and blank memory; a restore gets a snapshot's memory and device
 * state, and the nonce and counter that prove it. The keeper is spawned first, so that it gets up
 * while we gather.
 *
 * The keeper's identity is in the store before the plan is sent, so a daemon that dies in between
 * leaves nothing that the next one cannot find. When the attempt fails the keeper is ended, and
 * QEMU with it (it dies with its parent); only the VM's folder, with the logs, stays. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/digest.h"
#include "disk/base_file.h"
#include "image/initramfs.h"
#include "proto/keeper.h"
#include "proto/plan.h"
#include "qemu/argv.h"
#include "vm/pool_internal.h"
#include "vm/snapshot_internal.h"

#define FILES_MAX 96
#define CONSOLE_MAX_BYTES (4 * MIB)
#define LOG_MAX_BYTES (1 * MIB)

/* Descriptors that travel with the plan, in the order of its indexes. */
typedef struct Files {
    int fds[FILES_MAX]; /* owned */
    size_t count;
} Files;

static void files_close(Files *files) {
    for (size_t i = 0; i < files->count; i++)
        (void)fd_close(files->fds[i]);
    files->count = 0;
}

/* Takes fd over. */
static PlanFd files_add(Files *files, int fd) {
    if (files->count == FILES_MAX)
        abort();
    files->fds[files->count] = fd;
    return (PlanFd)files->count++;
}

static int files_open(Files *files, int dir_fd, const char *path, int flags, PlanFd *index,
                      Error *error) {
    int fd = openat(dir_fd, path, flags | O_CLOEXEC | O_NOCTTY);

    if (fd < 0)
        return error_set_errno(error, errno, "cannot open %s", path);
    *index = files_add(files, fd);
    return 0;
}

/* Everything that one attempt holds. */
typedef struct Launch {
    Ramet *ramet;           /* borrowed */
    Operation *operation;   /* borrowed */
    VmRow *row;             /* borrowed */
    const Restore *restore; /* borrowed; NULL: a cold boot */
    VmSpec spec;
    QemuFeatures features;
    const char *accel; /* static */
    int dir_fd;        /* owned: the VM's folder */
    Files files;
    Plan plan;
    ProcessIdentity keeper;
    bool heard; /* the guest gave a sign of life */
} Launch;

static void launch_free(Launch *launch) {
    vm_spec_free(&launch->spec);
    qemu_features_free(&launch->features);
    (void)fd_close(launch->dir_fd);
    files_close(&launch->files);
    plan_free(&launch->plan);
}

/* --- the plan
 * ---------------------------------------------------------------------------------------- */

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

static int plan_memory(Launch *launch, Error *error) {
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

static int make_plan(Launch *launch, Error *error) {
    Plan *plan = &launch->plan;
    int r;

    (void)snprintf(plan->vm_id, sizeof(plan->vm_id), "%s", launch->row->id);
    (void)snprintf(plan->name, sizeof(plan->name), "%s", launch->row->name);
    (void)snprintf(plan->accel, sizeof(plan->accel), "%s", launch->accel);
    (void)snprintf(plan->machine, sizeof(plan->machine), "microvm");
    (void)snprintf(plan->cpu, sizeof(plan->cpu), "%s", qemu_default_cpu(launch->accel));
    plan->qemu = str_copy(launch->features.binary);
    plan->cpus = launch->spec.cpus;
    plan->boot = PLAN_BOOT_COLD;
    plan_network(launch);
    plan_identity(launch);
    plan_keeper(launch);
    r = plan_disk(launch, error);
    if (r >= 0)
        r = launch->restore ? plan_restore(launch, error) : plan_kernel(launch, error);
    if (r >= 0)
        r = files_open(&launch->files, launch->dir_fd, ".", O_RDONLY | O_DIRECTORY,
                       &plan->console_dir_fd, error);
    return r;
}

/* --- the keeper
 * ---------------------------------------------------------------------------------------- */

/* keeper.log is written by the daemon's own user, so a full one is cut here and not by the keeper.
 */
static int open_keeper_log(int dir_fd, Error *error) {
    const int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW;
    int fd = openat(dir_fd, "keeper.log", flags, 0600);
    struct stat info;

    if (fd < 0)
        return error_set_errno(error, errno, "cannot open keeper.log");
    if (fstat(fd, &info) == 0 && (uint64_t)info.st_size > LOG_MAX_BYTES && ftruncate(fd, 0) < 0)
        return error_set_errno(error, errno, "cannot cut keeper.log");
    return fd;
}

static int spawn_keeper(Launch *launch, Error *error) {
    Ramet *ramet = launch->ramet;
    char *argv[] = {(char *)"ramet-keeper", (char *)"--listen-fd", (char *)"3", NULL};
    _cleanup_close_ int listener = -1, log = open_keeper_log(launch->dir_fd, error);
    pid_t pid;
    int r;

    if (log < 0)
        return log;
    /* The last keeper is gone: we hold the VM's lock. Its socket may still look alive for a moment,
     * in a child of another thread that has not come to its execve. */
    (void)unlinkat(launch->dir_fd, KEEPER_SOCKET_NAME, 0);
    listener = fd_unix_listen_at(launch->dir_fd, KEEPER_SOCKET_NAME, SOCK_SEQPACKET, 0600, 16);
    if (listener < 0)
        return error_set_errno(error, -listener, "cannot listen for the daemon");
    {
        const SpawnFd fds[] = {{.from = log, .to = 2}, {.from = listener, .to = 3}};
        const SpawnOptions options = {.program = ramet->keeper,
                                      .argv = argv,
                                      .fds = fds,
                                      .n_fds = ARRAY_SIZE(fds),
                                      .new_session = true,
                                      .nice = launch->restore ? launch->restore->nice : 0};

        r = spawn_process(&options, &pid, error);
        if (r < 0)
            return r;
    }
    r = process_identify(pid, &launch->keeper);
    if (r < 0)
        return error_set_errno(error, -r, "cannot identify the keeper");
    return watcher_add_child(ramet->watcher, pid, error);
}

static void end_keeper(Launch *launch) {
    if (launch->keeper.pid > 0) {
        (void)process_signal(&launch->keeper, SIGKILL);
        (void)process_wait_gone(&launch->keeper, clock_monotonic_usec() + 60 * USEC_PER_SEC);
    }
}

static void hear_event(void *data, const json_t *event) {
    Launch *launch = data;
    const char *kind = json_string_value(json_object_get(event, "event"));
    const char *name = json_string_value(json_object_get(event, "name"));
    const char *message = json_string_value(json_object_get(event, "message"));

    if (str_equal(kind, "stage") && str_equal(name, "agent"))
        launch->heard =
            true; /* the keeper begins this stage at the first byte of console or agent */
    if (str_equal(kind, "stage") && name)
        operation_enter_at(launch->operation, name,
                           (uint64_t)json_integer_value(json_object_get(event, "at_us")));
    else if (str_equal(kind, "log") && message)
        operation_note(launch->operation, "%s", message);
}

static int send_plan(Launch *launch, int cancel_fd, json_t **ok, Error *error) {
    _cleanup_json_ json_t *plan = plan_to_json(&launch->plan);
    _cleanup_json_ json_t *request = json_pack("{s:s, s:O}", "op", "start", "plan", plan);
    /* The keeper keeps the bounds; this one is only for a keeper that does not. */
    uint64_t bound = launch->plan.ready_timeout_usec + 120 * USEC_PER_SEC;

    return keeper_call(launch->dir_fd, request, launch->files.fds, launch->files.count,
                       clock_monotonic_usec() + bound, cancel_fd, hear_event, launch, ok, error);
}

/* The row keeps the keeper's identity before anything depends on it. */
static int remember_keeper(Launch *launch, Error *error) {
    row_set_process(launch->row, "keeper", &launch->keeper);
    return vms_update(launch->ramet->store, launch->row, error);
}

static void take_answer(Launch *launch, const json_t *ok) {
    VmRow *row = launch->row;
    uint64_t ready = (uint64_t)json_integer_value(json_object_get(ok, "ready_at_us"));

    row_take_facts(row, ok);
    row_set(row, "accel", json_string(launch->accel));
    row_set(row, "machine", json_string(launch->plan.machine));
    if (ready)
        stages_end_at(&launch->operation->stages, ready);
    else
        stages_end(&launch->operation->stages);
    row_set(row, "stages", json_from_stages(&launch->operation->stages));
}

static int start_in_keeper(Launch *launch, int cancel_fd, bool *silent, Error *error) {
    _cleanup_json_ json_t *ok = NULL;
    int r;

    r = remember_keeper(launch, error);
    if (r < 0)
        return r;
    r = send_plan(launch, cancel_fd, &ok, error);
    if (r < 0) {
        *silent = !launch->heard && error && error->kind == ERROR_GUEST_NOT_READY;
        return r;
    }
    take_answer(launch, ok);
    return 0;
}

static int prepare(Launch *launch, Error *error) {
    Ramet *ramet = launch->ramet;
    int r;

    vm_spec_init(&launch->spec);
    plan_init(&launch->plan);
    launch->dir_fd = -1;
    r = vm_spec_from_json(launch->row->spec, &launch->spec, error);
    if (r >= 0)
        r = host_probe(ramet, &launch->features, &launch->accel, error);
    if (r >= 0)
        r = vm_folder_open(ramet, launch->row->id, &launch->dir_fd, error);
    if (r < 0)
        return r;
    /* What an earlier run left must not be taken for this one's. */
    if (unlinkat(launch->dir_fd, "exit.json", 0) < 0 && errno != ENOENT)
        return error_set_errno(error, errno, "cannot remove exit.json");
    if (launch->restore)
        r = snapshot_check_host(launch->restore->snapshot, &launch->features, launch->accel, error);
    if (r < 0)
        return r;
    operation_enter(launch->operation, "memory");
    /* Filling hot memory or making an initramfs may take longer than a keeper waits for its plan.
     */
    r = plan_memory(launch, error);
    if (r >= 0 && !launch->restore)
        r = make_plan(launch, error);
    if (r < 0)
        return r;
    /* What it runs under, for its snapshots: the host may change while it runs. */
    row_set(launch->row, "facts", snapshot_facts(&launch->features, launch->accel, launch->row));
    operation_enter(launch->operation, "keeper");
    r = spawn_keeper(launch, error);
    return r >= 0 && launch->restore ? make_plan(launch, error) : r;
}

int vm_launch_from(Ramet *ramet, Operation *operation, VmRow *row, const Restore *restore,
                   int cancel_fd, bool *silent, Error *error) {
    _cleanup_(launch_free)
        Launch launch = {.ramet = ramet, .operation = operation, .row = row, .restore = restore};
    int r;

    *silent = false;
    r = prepare(&launch, error);
    if (r >= 0)
        r = start_in_keeper(&launch, cancel_fd, silent, error);
    if (r < 0) {
        end_keeper(&launch);
        row_set_process(row, "keeper", NULL);
        return r;
    }
    return 0;
}

int vm_launch(Ramet *ramet, Operation *operation, VmRow *row, int cancel_fd, bool *silent,
              Error *error) {
    return vm_launch_from(ramet, operation, row, NULL, cancel_fd, silent, error);
}

/* --- claiming ----------------------------------------------------------------------------------
 */

static json_t *claim_request(const Launch *launch) {
    _cleanup_json_ json_t *plan = plan_to_json(&launch->plan);

    return json_pack("{s:s, s:O, s:O, s:s, s:b}", "op", "claim", "identity",
                     json_object_get(plan, "identity"), "forwards",
                     json_object_get(plan, "forwards"), "name", launch->row->name, "remove_on_exit",
                     launch->row->remove && launch->row->attached);
}

static int send_claim(Launch *launch, int cancel_fd, json_t **ok, Error *error) {
    _cleanup_json_ json_t *request = claim_request(launch);
    uint64_t bound = launch->plan.ready_timeout_usec + 120 * USEC_PER_SEC;

    return keeper_call(launch->dir_fd, request, NULL, 0, clock_monotonic_usec() + bound, cancel_fd,
                       hear_event, launch, ok, error);
}

int vm_claim(Ramet *ramet, Operation *operation, VmRow *row, int cancel_fd, Error *error) {
    const Restore how = {.boot = "claimed", .clone = true};
    _cleanup_(launch_free)
        Launch launch = {.ramet = ramet, .operation = operation, .row = row, .restore = &how};
    _cleanup_json_ json_t *ok = NULL;
    int r;

    vm_spec_init(&launch.spec);
    plan_init(&launch.plan);
    launch.dir_fd = -1;
    launch.accel = str_equal(row_text(row, "accel"), "kvm") ? "kvm" : "tcg";
    (void)snprintf(launch.plan.machine, sizeof(launch.plan.machine), "%s",
                   row_text(row, "machine"));
    r = vm_spec_from_json(row->spec, &launch.spec, error);
    if (r >= 0)
        r = vm_folder_open(ramet, row->id, &launch.dir_fd, error);
    if (r < 0)
        return r;
    launch.plan.qemu = str_copy("");
    launch.plan.cmdline = str_copy("");
    plan_network(&launch);
    plan_identity(&launch);
    plan_keeper(&launch);
    r = send_claim(&launch, cancel_fd, &ok, error);
    if (r >= 0)
        take_answer(&launch, ok);
    return r;
}
