/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/plan.h"

/* How it works: one table for each struct names its members, their kind and their bounds. Writing
 * and reading both walk the same table, so that they cannot differ. Lists (disks, files, forwards,
 * patches) are walked by hand around the tables.
 *
 * Reading trusts nothing: every text is bounded and printable, every number is within its maximum,
 * every descriptor's index is below n_fds. What the tables cannot say (which texts an accelerator
 * may be, that a cold boot has a kernel) is checked at the end. */

#include <errno.h>
#include <string.h>

#include "base/str.h"

#define MEMORY_BYTES_MIN (1 * MIB)
#define MEMORY_BYTES_MAX (64 * 1024 * GIB)
#define CPUS_MAX 1024

typedef enum FieldKind {
    FIELD_TEXT,   /* char[limit] */
    FIELD_STRING, /* char *, owned, below `limit` bytes */
    FIELD_U64,
    FIELD_UNSIGNED,
    FIELD_U16,
    FIELD_BOOL,
    FIELD_BYTES, /* uint8_t[limit] as hexadecimal digits */
    FIELD_FD,    /* -1 or an index */
} FieldKind;

typedef struct Field {
    const char *name;
    FieldKind kind;
    size_t offset;
    uint64_t limit; /* size of a text or bytes, greatest value of a number */
} Field;

#define TEXT(type, name) \
    { #name, FIELD_TEXT, offsetof(type, name), sizeof(((type *)NULL)->name) }
#define BYTES(type, name) \
    { #name, FIELD_BYTES, offsetof(type, name), sizeof(((type *)NULL)->name) }
#define STRING(type, name, limit) \
    { #name, FIELD_STRING, offsetof(type, name), limit }
#define U64(type, name, limit) \
    { #name, FIELD_U64, offsetof(type, name), limit }
#define UNSIGNED(type, name, limit) \
    { #name, FIELD_UNSIGNED, offsetof(type, name), limit }
#define U16(type, name) \
    { #name, FIELD_U16, offsetof(type, name), UINT16_MAX }
#define BOOL(type, name) \
    { #name, FIELD_BOOL, offsetof(type, name), 1 }
#define FD(type, name) \
    { #name, FIELD_FD, offsetof(type, name), 0 }

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

static json_t *write_bytes(const uint8_t *data, size_t size) {
    char text[2 * 16 + 1];
    hex_encode(data, MIN_OF(size, (size_t)16), text);
    return json_string(text);
}

static json_t *write_number(uint64_t value) {
    return json_integer((json_int_t)MIN_OF(value, (uint64_t)INT64_MAX));
}

static json_t *write_field(const Field *field, const char *base) {
    const void *at = base + field->offset;
    switch (field->kind) {
    case FIELD_TEXT:
        return json_string(at);
    case FIELD_STRING:
        return *(char *const *)at ? json_string(*(char *const *)at) : json_null();
    case FIELD_U64:
        return write_number(*(const uint64_t *)at);
    case FIELD_UNSIGNED:
        return write_number(*(const unsigned *)at);
    case FIELD_U16:
        return write_number(*(const uint16_t *)at);
    case FIELD_BOOL:
        return json_boolean(*(const bool *)at);
    case FIELD_BYTES:
        return write_bytes(at, field->limit);
    case FIELD_FD:
        return json_integer(*(const PlanFd *)at);
    }
    return NULL;
}

static json_t *write_struct(const Field *fields, size_t n_fields, const void *base) {
    json_t *object = json_object();
    for (size_t i = 0; i < n_fields; i++)
        json_object_set_new(object, fields[i].name, write_field(&fields[i], base));
    return object;
}
#define WRITE(fields, base) write_struct(fields, ARRAY_SIZE(fields), base)

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

static int wrong(Error *error, const char *name, const char *rule) {
    return error_set(error, ERROR_USAGE, 0, "%s of the plan %s", name, rule);
}

static bool is_printable(const char *text, size_t limit) {
    size_t length = strlen(text);
    if (length >= limit)
        return false;
    for (; *text; text++)
        if (*text < ' ' || *text > '~')
            return false;
    return true;
}

static int read_text(const Field *field, const json_t *value, void *at, Error *error) {
    const char *text = json_string_value(value);
    if (!text || json_string_length(value) != strlen(text) || !is_printable(text, field->limit))
        return wrong(error, field->name, "is no printable text or too long");
    if (field->kind == FIELD_STRING) {
        free(*(char **)at);
        *(char **)at = str_copy(text);
    } else {
        memcpy(at, text, strlen(text) + 1);
    }
    return 0;
}

static int read_number(const Field *field, const json_t *value, void *at, Error *error) {
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        (uint64_t)json_integer_value(value) > field->limit)
        return wrong(error, field->name, "is no number within its bounds");
    uint64_t number = (uint64_t)json_integer_value(value);
    if (field->kind == FIELD_U64)
        *(uint64_t *)at = number;
    else if (field->kind == FIELD_UNSIGNED)
        *(unsigned *)at = (unsigned)number;
    else
        *(uint16_t *)at = (uint16_t)number;
    return 0;
}

static int read_fd(const char *name, const json_t *value, size_t n_fds, PlanFd *fd, Error *error) {
    if (!json_is_integer(value) || json_integer_value(value) < PLAN_NO_FD ||
        json_integer_value(value) >= (json_int_t)n_fds)
        return wrong(error, name, "names a descriptor that did not come");
    *fd = (PlanFd)json_integer_value(value);
    return 0;
}

static int read_bool(const Field *field, const json_t *value, bool *at, Error *error) {
    if (!json_is_boolean(value))
        return wrong(error, field->name, "is not true or false");
    *at = json_is_true(value);
    return 0;
}

static int read_bytes(const Field *field, const json_t *value, uint8_t *at, Error *error) {
    const char *text = json_string_value(value);
    if (!text || hex_decode(text, at, field->limit) < 0)
        return wrong(error, field->name, "is not so many hexadecimal digits");
    return 0;
}

static int read_field(const Field *field, const json_t *value, size_t n_fds, char *base,
                      Error *error) {
    void *at = base + field->offset;
    switch (field->kind) {
    case FIELD_TEXT:
    case FIELD_STRING:
        return read_text(field, value, at, error);
    case FIELD_U64:
    case FIELD_UNSIGNED:
    case FIELD_U16:
        return read_number(field, value, at, error);
    case FIELD_BOOL:
        return read_bool(field, value, at, error);
    case FIELD_BYTES:
        return read_bytes(field, value, at, error);
    case FIELD_FD:
        return read_fd(field->name, value, n_fds, at, error);
    }
    return -EINVAL;
}

static int read_struct(const char *what, const Field *fields, size_t n_fields, const json_t *object,
                       size_t n_fds, void *base, Error *error) {
    if (!json_is_object(object))
        return wrong(error, what, "is no object");
    for (size_t i = 0; i < n_fields; i++) {
        const json_t *value = json_object_get(object, fields[i].name);
        if (!value || json_is_null(value))
            continue; /* stays as plan_init made it */
        int r = read_field(&fields[i], value, n_fds, base, error);
        if (r < 0)
            return r;
    }
    return 0;
}
#define READ(what, fields, object, n_fds, base, error) \
    read_struct(what, fields, ARRAY_SIZE(fields), object, n_fds, base, error)

/* The list called `name`, with at most `max` items; absent is empty. */
static int read_list(const json_t *object, const char *name, size_t max, const json_t **list,
                     size_t *count, Error *error) {
    const json_t *found = json_object_get(object, name);
    if (found && !json_is_array(found))
        return wrong(error, name, "is no list");
    if (json_array_size(found) > max)
        return wrong(error, name, "has too many items");
    *list = found;
    *count = json_array_size(found);
    return 0;
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
        r = read_list(object, "files", PLAN_CHAIN_MAX, &files, &disk->n_files, error);
    for (size_t i = 0; r == 0 && i < disk->n_files; i++)
        r = READ("files", file_fields, json_array_get(files, i), n_fds, &disk->files[i], error);
    return r;
}

static int check_disk(const PlanDisk *disk, Error *error) {
    if (disk->n_files == 0)
        return wrong(error, "a disk", "has no files");
    if (!is_plain(disk->serial))
        return wrong(error, "serial", "has characters that QEMU would take for its own");
    for (size_t i = 0; i < disk->n_files; i++) {
        const PlanDiskFile *file = &disk->files[i];
        if (!str_equal(file->format, "qcow2") && !str_equal(file->format, "raw"))
            return wrong(error, "format", "is neither qcow2 nor raw");
        if (file->fd < 0)
            return wrong(error, "a disk", "has a file without a descriptor");
        if (i > 0 && file->fd_write >= 0)
            return wrong(error, "a disk", "would write below its overlay");
    }
    if (!disk->read_only && disk->files[0].fd_write < 0)
        return wrong(error, "a disk", "is to be written but not open for it");
    return 0;
}

static int read_disks(const json_t *json, size_t n_fds, Plan *plan, Error *error) {
    const json_t *list;
    int r = read_list(json, "disks", PLAN_DISKS_MAX, &list, &plan->n_disks, error);
    for (size_t i = 0; r == 0 && i < plan->n_disks; i++) {
        r = read_disk(json_array_get(list, i), n_fds, &plan->disks[i], error);
        if (r == 0)
            r = check_disk(&plan->disks[i], error);
    }
    return r;
}

static int read_forwards(const json_t *json, Plan *plan, Error *error) {
    const json_t *list;
    int r = read_list(json, "forwards", PLAN_FORWARDS_MAX, &list, &plan->n_forwards, error);
    for (size_t i = 0; r == 0 && i < plan->n_forwards; i++) {
        PlanForward *forward = &plan->forwards[i];
        r = READ("forwards", forward_fields, json_array_get(list, i), 0, forward, error);
        if (r == 0 && (!is_plain(forward->host_ip) || !forward->guest_port))
            r = wrong(error, "forwards", "have an address or port that is none");
    }
    return r;
}

static int read_patches(const json_t *json, size_t n_fds, Plan *plan, Error *error) {
    const json_t *list;
    int r = read_list(json, "patch_fds", PLAN_PATCHES_MAX, &list, &plan->n_patches, error);
    for (size_t i = 0; r == 0 && i < plan->n_patches; i++)
        r = read_fd("patch_fds", json_array_get(list, i), n_fds, &plan->patch_fds[i], error);
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
    return wrong(error, name, "is missing or unknown");
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
        return wrong(error, "vm_id", "is missing or no name");
    if (!plan->qemu || plan->qemu[0] != '/')
        return wrong(error, "qemu", "is no absolute path");
    if (!str_equal(plan->accel, "kvm") && !str_equal(plan->accel, "tcg"))
        return wrong(error, "accel", "is neither kvm nor tcg");
    if (!plan->machine[0] || !is_plain(plan->machine))
        return wrong(error, "machine", "is missing or no name");
    if (plan->memory_bytes < MEMORY_BYTES_MIN)
        return wrong(error, "memory_bytes", "is under 1 MiB");
    if (plan->cpus == 0)
        return wrong(error, "cpus", "is 0");
    return 0;
}

static int check_descriptors(const Plan *plan, Error *error) {
    if (plan->memory_fd < 0)
        return wrong(error, "memory_fd", "is missing");
    if (plan->console_dir_fd < 0)
        return wrong(error, "console_dir_fd", "is missing");
    if (plan->boot == PLAN_BOOT_COLD && plan->kernel_fd < 0)
        return wrong(error, "kernel_fd", "is missing");
    if (plan->boot == PLAN_BOOT_RESTORE && plan->state_fd < 0)
        return wrong(error, "state_fd", "is missing");
    if (plan->network == PLAN_NETWORK_TAP && plan->tap_fd < 0)
        return wrong(error, "tap_fd", "is missing");
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
