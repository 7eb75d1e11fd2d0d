/* SPDX-License-Identifier: Apache-2.0 */

/* A snapshot goes out with all that it stands on: the whole memory, whatever chain of diffs it lies
 * in here; device state; the layers of its disk; the image's base; the kernel. With `since` what
 * that snapshot has is left out: of the memory the pages that are the same, layers, base and
 * kernel.
 */

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "disk/base_file.h"
#include "frozen/layers.h"
#include "frozen/memory_digest.h"
#include "frozen/pins.h"
#include "frozen/restore_memory.h"
#include "frozen/snapshot_files.h"
#include "frozen/uefi_variables.h"
#include "home/inside.h"
#include "image/firmware.h"
#include "memory/diff.h"
#include "proto/archive_format.h"
#include "store/disks/layers.h"
#include "store/snapshots.h"
#include "transfer/transfer.h"
#include "transfer/transfer_disks.h"
#include "transfer/transfer_layer.h"
#include "transfer/transfer_parts.h"

typedef struct Outgoing {
    Home *home;             /* borrowed */
    Operation *operation;   /* borrowed */
    SnapshotRow row, since; /* owned, pinned */
    bool has_row, has_since;
    ArchiveMembers members;            /* owned */
    json_t *manifest, *layers, *disks; /* owned */
} Outgoing;

static void outgoing_free(Outgoing *out) {
    if (out->has_row)
        snapshot_unpin(out->home, out->row.id);
    if (out->has_since)
        snapshot_unpin(out->home, out->since.id);
    snapshot_row_free(&out->row);
    snapshot_row_free(&out->since);
    archive_members_free(&out->members);
    json_decref(out->manifest);
    json_decref(out->layers);
    json_decref(out->disks);
}

static int pin(Home *home, const char *reference, SnapshotRow *row, bool *pinned, Error *error) {
    _cleanup_snapshot_row_ SnapshotRow found = {0};
    int r = snapshots_find(home->store, reference, &found, error);
    if (r >= 0)
        r = snapshot_pin(home, found.id, row, error);
    *pinned = r >= 0;
    return r;
}

/* ---- memory and state ---- */

static int scratch_file(Home *home, Error *error) {
    _cleanup_free_ char *folder = path_join(home->path, "tmp");
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    return fd < 0 ? error_set_errno(error, errno, "cannot make scratch") : fd;
}

static int open_whole(Outgoing *out, const SnapshotRow *row, int *fd, Error *error) {
    if (snapshot_is_diff(row) || row->data.unwritten)
        return restore_memory_open_hot(out->home, row, fd, error);
    return snapshot_open_memory(out->home, row, fd, error);
}

static int open_diff(Outgoing *out, int *fd, Error *error) {
    _cleanup_close_ int then = -1, now = -1, diff = -1;
    int r;
    if (snapshot_is_diff(&out->row) && str_equal(out->row.base, out->since.id))
        return snapshot_open_memory(out->home, &out->row, fd, error);
    r = open_whole(out, &out->since, &then, error);
    if (r >= 0)
        r = open_whole(out, &out->row, &now, error);
    if (r >= 0)
        r = diff = scratch_file(out->home, error);
    if (r >= 0)
        r = memory_diff_compare(then, now, out->row.data.memory_bytes, diff, error);
    if (r >= 0)
        *fd = TAKE_FD(diff);
    return r;
}

static int add_memory(Outgoing *out, Error *error) {
    int cancel_fd = out->operation->cancel_fd, memory = -1, state = -1, r;
    if (!snapshot_has_memory(&out->row))
        return 0;
    if (out->has_since && out->since.data.memory_bytes != out->row.data.memory_bytes)
        return error_set(error, ERROR_USAGE, EINVAL,
                         "snapshot %s has no memory, or memory of another size",
                         *out->since.name ? out->since.name : out->since.id);
    r = out->has_since ? open_diff(out, &memory, error)
                       : open_whole(out, &out->row, &memory, error);
    if (r >= 0)
        r = archive_members_add(&out->members, "memory", memory, NULL, cancel_fd, error);
    if (r >= 0)
        r = snapshot_open_file(out->home, &out->row, &out->row.data.files.state, &state, NULL,
                               error);
    return r < 0 ? r : archive_members_add(&out->members, "state", state, NULL, cancel_fd, error);
}

/* ---- the disk ---- */

static bool stands_on(Outgoing *out, const char *top, const char *id) {
    char at[VM_ID_SIZE];
    str_set(at, top);
    while (*at) {
        _cleanup_layer_row_ LayerRow row = {0};
        if (str_equal(at, id))
            return true;
        if (layers_get(out->home->store, at, &row, NULL) < 0)
            return false;
        str_set(at, row.parent);
    }
    return false;
}

/* Does a disk of `since` stand on it? */
static bool has_layer(Outgoing *out, const char *id) {
    const VmDisks *disks = &out->since.data.disks;
    if (!out->has_since)
        return false;
    for (size_t i = 0; i < disks->count; i++)
        if (stands_on(out, disks->items[i].layer, id))
            return true;
    return stands_on(out, out->since.layer, id);
}

static int add_layer(Outgoing *out, const LayerRow *row, json_t *layers, Error *error) {
    _cleanup_free_ char *path = layer_path(out->home, row->id);
    _cleanup_free_ char *name = str_format("layer-%s", row->id);
    _cleanup_archive_file_ ArchiveFile file = ARCHIVE_FILE_INIT;
    char digest[TREE_DIGEST_SIZE];
    bool here = has_layer(out, row->id);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    int r = fd < 0 ? error_set_errno(error, errno, "cannot open %s", path)
                   : transfer_layer_open(&file, fd, error);
    if (r >= 0)
        r = archive_file_digest(&file, out->operation->cancel_fd, digest, error);
    if (r < 0)
        return r;
    (void)json_array_insert_new(layers, 0,
                                json_pack("{s:s, s:s, s:I, s:b}", "id", row->id, "digest", digest,
                                          "virtual_bytes", (json_int_t)row->virtual_bytes, "stored",
                                          !here));
    return here ? 0
                : archive_members_add_file(&out->members, name, &file, out->operation->cancel_fd,
                                           error);
}

/* Those that `since` stands on, too, are only named. The list has the lowest first. */
static int add_layers(Outgoing *out, const char *top, json_t *layers, Error *error) {
    char id[VM_ID_SIZE];
    int r = 0;
    str_set(id, top);
    while (r >= 0 && *id) {
        _cleanup_layer_row_ LayerRow row = {0};
        r = layers_get(out->home->store, id, &row, error);
        if (r >= 0)
            r = add_layer(out, &row, layers, error);
        str_set(id, row.parent);
    }
    return r;
}

static bool has_base(const Outgoing *out, const char *base) {
    const VmMounts *mounts = &out->since.data.spec.mounts;
    for (size_t i = 0; out->has_since && i < mounts->count; i++)
        if (str_equal(mounts->items[i].base, base))
            return true;
    return false;
}

/* Beside the root: the frozen base, and the layers over it. */
static int add_mount(Outgoing *out, size_t i, Error *error) {
    const VmMount *mount = &out->row.data.spec.mounts.items[i];
    const VmDisks *disks = &out->row.data.disks;
    json_t *layers = json_array();
    char digest[TREE_DIGEST_SIZE];
    int r = transfer_base_add(out->home, &out->members, i, mount->base, !has_base(out, mount->base),
                              out->operation->cancel_fd, digest, error);
    if (r >= 0)
        r = add_layers(out, i < disks->count ? disks->items[i].layer : "", layers, error);
    if (r < 0) {
        json_decref(layers);
        return error_add_context(error, "the disk at %s", mount->path);
    }
    (void)json_array_append_new(out->disks,
                                json_pack("{s:s, s:o}", "digest", digest, "layers", layers));
    return 0;
}

static int add_mounts(Outgoing *out, Error *error) {
    int r = 0;
    for (size_t i = 0; r >= 0 && i < out->row.data.spec.mounts.count; i++)
        r = add_mount(out, i, error);
    return r;
}

/* What a guest that boots by its own boot loader has beside: cloud-init's disk, and UEFI's
 * variables. */
static int add_firmware(Outgoing *out, Error *error) {
    const char *folder = out->home->path, *id = out->row.id;
    _cleanup_free_ char *cidata = path_join(folder, "initramfs", out->row.data.initramfs_key);
    _cleanup_free_ char *variables = path_join(folder, "snapshots", id, UEFI_VARIABLES_FILE);
    int cancel_fd = out->operation->cancel_fd, r = 0, fd;
    if (!firmware_is(out->row.data.kernel_key))
        return 0;
    fd = open(cidata, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && snapshot_has_memory(&out->row))
        return error_set_errno(error, errno, "cannot open %s", cidata);
    if (fd >= 0)
        r = archive_members_add(&out->members, TRANSFER_CIDATA, fd, NULL, cancel_fd, error);
    if (r < 0 || !str_equal(out->row.data.kernel_key, FIRMWARE_UEFI))
        return r;
    fd = open(variables, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    return fd < 0
               ? error_set_errno(error, errno, "cannot open %s", variables)
               : archive_members_add(&out->members, TRANSFER_VARIABLES, fd, NULL, cancel_fd, error);
}

static int add_disk(Outgoing *out, Error *error) {
    int r = add_layers(out, out->row.layer, out->layers, error);
    if (r >= 0)
        r = add_mounts(out, error);
    if (r >= 0 && !(out->has_since && str_equal(out->since.image_digest, out->row.image_digest)))
        r = transfer_add_base(&out->members, str_or_empty(out->row.data.base_path),
                              out->row.image_digest, out->operation->cancel_fd, error);
    if (r >= 0 &&
        !(out->has_since && str_equal(out->since.data.kernel_key, out->row.data.kernel_key)))
        r = archive_kernel_add(out->home->path, out->row.data.kernel_key, out->manifest,
                               &out->members, out->operation->cancel_fd, error);
    return r < 0 ? r : add_firmware(out, error);
}

/* ---- all of it ---- */

static json_t *describe(const SnapshotRow *row) {
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:o}", "id", row->id, "name", row->name, "vm",
                     row->vm, "vm_id", row->vm_id, "image", row->image, "created_at_usec",
                     (json_int_t)row->created_at_usec, "data", snapshot_data_to_json(&row->data));
}

static json_t *describe_since(const Outgoing *out) {
    const SnapshotRow *row = &out->since;
    return !out->has_since ? json_null()
                           : json_pack("{s:s, s:s, s:s}", "id", row->id, "name", row->name,
                                       "state_sha256", row->data.files.state.sha256);
}

static int check_mounts(const SnapshotRow *row, Error *error) {
    const VmMounts *mounts = &row->data.spec.mounts;
    for (size_t i = 0; i < mounts->count; i++) {
        const VmMount *mount = &mounts->items[i];
        if (mount->kind != VM_MOUNT_VOLUME)
            continue;
        error_set(error, ERROR_UNSUPPORTED, ENOTSUP,
                  "its VM has volume %s at %s, and a volume does not go into an archive",
                  mount->name, mount->path);
        error_set_hint(error, "ramet volume export writes one; a snapshot with --clone-volumes "
                              "has a copy of those that its VM writes to, which goes along");
        return -ENOTSUP;
    }
    return 0;
}

/* Earlier versions refuse it, or would leave out what they know nothing of. */
static unsigned version_of(const Outgoing *out) {
    return json_array_size(out->disks) > 0 || firmware_is(out->row.data.kernel_key)
               ? ARCHIVE_VERSION
               : ARCHIVE_VERSION_PLAIN;
}

static int collect(Outgoing *out, Error *error) {
    int r = check_mounts(&out->row, error);
    if (r < 0)
        return r;
    if (out->has_since && str_equal(out->since.id, out->row.id))
        return error_set(error, ERROR_USAGE, EINVAL, "a snapshot is not newer than itself");
    if (out->has_since && !snapshot_has_memory(&out->since))
        return error_set(error, ERROR_USAGE, EINVAL,
                         "snapshot %s has no memory: nothing can be told from it",
                         *out->since.name ? out->since.name : out->since.id);
    operation_enter(out->operation, "collect");
    r = add_memory(out, error);
    if (r >= 0)
        r = add_disk(out, error);
    if (r < 0)
        return r;
    (void)json_object_set_new(out->manifest, "snapshot", describe(&out->row));
    (void)json_object_set_new(out->manifest, "since", describe_since(out));
    (void)json_object_set(out->manifest, "layers", out->layers);
    if (json_array_size(out->disks) > 0)
        (void)json_object_set(out->manifest, "disks", out->disks);
    return 0;
}

int snapshot_export(Home *home, Operation *operation, const char *reference, const char *since,
                    const ArchiveOutput *output, Error *error) {
    _cleanup_(outgoing_free) Outgoing out = {.home = home,
                                             .operation = operation,
                                             .manifest = transfer_manifest("snapshot"),
                                             .layers = json_array(),
                                             .disks = json_array()};
    ArchiveOutput with = *output;
    int r = pin(home, reference, &out.row, &out.has_row, error);
    if (r >= 0 && since)
        r = pin(home, since, &out.since, &out.has_since, error);
    if (r >= 0)
        r = collect(&out, error);
    if (r >= 0) {
        operation_enter(operation, "write");
        with.version = version_of(&out);
        r = archive_write(&with, out.manifest, &out.members, error);
    }
    return r < 0 ? error_add_context(error, "cannot export snapshot %s", reference) : 0;
}
