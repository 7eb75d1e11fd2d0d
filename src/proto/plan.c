/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/plan.h"

/* How it works: one table for each struct names its members, their kind and their bounds
 * (plan_fields.h), for writing and for reading. Lists (disks, files, forwards, patches) are walked
 * by hand around the tables.
 *
 * Reading trusts nothing. What the tables cannot say (which texts an accelerator may be, that a
 * cold boot has a kernel) is checked at the end. */

#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "proto/plan_fields.h"

#define MEMORY_BYTES_MIN (1 * MIB)
#define MEMORY_BYTES_MAX (64 * 1024 * GIB)
#define CPUS_MAX 1024

static const Field plan_fields[] = {
    TEXT(Plan, vm_id),
    TEXT(Plan, name),
    STRING(Plan, qemu, 4096),
    TEXT(Plan, qemu_preload),
    TEXT(Plan, accel),
    TEXT(Plan, machine),
    TEXT(Plan, cpu),
    U64(Plan, memory_bytes, MEMORY_BYTES_MAX),
    UNSIGNED(Plan, cpus, CPUS_MAX),
    BOOL(Plan, network_card),
    FD(Plan, tap_fd),
    FD(Plan, kernel_fd),
    FD(Plan, initrd_fd),
    STRING(Plan, cmdline, 4096),
    FD(Plan, state_fd),
    BOOL(Plan, start_paused),
    BYTES(Plan, marker),
    BYTES(Plan, ram_nonce),
    U64(Plan, counter, INT64_MAX),
    U64(Plan, mailbox, INT64_MAX),
    FD(Plan, memory_fd),
    BOOL(Plan, memory_sealed),
    BOOL(Plan, memory_readonly_rom),
    FD(Plan, console_dir_fd),
    U64(Plan, console_max_bytes, INT64_MAX),
    UNSIGNED(Plan, uid, UINT32_MAX - 1),
    UNSIGNED(Plan, gid, UINT32_MAX - 1),
    U64(Plan, silence_timeout_usec, INT64_MAX),
    U64(Plan, ready_timeout_usec, INT64_MAX),
    BOOL(Plan, remove_on_exit),
};

static const Field identity_fields[] = {
    TEXT(PlanIdentity, hostname),     TEXT(PlanIdentity, machine_id),
    TEXT(PlanIdentity, boot_id),      BYTES(PlanIdentity, mac),
    TEXT(PlanIdentity, ip),           UNSIGNED(PlanIdentity, prefix, 32),
    TEXT(PlanIdentity, gateway),      TEXT(PlanIdentity, dns),
    BOOL(PlanIdentity, new_ssh_keys), BOOL(PlanIdentity, run_hooks),
    BOOL(PlanIdentity, grow_root),    BOOL(PlanIdentity, clone),
};

static const Field disk_fields[] = {TEXT(PlanDisk, serial), BOOL(PlanDisk, read_only)};

static const Field file_fields[] = {
    FD(PlanDiskFile, fd),
    FD(PlanDiskFile, fd_write),
    TEXT(PlanDiskFile, format),
};

static const Field forward_fields[] = {
    TEXT(PlanForward, host_ip),
    U16(PlanForward, host_port),
    U16(PlanForward, guest_port),
    BOOL(PlanForward, udp),
};

static const char *const network_names[] = {"none", "user", "tap"};
static const char *const boot_names[] = {"cold", "restore"};

void plan_init(Plan *plan) {
    *plan = (Plan){
        .tap_fd = PLAN_NO_FD,
        .kernel_fd = PLAN_NO_FD,
        .initrd_fd = PLAN_NO_FD,
        .state_fd = PLAN_NO_FD,
        .memory_fd = PLAN_NO_FD,
        .console_dir_fd = PLAN_NO_FD,
    };
    for (size_t i = 0; i < PLAN_PATCHES_MAX; i++)
        plan->patch_fds[i] = PLAN_NO_FD;
    for (size_t i = 0; i < PLAN_DISKS_MAX; i++)
        for (size_t k = 0; k < PLAN_CHAIN_MAX; k++)
            plan->disks[i].files[k] = (PlanDiskFile){.fd = PLAN_NO_FD, .fd_write = PLAN_NO_FD};
}

void plan_free(Plan *plan) {
    free(plan->qemu);
    free(plan->cmdline);
    plan->qemu = plan->cmdline = NULL;
}

static json_t *write_disk(const PlanDisk *disk) {
    json_t *object = WRITE(disk_fields, disk);
    json_t *files = json_array();
    for (size_t i = 0; i < disk->n_files; i++)
        json_array_append_new(files, WRITE(file_fields, &disk->files[i]));
    json_object_set_new(object, "files", files);
    return object;
}

json_t *plan_to_json(const Plan *plan) {
    json_t *object = WRITE(plan_fields, plan);
    json_t *disks = json_array(), *forwards = json_array(), *patches = json_array();
    for (size_t i = 0; i < plan->n_disks; i++)
        json_array_append_new(disks, write_disk(&plan->disks[i]));
    for (size_t i = 0; i < plan->n_forwards; i++)
        json_array_append_new(forwards, WRITE(forward_fields, &plan->forwards[i]));
    for (size_t i = 0; i < plan->n_patches; i++)
        json_array_append_new(patches, json_integer(plan->patch_fds[i]));
    json_object_set_new(object, "disks", disks);
    json_object_set_new(object, "forwards", forwards);
    json_object_set_new(object, "patch_fds", patches);
    json_object_set_new(object, "network", json_string(network_names[plan->network]));
    json_object_set_new(object, "boot", json_string(boot_names[plan->boot]));
    json_object_set_new(object, "identity", WRITE(identity_fields, &plan->identity));
    return object;
}

/* QEMU's options are separated by commas: texts that go into one must not bring their own. */
static bool is_plain(const char *text) {
    return text[strspn(
               text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:-")] == '\0';
}

static int read_disk(const json_t *object, size_t n_fds, PlanDisk *disk, Error *error) {
    const json_t *files = NULL;
    int r = READ("disks", disk_fields, object, n_fds, disk, error);
    if (r == 0)
        r = fields_read_list(object, "files", PLAN_CHAIN_MAX, &files, &disk->n_files, error);
    for (size_t i = 0; r == 0 && i < disk->n_files; i++)
        r = READ("files", file_fields, json_array_get(files, i), n_fds, &disk->files[i], error);
    return r;
}

static int check_disk(const PlanDisk *disk, Error *error) {
    if (disk->n_files == 0)
        return fields_wrong(error, "a disk", "has no files");
    if (!is_plain(disk->serial))
        return fields_wrong(error, "serial", "has characters that QEMU would take for its own");
    for (size_t i = 0; i < disk->n_files; i++) {
        const PlanDiskFile *file = &disk->files[i];
        if (!str_equal(file->format, "qcow2") && !str_equal(file->format, "raw"))
            return fields_wrong(error, "format", "is neither qcow2 nor raw");
        if (file->fd < 0)
            return fields_wrong(error, "a disk", "has a file without a descriptor");
        if (i > 0 && file->fd_write >= 0)
            return fields_wrong(error, "a disk", "would write below its overlay");
    }
    if (!disk->read_only && disk->files[0].fd_write < 0)
        return fields_wrong(error, "a disk", "is to be written but not open for it");
    return 0;
}

static int read_disks(const json_t *json, size_t n_fds, Plan *plan, Error *error) {
    const json_t *list;
    int r = fields_read_list(json, "disks", PLAN_DISKS_MAX, &list, &plan->n_disks, error);
    for (size_t i = 0; r == 0 && i < plan->n_disks; i++) {
        r = read_disk(json_array_get(list, i), n_fds, &plan->disks[i], error);
        if (r == 0)
            r = check_disk(&plan->disks[i], error);
    }
    return r;
}

static int read_forwards(const json_t *json, Plan *plan, Error *error) {
    const json_t *list;
    int r = fields_read_list(json, "forwards", PLAN_FORWARDS_MAX, &list, &plan->n_forwards, error);
    for (size_t i = 0; r == 0 && i < plan->n_forwards; i++) {
        PlanForward *forward = &plan->forwards[i];
        r = READ("forwards", forward_fields, json_array_get(list, i), 0, forward, error);
        if (r == 0 && (!is_plain(forward->host_ip) || !forward->guest_port))
            r = fields_wrong(error, "forwards", "have an address or port that is none");
    }
    return r;
}

static int read_patches(const json_t *json, size_t n_fds, Plan *plan, Error *error) {
    const json_t *list;
    int r = fields_read_list(json, "patch_fds", PLAN_PATCHES_MAX, &list, &plan->n_patches, error);
    for (size_t i = 0; r == 0 && i < plan->n_patches; i++)
        r = fields_read_fd("patch_fds", json_array_get(list, i), n_fds, &plan->patch_fds[i], error);
    return r;
}

static int read_choice(const json_t *json, const char *name, const char *const *names,
                       size_t n_names, unsigned *choice, Error *error) {
    const char *text = json_string_value(json_object_get(json, name));
    for (size_t i = 0; i < n_names; i++)
        if (str_equal(text, names[i])) {
            *choice = (unsigned)i;
            return 0;
        }
    return fields_wrong(error, name, "is missing or unknown");
}

static int read_choices(const json_t *json, Plan *plan, Error *error) {
    unsigned network = 0, boot = 0;
    int r = read_choice(json, "network", network_names, ARRAY_SIZE(network_names), &network, error);
    if (r == 0)
        r = read_choice(json, "boot", boot_names, ARRAY_SIZE(boot_names), &boot, error);
    if (r != 0)
        return r;
    plan->network = (PlanNetworkMode)network;
    plan->boot = (PlanBoot)boot;
    return 0;
}

static int check_machine(const Plan *plan, Error *error) {
    if (!plan->vm_id[0] || !is_plain(plan->vm_id))
        return fields_wrong(error, "vm_id", "is missing or no name");
    if (!plan->qemu || plan->qemu[0] != '/')
        return fields_wrong(error, "qemu", "is no absolute path");
    if (!str_equal(plan->accel, "kvm") && !str_equal(plan->accel, "tcg"))
        return fields_wrong(error, "accel", "is neither kvm nor tcg");
    if (!plan->machine[0] || !is_plain(plan->machine))
        return fields_wrong(error, "machine", "is missing or no name");
    if (plan->memory_bytes < MEMORY_BYTES_MIN)
        return fields_wrong(error, "memory_bytes", "is under 1 MiB");
    if (plan->cpus == 0)
        return fields_wrong(error, "cpus", "is 0");
    return 0;
}

static int check_descriptors(const Plan *plan, Error *error) {
    if (plan->memory_fd < 0)
        return fields_wrong(error, "memory_fd", "is missing");
    if (plan->console_dir_fd < 0)
        return fields_wrong(error, "console_dir_fd", "is missing");
    if (plan->boot == PLAN_BOOT_COLD && plan->kernel_fd < 0)
        return fields_wrong(error, "kernel_fd", "is missing");
    if (plan->boot == PLAN_BOOT_RESTORE && plan->state_fd < 0)
        return fields_wrong(error, "state_fd", "is missing");
    if (plan->network == PLAN_NETWORK_TAP && plan->tap_fd < 0)
        return fields_wrong(error, "tap_fd", "is missing");
    return 0;
}

static int read_plan(const json_t *json, size_t n_fds, Plan *plan, Error *error) {
    int r = READ("the plan", plan_fields, json, n_fds, plan, error);
    if (r == 0)
        r = READ("identity", identity_fields, json_object_get(json, "identity"), 0, &plan->identity,
                 error);
    if (r == 0)
        r = read_choices(json, plan, error);
    if (r == 0)
        r = read_disks(json, n_fds, plan, error);
    if (r == 0)
        r = read_forwards(json, plan, error);
    if (r == 0)
        r = read_patches(json, n_fds, plan, error);
    if (r == 0)
        r = check_machine(plan, error);
    if (r == 0)
        r = check_descriptors(plan, error);
    return r;
}

int plan_from_json(const json_t *json, size_t n_fds, Plan *plan, Error *error) {
    Plan *read = malloc(sizeof *read); /* too large for a small stack */
    if (!read)
        return error_set(error, ERROR_NO_MEMORY, ENOMEM, "not enough memory for the plan");
    plan_init(read);
    int r = read_plan(json, n_fds, read, error);
    if (r == 0) {
        plan_free(plan);
        *plan = *read;
    } else {
        plan_free(read);
    }
    free(read);
    return r;
}

int plan_identity_from_json(const json_t *json, PlanIdentity *identity, Error *error) {
    PlanIdentity read = {0};
    int r = READ("identity", identity_fields, json, 0, &read, error);
    if (r == 0)
        *identity = read;
    return r;
}

int plan_forwards_from_json(const json_t *object, Plan *plan, Error *error) {
    return read_forwards(object, plan, error);
}
