/* SPDX-License-Identifier: Apache-2.0 */

/* Making a VM: its row, its folder, its overlay. The row is `creating` until all is there, which
 * nobody sees; a daemon that dies in between removes it at its next start. */

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/log.h"
#include "disk/overlay.h"
#include "qemu/argv.h"
#include "vm/image_digest.h"
#include "vm/snapshot_internal.h"
#include "vm/vm.h"

#define DRAWS_MAX 16 /* a MAC has 24 random bits */

/* --- the row
 * ----------------------------------------------------------------------------------------- */

static int resolve_sizes(const json_t *detail, VmSpec *spec, Error *error) {
    uint64_t disk = (uint64_t)json_integer_value(json_object_get(detail, "minimum_disk_bytes"));

    if (!spec->memory_bytes)
        spec->memory_bytes =
            (uint64_t)json_integer_value(json_object_get(detail, "default_memory_bytes"));
    if (!spec->memory_bytes)
        spec->memory_bytes = 512 * MIB;
    if (spec->disk_bytes && spec->disk_bytes < disk) {
        error_set(error, ERROR_USAGE, EINVAL,
                  "a disk of %llu MiB is smaller than the image's (%llu MiB)",
                  (unsigned long long)(spec->disk_bytes / MIB), (unsigned long long)(disk / MIB));
        error_set_hint(error, "disks only grow; leave --disk out or ask for more");
        return -EINVAL;
    }
    if (!spec->disk_bytes)
        spec->disk_bytes = disk;
    return 0;
}

static void fill_row(const Ramet *ramet, VmRow *row, const VmSpec *spec, const ImageRow *image,
                     bool attached) {
    _cleanup_free_ char *base = image_row_path(ramet, image);
    _cleanup_free_ char *id = random_hex(16);
    _cleanup_free_ char *hostname = identity_hostname(spec->name, id);

    *row = (VmRow){.remove = spec->remove,
                   .attached = attached,
                   .created_at_usec = clock_realtime_usec(),
                   .state = STATE_CREATING,
                   .spec = vm_spec_to_json(spec)};
    (void)snprintf(row->id, sizeof(row->id), "%s", id);
    (void)snprintf(row->name, sizeof(row->name), "%s", spec->name);
    (void)snprintf(row->image, sizeof(row->image), "%s", image->name);
    (void)snprintf(row->image_digest, sizeof(row->image_digest), "%s", image->digest);
    row_set(row, "hostname", json_string(hostname));
    row_set(row, "ip", str_equal(spec->network, "user") ? json_string(QEMU_USER_GUEST) : NULL);
    row_set(row, "base", json_string(base));
    row_set(row, "kernel_key", json_incref(json_object_get(image->detail, "kernel_key")));
}

/* The image is still there; its digest may be known since the VM was planned. */
static int check_image(Ramet *ramet, VmRow *row, Error *error) {
    size_t count;
    int r = images_count_digest(ramet->store, row->image_digest, &count, error);

    if (r >= 0 && count == 0) {
        image_digest_look(ramet, row->image_digest);
        r = images_count_digest(ramet->store, row->image_digest, &count, error);
    }
    if (r < 0 || count > 0)
        return r;
    return error_set(error, ERROR_NOT_FOUND, ENOENT, "image %s was removed meanwhile", row->image);
}

/* One transaction: the image is still there, the uid is free, the name is free. */
static int insert_once(Ramet *ramet, VmRow *row, Error *error) {
    int r = store_begin(ramet->store, error);

    if (r < 0)
        return r;
    r = check_image(ramet, row, error);
    if (r >= 0 && ramet->uid_count > 0)
        r = vms_pick_uid(ramet->store, ramet->uid_first, ramet->uid_count, &row->uid, error);
    if (r >= 0)
        r = vms_insert(ramet->store, row, error);
    if (r < 0) {
        store_rollback(ramet->store);
        return r;
    }
    return store_commit(ramet->store, error);
}

int vm_insert_row(Ramet *ramet, VmRow *row, Error *error) {
    int r = -EAGAIN;

    for (int i = 0; i < DRAWS_MAX && r == -EAGAIN; i++) {
        error_clear(error);
        identity_mac(row->mac);
        r = insert_once(ramet, row, error);
    }
    return r;
}

/* --- the folder
 * --------------------------------------------------------------------------------------- */

int vm_make_folder(Ramet *ramet, const VmRow *row, bool durable, Error *error) {
    uint64_t bytes = (uint64_t)json_integer_value(json_object_get(row->spec, "disk_bytes"));
    _cleanup_close_ int dir_fd = -1;
    int r;

    if (mkdirat(ramet->vms_fd, row->id, 0700) < 0)
        return error_set_errno(error, errno, "cannot make %s/vms/%s", ramet->home, row->id);
    r = vm_folder_open(ramet, row->id, &dir_fd, error);
    if (r >= 0)
        r = layer_make_overlay(ramet, row, dir_fd, vm_disk_file(row), row_text(row, "layer"),
                               row_text(row, "base"), bytes, durable, error);
    if (r >= 0 && row->uid && fchown(dir_fd, row->uid, row->uid) < 0)
        r = error_set_errno(error, errno, "cannot give the VM's folder to user %u", row->uid);
    return r;
}

/* --- all of it
 * ------------------------------------------------------------------------------------------ */

/* Name and ports are found out before an image is built for a VM that cannot be made. */
static int check_ports(const VmSpec *spec, Error *error) {
    _cleanup_json_ json_t *forwards = vm_spec_forwards_to_json(spec);

    return admission_check_ports(forwards, error);
}

static int check_name(Ramet *ramet, const char *name, Error *error) {
    _cleanup_vm_row_ VmRow taken = {0};
    int r = vms_find(ramet->store, name, &taken, NULL);

    if (r < 0 || !str_equal(taken.name, name))
        return 0;
    error_set(error, ERROR_CONFLICT, EEXIST, "there is a VM %s already", name);
    error_set_hint(error, "choose another name, or remove it with ramet rm %s", name);
    return -EEXIST;
}

int vm_plan_row(Ramet *ramet, Operation *operation, const VmSpec *spec, CreateKind kind, VmRow *row,
                Error *error) {
    _cleanup_image_row_ ImageRow image = {0};
    VmSpec resolved = *spec; /* its env stays the caller's */
    int r;

    if (!*resolved.name) {
        _cleanup_free_ char *name = identity_name();

        (void)snprintf(resolved.name, sizeof(resolved.name), "%s", name);
    }
    r = check_name(ramet, resolved.name, error);
    if (r >= 0 && kind != CREATE_ONLY)
        r = check_ports(spec, error);
    if (r >= 0)
        r = admission_check_disk(ramet, error);
    if (r >= 0)
        r = image_for_vm(ramet, operation, resolved.image, &image, error);
    if (r >= 0)
        r = resolve_sizes(image.detail, &resolved, error);
    if (r >= 0)
        fill_row(ramet, row, &resolved, &image, kind == CREATE_FOR_CLIENT);
    if (r >= 0 && kind != CREATE_ONLY)
        row_mark_half_run(row);
    return r;
}

int vm_make_planned(Ramet *ramet, Operation *operation, VmRow *planned, CreateKind kind,
                    OpLock **lock, VmRow *row, Error *error) {
    _cleanup_error_ Error failure = ERROR_INIT;
    _cleanup_op_lock_ OpLock *taken = NULL;
    _cleanup_vm_row_ VmRow made = *planned;
    int r;

    *planned = (VmRow){0};
    r = op_lock(ramet->locks, made.id, "being made", operation->cancel_fd, &taken, &failure);
    if (r >= 0)
        r = vm_insert_row(ramet, &made, &failure);
    if (r < 0)
        return error_move(error, &failure);

    operation_enter(operation, "overlay");
    /* What `run` makes is gone after a crash anyway, and a clone's layers are durable: later QEMU
     * flushes the overlay when the guest asks. */
    r = vm_make_folder(ramet, &made, !row_is_half_run(&made) && !*row_text(&made, "layer"),
                       &failure);
    if (r >= 0 && kind == CREATE_ONLY)
        r = row_set_state(ramet, &made, STATE_CREATED, NULL, &failure);
    if (r < 0) {
        (void)vm_remove_locked(ramet, &made, NULL);
        return error_move(error, &failure);
    }
    *row = made;
    made = (VmRow){0};
    *lock = TAKE_PTR(taken);
    return 0;
}

int vm_create_locked(Ramet *ramet, Operation *operation, const VmSpec *spec, CreateKind kind,
                     OpLock **lock, VmRow *row, Error *error) {
    _cleanup_vm_row_ VmRow planned = {0};
    int r = vm_plan_row(ramet, operation, spec, kind, &planned, error);

    return r < 0 ? r : vm_make_planned(ramet, operation, &planned, kind, lock, row, error);
}

int vm_create(Ramet *ramet, Operation *operation, const VmSpec *spec, json_t **vm, Error *error) {
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_vm_row_ VmRow row = {0};
    int r;

    operation_enter(operation, "plan");
    r = vm_create_locked(ramet, operation, spec, CREATE_ONLY, &lock, &row, error);
    stages_end(&operation->stages);
    if (r >= 0) {
        row_set(&row, "stages", json_from_stages(&operation->stages));
        r = vms_update(ramet->store, &row, error);
    }
    return r < 0 ? r : vm_answer(ramet, &row, vm, error);
}
