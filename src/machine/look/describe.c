/* SPDX-License-Identifier: Apache-2.0 */

/* A VM as JSON: docs/protocols.md and the contract's list of members. */

#include "machine/look/describe.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/path.h"
#include "base/process/process.h"
#include "base/str.h"
#include "frozen/disks.h"
#include "frozen/layers.h"
#include "home/home.h"
#include "home/inside.h"
#include "home/limits.h"
#include "home/op_lock.h"
#include "home/policy.h"
#include "machine/look/memory_use.h"
#include "store/vms.h"

static json_t *text_or_null(const char *text) {
    return text && *text ? json_string(text) : json_null();
}

static json_t *value_or_null(json_t *value) {
    return value ? json_incref(value) : json_null();
}

static json_t *number_or_null(uint64_t number) {
    return number ? json_integer((json_int_t)number) : json_null();
}

static json_t *describe_disk(Home *home, const VmRow *row) {
    _cleanup_free_ char *path = path_join(home->path, "vms", row->id, vm_disk_file(row, 0));
    const char *layer = row->runtime.root.layer;
    _cleanup_free_ char *backing =
        *layer ? layer_path(home, layer) : str_copy(str_or_empty(row->runtime.base));
    struct stat info;
    json_int_t allocated = 0;
    if (stat(path, &info) == 0)
        allocated = (json_int_t)info.st_blocks * 512;
    return json_pack("{s:s, s:o, s:I, s:I}", "path", path, "backing", text_or_null(backing),
                     "virtual_bytes", (json_int_t)row->spec.disk_bytes, "allocated_bytes",
                     allocated);
}

/* The overlay, or the volume or base itself. */
static char *disk_path(Home *home, const VmRow *row, size_t disk) {
    return vm_disk_has_overlay(row, disk)
               ? path_join(home->path, "vms", row->id, vm_disk_file(row, disk))
               : vm_disk_base(home, row, disk);
}

static char *disk_backing(Home *home, const VmRow *row, size_t disk) {
    const char *layer = vm_disk(row, disk)->layer;
    if (*layer)
        return layer_path(home, layer);
    return vm_disk_has_overlay(row, disk) ? vm_disk_base(home, row, disk) : str_copy("");
}

static json_t *describe_one(Home *home, const VmRow *row, size_t disk) {
    _cleanup_free_ char *path = disk_path(home, row, disk),
                        *backing = disk_backing(home, row, disk);
    const VmMount *mount = vm_disk_mount(row, disk);
    char serial[VM_SERIAL_SIZE] = "root";
    struct stat info = {0};
    if (mount)
        vm_mount_serial(&row->spec.mounts, disk - 1, serial);
    if (stat(path, &info) < 0)
        info.st_blocks = 0;
    return json_pack(
        "{s:s, s:s, s:o, s:s, s:o, s:b, s:s, s:o, s:I, s:I}", "kind",
        mount ? vm_mount_kind_name(mount->kind) : "root", "serial", serial, "name",
        text_or_null(mount ? mount->name : row->image), "mounted_at", mount ? mount->path : "/",
        "digest", text_or_null(mount ? mount->base : row->image_digest), "read_only",
        mount && (mount->read_only || mount->kind == VM_MOUNT_CONFIG), "path", path, "backing",
        text_or_null(backing), "virtual_bytes", (json_int_t)vm_disk_bytes(row, disk),
        "allocated_bytes", (json_int_t)info.st_blocks * 512);
}

static json_t *describe_disks(Home *home, const VmRow *row) {
    json_t *list = json_array();
    for (size_t i = 0; i < vm_disk_count(row); i++)
        (void)json_array_append_new(list, describe_one(home, row, i));
    return list;
}

/* What this VM alone holds: the pages that it wrote, in memory or swapped out; not those of the
 * memory that it maps, whoever else has touched them, and of pages that it shares with the zygote
 * its share. Reading it needs the right to trace the process; where that lacks, it is null. */
int row_private_bytes(const VmRow *row, uint64_t *bytes) {
    ProcessIdentity qemu = row->runtime.qemu, now;
    MemoryShare share;
    int r;
    if (qemu.pid <= 0 || process_identify(qemu.pid, &now) < 0 ||
        now.start_ticks != qemu.start_ticks)
        return -ESRCH;
    r = memory_share_read(qemu.pid, &share);
    if (r < 0)
        return r;
    *bytes = share.private_bytes;
    return 0;
}

/* A sealed memfd, blank or a snapshot's hot memory, has no path of its own; it is reached through
 * the QEMU that maps it. */
static json_t *find_memory_base(const VmRow *row) {
    const char *name = str_or_empty(row->runtime.memory_base);
    ino_t inode = (ino_t)row->runtime.memory_inode;
    pid_t qemu = row->runtime.qemu.pid;
    struct stat info;
    if (qemu <= 0 || (stat(name, &info) == 0 && info.st_ino == inode))
        return text_or_null(row->runtime.memory_base);
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
    return json_pack("{s:o, s:o, s:o, s:n, s:n, s:n}", "base", find_memory_base(row), "base_inode",
                     number_or_null(row->runtime.memory_inode), "private_bytes",
                     r < 0 ? json_null() : json_integer((json_int_t)bytes), "guest_bytes",
                     "code_bytes", "qemu_bytes");
}

static json_t *describe_stages(const VmRow *row) {
    json_t *stages = row->runtime.stages;
    return stages ? json_incref(stages) : json_array();
}

/* What the specification asked for. */
static json_t *describe_wishes(const VmRow *row) {
    const VmSpec *spec = &row->spec;
    return json_pack("{s:I, s:i, s:s, s:o, s:o, s:o, s:o, s:s, s:I, s:b, s:o}", "memory_bytes",
                     (json_int_t)spec->memory_bytes, "cpus", (int)spec->cpus, "network",
                     vm_spec_network(spec), "net_limit", net_limit_to_json(&spec->net_limit),
                     "limits", vm_limits_describe(&spec->limits), "forwards",
                     vm_spec_forwards_to_json(spec), "env", vm_spec_env_to_json(spec), "wait_for",
                     spec->wait_for, "wait_timeout_s", (json_int_t)spec->wait_timeout_s, "remove",
                     row->remove, "labels",
                     spec->labels ? json_incref(spec->labels) : json_object());
}

/* What the guest's card is called, where its network knows it by another MAC address. */
static json_t *describe_guest_mac(const VmRow *row, size_t card, const char *mac) {
    char in_guest[18];
    bool other = guest_macs_get(row->runtime.guest_macs, card, in_guest) &&
                 !str_equal(in_guest, mac) && row->runtime.keeper.pid > 0;
    return other ? json_string(in_guest) : json_null();
}

static json_t *describe_networks(const VmRow *row) {
    json_t *list = json_array();
    for (size_t i = 0; i < row->spec.cards.count; i++) {
        _cleanup_free_ char *card = str_format("eth%zu", i);
        VmAddress address = vm_address(row, i);
        (void)json_array_append_new(list, json_pack("{s:s, s:s, s:o, s:o, s:o, s:o}", "name",
                                                    row->spec.cards.items[i].network, "card", card,
                                                    "ip", text_or_null(address.ip), "ip6",
                                                    text_or_null(address.ip6), "mac",
                                                    text_or_null(address.mac), "guest_mac",
                                                    describe_guest_mac(row, i, address.mac)));
    }
    return list;
}

/* Does the guest answer? null where that is not to be expected. */
static json_t *describe_pulse(const VmRow *row) {
    return row->state == STATE_RUNNING ? json_boolean(!row->runtime.silent) : json_null();
}

/* What it is. */
static json_t *describe_facts(Home *home, const VmRow *row) {
    bool pending =
        vm_state_is_active(row->state) && op_lock_is_held_for(home->locks, row->id, OP_TAKING_OVER);
    _cleanup_free_ char *created = clock_format_realtime(row->created_at_usec);
    return json_pack("{s:s, s:s, s:s, s:o, s:b, s:s, s:s, s:o, s:s, s:s}", "id", row->id, "name",
                     row->name, "state", vm_state_name(pending ? STATE_UNKNOWN : row->state),
                     "responsive", describe_pulse(row), "no_room", row->runtime.no_room, "image",
                     row->image, "image_digest", row->image_digest, "snapshot",
                     text_or_null(row->snapshot), "mac", row->mac, "created_at", created);
}

static json_t *describe_run(Home *home, const VmRow *row) {
    const VmRuntime *run = &row->runtime;
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, "
                     "s:o, s:o, s:o}",
                     "accel", text_or_null(run->accel), "machine", text_or_null(run->machine),
                     "qemu_pid", number_or_null((uint64_t)run->qemu.pid), "keeper_pid",
                     number_or_null((uint64_t)run->keeper.pid), "ip", text_or_null(run->ip),
                     "networks", describe_networks(row), "hostname", text_or_null(run->hostname),
                     "ssh_host_key", text_or_null(run->ssh_host_key), "boot",
                     text_or_null(run->boot), "held", value_or_null(run->held), "agent_version",
                     text_or_null(run->agent_version), "disk", describe_disk(home, row), "disks",
                     describe_disks(home, row), "memory", describe_memory(row), "stages",
                     describe_stages(row), "exit", value_or_null(run->exit), "error",
                     value_or_null(run->error), "fallback", value_or_null(run->fallback));
}

/* How its image is run, and what of it runs; null: it has no program. */
static json_t *describe_program(const VmRow *row) {
    static const char *const end[] = {"exit_status", "ended_at"};
    json_t *program;
    if (!row->spec.has_program)
        return json_null();
    program = image_config_to_json(&row->spec.config);
    (void)json_object_del(program, "entrypoint");
    (void)json_object_del(program, "command");
    (void)json_object_set_new(program, "argv", image_config_argv(&row->spec.config));
    for (size_t i = 0; i < ARRAY_SIZE(end); i++)
        (void)json_object_set_new(program, end[i],
                                  value_or_null(json_object_get(row->runtime.program, end[i])));
    return program;
}

int vm_describe(Home *home, const VmRow *row, json_t **vm, Error *error) {
    _cleanup_json_ json_t *whole = describe_facts(home, row);
    _cleanup_json_ json_t *wishes = describe_wishes(row);
    Now now = now_read();
    _cleanup_json_ json_t *policy = policy_describe(row, &now);
    _cleanup_json_ json_t *run = describe_run(home, row);
    if (!whole || !wishes || !run || !policy || json_object_update(whole, wishes) < 0 ||
        json_object_update(whole, policy) < 0 || json_object_update(whole, run) < 0)
        return error_set(error, ERROR_FAILED, ENOMEM, "cannot describe %s", row->name);
    (void)json_object_set_new(whole, "program", describe_program(row));
    *vm = TAKE_PTR(whole);
    return 0;
}

int vm_answer(Home *home, const VmRow *row, json_t **vm, Error *error) {
    return vm ? vm_describe(home, row, vm, error) : 0;
}
