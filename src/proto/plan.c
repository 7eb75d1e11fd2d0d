/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/plan.h"

/* How it works: one table for each struct names its members, their kind and their bounds
 * (plan_fields.h), for writing and for reading.
 *
 * Reading trusts nothing. What the tables cannot say (which texts an accelerator may be, that a
 * cold boot has a kernel) is checked at the end. */

#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "proto/plan_fields.h"

#define MEMORY_BYTES_MAX (64 * 1024 * GIB)
#define CPUS_MAX 255

static const Field address_fields[] = {
    BYTES(PlanAddress, mac),     TEXT(PlanAddress, ip),  UNSIGNED(PlanAddress, prefix, 32),
    TEXT(PlanAddress, gateway),  TEXT(PlanAddress, ip6), UNSIGNED(PlanAddress, prefix6, 128),
    TEXT(PlanAddress, gateway6),
};

/* A member of the first card's stands in the identity itself, as when there was one card only: a
 * keeper of that time is told of a claim, too. */
#define FIRST(kind, name, limit) \
    { #name, kind, offsetof(PlanIdentity, first.name), limit }
#define FIRST_TEXT(name) FIRST(FIELD_TEXT, name, sizeof(((PlanAddress *)NULL)->name))

static const Field text_fields[] = {{NULL, FIELD_TEXT, 0, 16}};

static const Field identity_fields[] = {
    TEXT(PlanIdentity, hostname),
    TEXT(PlanIdentity, machine_id),
    TEXT(PlanIdentity, boot_id),
    FIRST(FIELD_BYTES, mac, 6),
    FIRST_TEXT(ip),
    FIRST(FIELD_UNSIGNED, prefix, 32),
    FIRST_TEXT(gateway),
    FIRST_TEXT(ip6),
    FIRST(FIELD_UNSIGNED, prefix6, 128),
    FIRST_TEXT(gateway6),
    LIST(PlanIdentity, "further", further, n_further, address_fields),
    TEXT(PlanIdentity, dns),
    LIST(PlanIdentity, "further_dns", further_dns, n_further_dns, text_fields),
    TEXT(PlanIdentity, search),
    BOOL(PlanIdentity, new_ssh_keys),
    BOOL(PlanIdentity, run_hooks),
    BOOL(PlanIdentity, grow_root),
    BOOL(PlanIdentity, clone),
    BOOL(PlanIdentity, keep),
    TEXT(PlanIdentity, ssh_key),
    TEXT(PlanIdentity, ssh_public_key),
    TEXT(PlanIdentity, home_key),
    LINES(PlanIdentity, authorized_keys),
    TEXT(PlanIdentity, login_user),
    TEXT(PlanIdentity, changed_disk),
    LINES(PlanIdentity, mounts),
};

static const Field file_fields[] = {
    FD(PlanDiskFile, fd),
    FD(PlanDiskFile, fd_write),
    TEXT(PlanDiskFile, format),
};

static const Field disk_fields[] = {
    TEXT(PlanDisk, serial),
    BOOL(PlanDisk, read_only),
    BOOL(PlanDisk, outlives),
    LIST(PlanDisk, "files", files, n_files, file_fields),
};

static const char *const network_names[] = {"none", "tap", "dgram"};
static const char *const boot_names[] = {"cold", "restore"};
static const char *const firmware_names[] = {"none", "bios", "uefi"};

static const Field card_fields[] = {
    CHOICE(PlanCard, network, network_names),
    BOOL(PlanCard, unplugged),
    BOOL(PlanCard, user_state),
    FD(PlanCard, fd),
    FD(PlanCard, peer_fd),
    BYTES(PlanCard, mac),
};

static const Field patch_fields[] = {{NULL, FIELD_FD, 0, 0}};

static const Field plan_fields[] = {
    TEXT(Plan, vm_id),
    TEXT(Plan, name),
    STRING(Plan, qemu, 4096),
    TEXT(Plan, accel),
    TEXT(Plan, machine),
    TEXT(Plan, cpu),
    U64(Plan, memory_bytes, MEMORY_BYTES_MAX),
    UNSIGNED(Plan, cpus, CPUS_MAX),
    LIST(Plan, "disks", disks, n_disks, disk_fields),
    LIST(Plan, "cards", cards, n_cards, card_fields),
    CHOICE(Plan, firmware, firmware_names),
    FD(Plan, firmware_fd),
    FD(Plan, variables_fd),
    BOOL(Plan, agent_optional),
    CHOICE(Plan, boot, boot_names),
    BOOL(Plan, kernel_only),
    FD(Plan, kernel_fd),
    FD(Plan, initrd_fd),
    STRING(Plan, cmdline, 4096),
    FD(Plan, state_fd),
    LIST(Plan, "patch_fds", patch_fds, n_patches, patch_fields),
    BOOL(Plan, start_paused),
    BYTES(Plan, marker),
    BYTES(Plan, ram_nonce),
    U64(Plan, counter, INT64_MAX),
    U64(Plan, mailbox, INT64_MAX),
    FD(Plan, memory_fd),
    BOOL(Plan, memory_readonly_rom),
    STRUCT(Plan, identity, identity_fields),
    FD(Plan, console_dir_fd),
    U64(Plan, console_max_bytes, INT64_MAX),
    UNSIGNED(Plan, uid, UINT32_MAX - 1),
    UNSIGNED(Plan, gid, UINT32_MAX - 1),
    U64(Plan, silence_timeout_usec, INT64_MAX),
    U64(Plan, silence_cpu_usec, INT64_MAX),
    U64(Plan, ready_timeout_usec, INT64_MAX),
    BOOL(Plan, remove_on_exit),
    U64(Plan, io_bytes, INT64_MAX),
    U64(Plan, io_ops, INT64_MAX),
};

void plan_init(Plan *plan) {
    *plan = (Plan){
        .firmware_fd = PLAN_NO_FD,
        .variables_fd = PLAN_NO_FD,
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
    for (size_t i = 0; i < PLAN_CARDS_MAX; i++)
        plan->cards[i].fd = plan->cards[i].peer_fd = PLAN_NO_FD;
}

void plan_free(Plan *plan) {
    free(plan->qemu);
    free(plan->cmdline);
    plan->qemu = plan->cmdline = NULL;
}

json_t *plan_to_json(const Plan *plan) {
    json_t *json = WRITE(plan_fields, plan);
    (void)json_object_set_new(json, "format", json_integer(PLAN_FORMAT));
    return json;
}

/* QEMU's options are separated by commas: texts that go into one must not bring their own. */
static bool is_plain(const char *text) {
    return text[strspn(
               text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:-")] == '\0';
}

/* A CPU model with its features, as -cpu takes it: "qemu64,+rdrand"; "": the default. */
static bool is_cpu(const char *text) {
    return text[strspn(text,
                       "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.,+-=")] ==
           '\0';
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
        if (str_equal(file->format, "raw") && i + 1 < disk->n_files)
            return fields_wrong(error, "a disk", "has a raw file over another one");
        if (i > 0 && file->fd_write >= 0)
            return fields_wrong(error, "a disk", "would write below its overlay");
    }
    if (!disk->read_only && disk->files[0].fd_write < 0)
        return fields_wrong(error, "a disk", "is to be written but not open for it");
    return 0;
}

static int check_card(const PlanCard *card, Error *error) {
    bool wants_fd = card->network == PLAN_NETWORK_TAP || card->network == PLAN_NETWORK_DGRAM;
    if (wants_fd && card->fd < 0)
        return fields_wrong(error, "a card", "has no descriptor");
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
    if (!is_cpu(plan->cpu))
        return fields_wrong(error, "cpu", "is no CPU model");
    if (plan->memory_bytes == 0 || plan->memory_bytes % MIB)
        return fields_wrong(error, "memory_bytes", "is no whole MiB");
    if (plan->cpus == 0)
        return fields_wrong(error, "cpus", "is 0");
    return 0;
}

static int check_descriptors(const Plan *plan, Error *error) {
    if (plan->memory_fd < 0)
        return fields_wrong(error, "memory_fd", "is missing");
    if (plan->console_dir_fd < 0)
        return fields_wrong(error, "console_dir_fd", "is missing");
    if (plan->firmware == PLAN_FIRMWARE_UEFI && (plan->firmware_fd < 0 || plan->variables_fd < 0))
        return fields_wrong(error, "firmware_fd", "or variables_fd is missing");
    if (plan->boot == PLAN_BOOT_COLD && !plan->firmware && plan->kernel_fd < 0)
        return fields_wrong(error, "kernel_fd", "is missing");
    if (plan->boot == PLAN_BOOT_RESTORE && plan->state_fd < 0)
        return fields_wrong(error, "state_fd", "is missing");
    return 0;
}

/* The programs may be replaced while a daemon of the version before runs. */
static int check_format(const json_t *json, Error *error) {
    uint64_t format = 1;
    int r = json_opt_u64("the plan", json, "format", &format, error);
    if (r < 0 || format == PLAN_FORMAT)
        return r;
    error_set(error, ERROR_CONFLICT, EPROTO, "the daemon is of another version than its keepers");
    error_set_hint(error, "end it, and the next command starts the new one: ramet daemon stop");
    return -EPROTO;
}

static int read_plan(const json_t *json, size_t n_fds, Plan *plan, Error *error) {
    int r = json_is_object(json) ? check_format(json, error) : 0;
    if (r == 0)
        r = READ("the plan", plan_fields, json, n_fds, plan, error);
    for (size_t i = 0; r == 0 && i < plan->n_disks; i++)
        r = check_disk(&plan->disks[i], error);
    for (size_t i = 0; r == 0 && i < plan->n_cards; i++)
        r = check_card(&plan->cards[i], error);
    if (r == 0)
        r = check_machine(plan, error);
    return r < 0 ? r : check_descriptors(plan, error);
}

int plan_from_json(const json_t *json, size_t n_fds, Plan *plan, Error *error) {
    Plan *read = malloc(sizeof(*read)); /* too large for a small stack */
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
