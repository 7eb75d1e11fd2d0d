/* SPDX-License-Identifier: Apache-2.0 */

/* One VM that grows from a snapshot: a row, a folder and an overlay like any VM, made in no time
 * since nothing is copied; its disk stands on the snapshot's layer and its memory on the snapshot's
 * base. */

#include "machine/clone.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/path.h"
#include "base/str.h"
#include "disk/base_file.h"
#include "frozen/disks.h"
#include "frozen/network_device.h"
#include "frozen/snapshot_files.h"
#include "frozen/snapshot_key.h"
#include "home/admission.h"
#include "home/card.h"
#include "home/home.h"
#include "home/limits.h"
#include "home/operation.h"
#include "home/policy.h"
#include "home/spec.h"
#include "machine/addresses.h"
#include "machine/rename.h"
#include "machine/resize_disk.h"
#include "machine/start_slots.h"
#include "run/launch.h"
#include "run/restore.h"
#include "run/run_end.h"
#include "storage/config_disk.h"
#include "store/snapshots.h"
#include "store/vms.h"

#define CLONE_LEAST_BYTES (32 * MIB) /* what a clone takes for itself before it does anything */

static void forget_addresses(VmCards *cards) {
    for (size_t i = 0; i < cards->count; i++)
        cards->items[i].ip[0] = cards->items[i].mac[0] = '\0';
}

/* What the source has, but for what only one VM can have, and then what the shape says, checked as
 * what a client sends. */
static int shape_spec(const VmSpec *source, const char *name, const CloneShape *shape, VmSpec *spec,
                      Error *error) {
    static const CloneShape none;
    shape = shape ? shape : &none;
    int r = shape->keep ? name_check_existing("VM", name, error) : name_check("VM", name, error);
    vm_spec_copy(source, spec);
    str_set(spec->name, name);
    str_set(spec->hostname, str_or_empty(shape->hostname));
    spec->forwards.count = 0;
    forget_addresses(&spec->cards);
    if (shape->keep) {
        str_set(spec->hostname, shape->keep->hostname);
        spec->cards = *shape->keep->cards;
    }
    spec->remove = false;
    spec->policy = (VmPolicy){0};
    spec->disk_bytes = shape->disk_bytes ? shape->disk_bytes : spec->disk_bytes;
    spec->memory_bytes = shape->memory_bytes ? shape->memory_bytes : spec->memory_bytes;
    spec->cpus = shape->cpus ? shape->cpus : spec->cpus;
    if (r >= 0)
        r = vm_cards_parse(shape->network, shape->networks, &spec->cards, error);
    if (r >= 0)
        r = vm_spec_check(spec, error);
    if (r >= 0)
        r = vm_spec_parse_forwards(shape->forwards, spec, error);
    if (r >= 0 && str_or_empty(shape->hostname)[0])
        r = vm_hostname_check(shape->hostname, error);
    if (r >= 0 && shape->config)
        r = config_disk_replace(&spec->mounts, shape->config, error);
    if (r >= 0 && shape->policy)
        r = vm_policy_parse(shape->policy, &spec->policy, error);
    if (r >= 0 && shape->limits)
        r = vm_limits_parse(shape->limits, &spec->limits, error);
    return r < 0 ? r : vm_spec_add_labels(spec, shape->labels, error);
}

static int refuse_frozen(const SnapshotRow *snapshot, const VmSpec *was, Error *error) {
    error_set(
        error, ERROR_USAGE, EINVAL,
        "%s holds the memory of a VM with %llu MiB and %u CPUs, and its clones go on with them",
        *snapshot->name ? snapshot->name : "the snapshot",
        (unsigned long long)(was->memory_bytes / MIB), was->cpus);
    error_set_hint(error, "fork a VM that is stopped: its clones boot with what you give them");
    return -EINVAL;
}

/* As many cards as the frozen guest has, or fewer, and a network only where one was. */
static int check_cards(const SnapshotRow *snapshot, const VmCards *now, Error *error) {
    const char *device = snapshot_network(snapshot);
    size_t count = network_device_count(device);
    if (!network_device_is_known(device))
        return 0; /* snapshot_check_host says what it is */
    if (now->count > count)
        return error_set(error, ERROR_USAGE, EINVAL,
                         "%s is of a VM with %zu network cards, and its clones have no more",
                         *snapshot->name ? snapshot->name : "the snapshot", count);
    for (size_t i = 0; i < now->count; i++) {
        if (str_equal(now->items[i].network, "none") || network_device_is_user(device, i) ||
            network_device_is_dgram(device, i))
            continue;
        error_set(
            error, ERROR_USAGE, EINVAL,
            "%s is of a VM whose network card was not connected, and nothing can be connected "
            "to it later",
            *snapshot->name ? snapshot->name : "the snapshot");
        error_set_hint(error, "fork a VM that was started with --network user or that of a name; "
                              "a clone of it may have --network none");
        return -EINVAL;
    }
    return 0;
}

/* What a snapshot with memory leaves no choice of. */
static int check_frozen(const SnapshotRow *snapshot, const VmSpec *was, const VmSpec *now,
                        Error *error) {
    if (!snapshot_has_memory(snapshot))
        return 0;
    if (was->memory_bytes != now->memory_bytes || was->cpus != now->cpus)
        return refuse_frozen(snapshot, was, error);
    return check_cards(snapshot, &now->cards, error);
}

static int plan_spec(const SnapshotRow *snapshot, const char *name, const CloneShape *shape,
                     VmSpec *spec, Error *error) {
    const VmSpec *was = &snapshot->data.spec;
    int r = shape_spec(was, name, shape, spec, error);
    if (r >= 0 && spec->disk_bytes < was->disk_bytes)
        r = error_set(error, ERROR_USAGE, EINVAL, "a disk only grows: it has %llu MiB already",
                      (unsigned long long)(was->disk_bytes / MIB));
    if (r >= 0)
        r = check_frozen(snapshot, was, spec, error);
    if (r >= 0)
        r = admission_pick_ports(&spec->forwards, error);
    return r < 0 ? r : admission_check_ports(spec, &spec->forwards, error);
}

static void plan_runtime(VmRow *row, const SnapshotRow *snapshot) {
    vm_update_hostname(row);
    vm_plan_addresses(row);
    str_replace(&row->runtime.base, str_or_empty(snapshot->data.base_path));
    str_set(row->runtime.kernel_key, snapshot->data.kernel_key);
    str_set(row->runtime.initramfs_key, snapshot->data.initramfs_key);
    vm_disks_plan(row);
    vm_disks_stand_on(row, snapshot->layer, &snapshot->data.disks);
}

int clone_plan(const SnapshotRow *snapshot, const char *name, const CloneShape *shape, VmRow *row,
               Error *error) {
    _cleanup_free_ char *id = random_hex(16);
    _cleanup_vm_spec_ VmSpec spec;
    int r = plan_spec(snapshot, name, shape, &spec, error);
    if (r < 0)
        return r;
    *row = (VmRow){.created_at_usec = clock_realtime_usec(), .state = STATE_CREATING, .spec = spec};
    vm_spec_init(&spec); /* the row's */
    (void)snprintf(row->id, sizeof(row->id), "%s", id);
    (void)snprintf(row->name, sizeof(row->name), "%s", name);
    (void)snprintf(row->image, sizeof(row->image), "%s", snapshot->image);
    (void)snprintf(row->image_digest, sizeof(row->image_digest), "%s", snapshot->image_digest);
    (void)snprintf(row->snapshot, sizeof(row->snapshot), "%s", snapshot->id);
    plan_runtime(row, snapshot);
    if (shape && shape->keep) {
        str_set(row->lab, shape->keep->lab);
        str_set(row->runtime.machine_id, shape->keep->machine_id);
    }
    return 0;
}

int clone_restore(Home *home, Operation *operation, VmRow *row, const Restore *restore,
                  int cancel_fd, Error *error) {
    bool silent;
    int r;
    r = start_slot_acquire(cancel_fd, error);
    if (r < 0)
        return r;
    r = operation_check(operation, error);
    if (r >= 0)
        r = admission_check_memory(CLONE_LEAST_BYTES, error);
    if (r >= 0)
        r = vm_launch_from(home, operation, row, restore, cancel_fd, &silent, error);
    start_slot_release();
    if (r < 0)
        return r;
    r = vm_resize_disk(home, operation, row, restore->snapshot, error);
    if (r < 0)
        (void)run_end_processes(home, row, NULL);
    return r;
}
