/* SPDX-License-Identifier: Apache-2.0 */

/* A VM as JSON: docs/protocols.md and the contract's list of members. */

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "vm/image_digest.h"
#include "vm/snapshot_internal.h"

static json_t *text_or_null(const char *text) {
    return text && *text ? json_string(text) : json_null();
}

static json_t *member_or_null(const json_t *object, const char *key) {
    json_t *value = json_object_get(object, key);

    return value ? json_incref(value) : json_null();
}

static json_t *pid_or_null(const VmRow *row, const char *who) {
    ProcessIdentity identity = row_process(row, who);

    return identity.pid > 0 ? json_integer(identity.pid) : json_null();
}

static json_t *describe_disk(Ramet *ramet, const VmRow *row) {
    _cleanup_free_ char *path = path_join(ramet->home, "vms", row->id, vm_disk_file(row));
    const char *layer = row_text(row, "layer");
    _cleanup_free_ char *backing =
        *layer ? layer_path(ramet, layer) : str_copy(row_text(row, "base"));
    struct stat info;
    json_int_t allocated = 0;

    if (stat(path, &info) == 0)
        allocated = (json_int_t)info.st_blocks * 512;
    return json_pack("{s:s, s:o, s:o, s:I}", "path", path, "backing", text_or_null(backing),
                     "virtual_bytes", member_or_null(row->spec, "disk_bytes"), "allocated_bytes",
                     allocated);
}

/* What this VM alone holds: the pages that it wrote, in memory or swapped out. Reading it needs the
 * right to trace the process; where that lacks, it is null. */
int row_private_bytes(const VmRow *row, uint64_t *bytes) {
    ProcessIdentity qemu = row_process(row, "qemu"), now;
    _cleanup_free_ char *path = str_format("/proc/%d/smaps_rollup", (int)qemu.pid);
    _cleanup_fclose_ FILE *file = NULL;
    uint64_t sum = 0;
    bool found = false;
    char line[256];

    if (qemu.pid <= 0 || process_identify(qemu.pid, &now) < 0 ||
        now.start_ticks != qemu.start_ticks)
        return -ESRCH;
    file = fopen(path, "re");
    if (!file)
        return -errno;
    while (fgets(line, sizeof(line), file)) {
        unsigned long long kib;

        if (sscanf(line, "Private_Dirty: %llu kB", &kib) == 1 ||
            sscanf(line, "SwapPss: %llu kB", &kib) == 1) {
            sum += kib * KIB;
            found = true;
        }
    }
    if (!found)
        return -ENODATA;
    *bytes = sum;
    return 0;
}

/* A sealed memfd, blank or a snapshot's hot memory, has no path of its own; it is reached through
 * the QEMU that maps it. */
static json_t *find_memory_base(const VmRow *row) {
    const char *name = row_text(row, "memory_base");
    ino_t inode = (ino_t)row_u64(row, "memory_inode");
    pid_t qemu = row_process(row, "qemu").pid;
    struct stat info;

    if (qemu <= 0 || (stat(name, &info) == 0 && info.st_ino == inode))
        return member_or_null(row->runtime, "memory_base");
    for (int fd = 3; fd < 256; fd++) {
        _cleanup_free_ char *path = str_format("/proc/%d/fd/%d", (int)qemu, fd);

        if (stat(path, &info) == 0 && info.st_ino == inode && S_ISREG(info.st_mode))
            return json_string(path);
    }
    return json_string(name);
}

static json_t *describe_memory(const VmRow *row) {
    uint64_t bytes;
    int r = row_private_bytes(row, &bytes);

    return json_pack("{s:o, s:o, s:o}", "base", find_memory_base(row), "base_inode",
                     member_or_null(row->runtime, "memory_inode"), "private_bytes",
                     r < 0 ? json_null() : json_integer((json_int_t)bytes));
}

static json_t *describe_stages(const VmRow *row) {
    json_t *stages = json_object_get(row->runtime, "stages");

    return stages ? json_incref(stages) : json_array();
}

/* What the specification asked for. */
static json_t *describe_wishes(const VmRow *row) {
    return json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:b}", "memory_bytes", member_or_null(row->spec, "memory_bytes"),
        "cpus", member_or_null(row->spec, "cpus"), "network", member_or_null(row->spec, "network"),
        "forwards", member_or_null(row->spec, "forwards"), "env", member_or_null(row->spec, "env"),
        "remove", row->remove);
}

/* What it is. */
static json_t *describe_facts(const VmRow *row) {
    _cleanup_free_ char *created = clock_format_realtime(row->created_at_usec);

    return json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:s, s:s}", "id", row->id, "name", row->name,
                     "state", row->state, "image", row->image, "image_digest",
                     image_digest_to_json(row->image_digest), "snapshot",
                     text_or_null(row->snapshot), "mac", row->mac, "created_at", created);
}

static json_t *describe_run(Ramet *ramet, const VmRow *row) {
    return json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "accel",
        member_or_null(row->runtime, "accel"), "machine", member_or_null(row->runtime, "machine"),
        "qemu_pid", pid_or_null(row, "qemu"), "keeper_pid", pid_or_null(row, "keeper"), "ip",
        member_or_null(row->runtime, "ip"), "hostname", member_or_null(row->runtime, "hostname"),
        "boot", member_or_null(row->runtime, "boot"), "agent_version",
        member_or_null(row->runtime, "agent_version"), "disk", describe_disk(ramet, row), "memory",
        describe_memory(row), "stages", describe_stages(row), "exit",
        member_or_null(row->runtime, "exit"), "error", member_or_null(row->runtime, "error"),
        "fallback", member_or_null(row->runtime, "fallback"));
}

int vm_describe(Ramet *ramet, const VmRow *row, json_t **vm, Error *error) {
    _cleanup_json_ json_t *whole = describe_facts(row);
    _cleanup_json_ json_t *wishes = describe_wishes(row);
    _cleanup_json_ json_t *run = describe_run(ramet, row);

    if (!whole || !wishes || !run || json_object_update(whole, wishes) < 0 ||
        json_object_update(whole, run) < 0)
        return error_set(error, ERROR_FAILED, ENOMEM, "cannot describe %s", row->name);
    *vm = TAKE_PTR(whole);
    return 0;
}

int vm_answer(Ramet *ramet, const VmRow *row, json_t **vm, Error *error) {
    return vm ? vm_describe(ramet, row, vm, error) : 0;
}
