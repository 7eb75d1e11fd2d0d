/* SPDX-License-Identifier: Apache-2.0 */

/* Making a VM: its row, its folder, its overlay. The row is `creating` until all is there, which
 * nobody sees; a daemon that dies in between removes it at its next start. */

#include "machine/create.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/str.h"
#include "catalog/images.h"
#include "catalog/own_kernel.h"
#include "frozen/disks.h"
#include "frozen/layers.h"
#include "home/admission.h"
#include "home/home.h"
#include "home/identity.h"
#include "home/inside.h"
#include "home/op_lock.h"
#include "home/operation.h"
#include "home/row.h"
#include "home/spec.h"
#include "limits/enforce.h"
#include "machine/addresses.h"
#include "machine/look/describe.h"
#include "machine/machine.h"
#include "machine/program.h"
#include "machine/remove.h"
#include "machine/rename.h"
#include "network/lease.h"
#include "storage/bases.h"
#include "storage/config_disk.h"
#include "storage/mounts.h"
#include "store/disks/disk_uses.h"
#include "store/disks/volumes.h"
#include "store/images.h"
#include "store/store.h"
#include "store/vms.h"

#define DRAWS_MAX 16 /* a MAC has 24 random bits */

/* ---- the row ---- */

static int resolve_disk(const json_t *detail, VmSpec *spec, Error *error) {
    uint64_t disk = (uint64_t)json_integer_value(json_object_get(detail, "minimum_disk_bytes"));
    if (spec->disk_bytes && spec->disk_bytes < disk) {
        error_set(error, ERROR_USAGE, EINVAL,
                  "a disk of %llu MiB is smaller than the image's (%llu MiB)",
                  (unsigned long long)(spec->disk_bytes / MIB), (unsigned long long)(disk / MIB));
        error_set_hint(error, "disks only grow; leave out disk or ask for more");
        return -EINVAL;
    }
    if (!spec->disk_bytes)
        spec->disk_bytes = disk;
    return 0;
}

static int resolve_sizes(const ImageRow *image, VmSpec *spec, Error *error) {
    int r = vm_spec_check_memory(spec->memory_bytes, error);
    if (r < 0)
        return r;
    if (!spec->memory_bytes)
        spec->memory_bytes =
            (uint64_t)json_integer_value(json_object_get(image->detail, "default_memory_bytes"));
    if (!spec->memory_bytes)
        spec->memory_bytes = 512 * MIB;
    if (!spec->cpus)
        spec->cpus = image_row_cpus(image);
    r = vm_spec_check_cpus(spec->cpus, error);
    return r < 0 ? r : resolve_disk(image->detail, spec, error);
}

static void fill_row(const Home *home, VmRow *row, const VmSpec *spec, const ImageRow *image,
                     bool attached) {
    _cleanup_free_ char *base = image_row_path(home, image);
    _cleanup_free_ char *id = random_hex(16);
    *row = (VmRow){.remove = spec->remove,
                   .attached = attached,
                   .created_at_usec = clock_realtime_usec(),
                   .state = STATE_CREATING};
    vm_spec_copy(spec, &row->spec);
    (void)snprintf(row->id, sizeof(row->id), "%s", id);
    (void)snprintf(row->name, sizeof(row->name), "%s", spec->name);
    str_set(row->lab, spec->lab);
    (void)snprintf(row->image, sizeof(row->image), "%s", image->name);
    (void)snprintf(row->image_digest, sizeof(row->image_digest), "%s", image->digest);
    vm_update_hostname(row);
    vm_plan_addresses(row);
    vm_disks_plan(row);
    str_replace(&row->runtime.base, base);
    str_set(row->runtime.kernel_key,
            str_or_empty(json_string_value(json_object_get(image->detail, "kernel_key"))));
}

/* The base is still there, though another image may have its name now. */
static int check_image(Home *home, VmRow *row, Error *error) {
    size_t count;
    int r = images_count_uses(home->store, row->image_digest, &count, error);
    if (r < 0 || count > 0)
        return r;
    return error_set(error, ERROR_NOT_FOUND, ENOENT, "image %s was removed meanwhile", row->image);
}

/* One without a name, of a recipe, is nobody's until then; who makes the VM holds it. */
static bool is_held(Home *home, const VmMount *mount) {
    return !*mount->name && !mount->of_image && base_is_held(home, mount->base);
}

/* The same of its seeds. */
static int check_bases(Home *home, const VmRow *row, Error *error) {
    int r = 0;
    for (size_t i = 0; r >= 0 && i < row->spec.mounts.count; i++) {
        const VmMount *mount = &row->spec.mounts.items[i];
        uint64_t uses = 1;
        if (mount->kind == VM_MOUNT_SEED)
            r = disk_uses_count_base(home->store, mount->base, &uses, error);
        else if (mount->kind == VM_MOUNT_VOLUME)
            r = volumes_count(home->store, mount->volume, &uses, error);
        if (r >= 0 && uses == 0 && !is_held(home, mount))
            r = error_set(error, ERROR_NOT_FOUND, ENOENT, "%s %s was removed meanwhile",
                          vm_mount_kind_name(mount->kind), mount->name);
    }
    return r;
}

/* One transaction: the image is still there, and uid, name and addresses are free. */
static int insert_once(Home *home, VmRow *row, Error *error) {
    int r = store_begin(home->store, error);
    if (r < 0)
        return r;
    r = check_image(home, row, error);
    if (r >= 0)
        r = check_bases(home, row, error);
    if (r >= 0 && home->uid_count > 0)
        r = vms_pick_uid(home->store, home->uid_first, home->uid_count, &row->uid, error);
    if (r >= 0)
        r = network_lease(home->store, row, error);
    if (r >= 0)
        r = vms_insert(home->store, row, error);
    if (r < 0) {
        store_rollback(home->store);
        return r;
    }
    return store_commit(home->store, error);
}

int vm_insert_row(Home *home, VmRow *row, Error *error) {
    int r = -EAGAIN;
    for (int i = 0; i < DRAWS_MAX && r == -EAGAIN; i++) {
        error_clear(error);
        identity_mac(row->mac);
        r = insert_once(home, row, error);
    }
    return r;
}

/* ---- the folder ---- */

int vm_make_folder(Home *home, const VmRow *row, bool durable, Error *error) {
    uint64_t bytes = row->spec.disk_bytes;
    _cleanup_close_ int dir_fd = -1;
    int r;
    if (mkdirat(home->vms_fd, row->id, 0700) < 0)
        return error_set_errno(error, errno, "cannot make %s/vms/%s", home->path, row->id);
    r = vm_folder_open(home, row->id, &dir_fd, error);
    if (r >= 0)
        r = layer_make_overlay(home, row, dir_fd, vm_disk_file(row, 0), row->runtime.root.layer,
                               str_or_empty(row->runtime.base), bytes, durable, error);
    if (r >= 0)
        r = layer_make_overlays(home, row, dir_fd, durable, error);
    if (r >= 0 && row->uid && fchown(dir_fd, row->uid, row->uid) < 0)
        r = error_set_errno(error, errno, "cannot give the VM's folder to user %u", row->uid);
    return r;
}

/* ---- all of it ---- */

static int check_name(Home *home, const char *name, Error *error) {
    _cleanup_vm_row_ VmRow taken = {0};
    int r = vms_find(home->store, name, &taken, NULL);
    if (r < 0 || !str_equal(taken.name, name))
        return 0;
    error_set(error, ERROR_CONFLICT, EEXIST, "there is a VM %s already", name);
    error_set_hint(error, "choose another name, or remove it with ramet rm %s", name);
    return -EEXIST;
}

int vm_plan_row(Home *home, Operation *operation, const VmSpec *spec, CreateKind kind, VmRow *row,
                Error *error) {
    _cleanup_image_row_ ImageRow image = {0};
    _cleanup_vm_spec_ VmSpec resolved;
    int r;
    vm_spec_copy(spec, &resolved);
    if (!*resolved.name) {
        _cleanup_free_ char *name = identity_name();
        (void)snprintf(resolved.name, sizeof(resolved.name), "%s", name);
    }
    /* Name, seeds and ports are found out before an image is built for a VM that cannot be made. */
    r = check_name(home, resolved.name, error);
    if (r >= 0)
        r = config_disk_add(home, operation, &resolved, error);
    if (r >= 0)
        r = mounts_resolve(home, &resolved.mounts, error);
    if (r >= 0)
        r = network_check_cards(home->store, &spec->cards, error);
    if (r >= 0)
        r = limits_check(home, &spec->limits, error);
    if (r >= 0 && kind != CREATE_ONLY)
        r = admission_check_ports(spec, &spec->forwards, error);
    if (r >= 0)
        r = admission_pick_ports(&resolved.forwards, error);
    if (r >= 0)
        r = admission_check_disk(home, error);
    if (r >= 0)
        r = image_for_vm(home, operation, resolved.image, &image, error);
    if (r >= 0 && resolved.microvm)
        r = image_row_use_own_kernel(home, operation, &image, error);
    if (r >= 0)
        program_resolve(&image, &resolved);
    if (r >= 0)
        program_publish(&resolved);
    if (r >= 0)
        r = admission_pick_ports(&resolved.forwards, error);
    if (r >= 0)
        r = resolve_sizes(&image, &resolved, error);
    if (r >= 0)
        mounts_add_of_image(home, operation, json_object_get(image.detail, "seeds"),
                            &resolved.mounts);
    if (r >= 0)
        r = mounts_resolve(home, &resolved.mounts, error);
    if (r >= 0)
        fill_row(home, row, &resolved, &image, kind == CREATE_FOR_CLIENT);
    if (r >= 0 && kind != CREATE_ONLY)
        row->runtime.half_run = true;
    return r;
}

int vm_create_planned(Home *home, Operation *operation, VmRow *planned, CreateKind kind,
                      OpLock **lock, VmRow *row, Error *error) {
    _cleanup_error_ Error failure = ERROR_INIT;
    _cleanup_op_lock_ OpLock *taken = NULL;
    _cleanup_vm_row_ VmRow made = *planned;
    int r;
    *planned = (VmRow){0};
    r = op_lock(home->locks, made.id, "being made", operation->cancel_fd, &taken, &failure);
    if (r >= 0)
        r = vm_insert_row(home, &made, &failure);
    if (r < 0)
        return error_move(error, &failure);

    operation_enter(operation, "overlay");
    /* What `run` makes is gone after a crash anyway, and a clone's layers are durable: later QEMU
     * flushes the overlay when the guest asks. */
    r = vm_make_folder(home, &made, !made.runtime.half_run && !*made.runtime.root.layer, &failure);
    if (r >= 0 && kind == CREATE_ONLY)
        r = row_set_state(home, &made, STATE_CREATED, NULL, &failure);
    if (r < 0) {
        (void)vm_remove_locked(home, &made, NULL);
        return error_move(error, &failure);
    }
    *row = made;
    made = (VmRow){0};
    *lock = TAKE_PTR(taken);
    return 0;
}

int vm_create_locked(Home *home, Operation *operation, const VmSpec *spec, CreateKind kind,
                     OpLock **lock, VmRow *row, Error *error) {
    _cleanup_vm_row_ VmRow planned = {0};
    int r = vm_plan_row(home, operation, spec, kind, &planned, error);
    return r < 0 ? r : vm_create_planned(home, operation, &planned, kind, lock, row, error);
}

int vm_create(Home *home, Operation *operation, const VmSpec *spec, json_t **vm, Error *error) {
    _cleanup_config_disk_ Home *held = config_disk_hold(home, spec->config_disk);
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_vm_row_ VmRow row = {0};
    int r;
    operation_enter(operation, "plan");
    r = vm_create_locked(home, operation, spec, CREATE_ONLY, &lock, &row, error);
    stages_end(&operation->stages);
    if (r >= 0) {
        json_replace(&row.runtime.stages, json_from_stages(&operation->stages));
        r = vms_update(home->store, &row, error);
    }
    return r < 0 ? r : vm_answer(home, &row, vm, error);
}
