/* SPDX-License-Identifier: Apache-2.0 */

/* The frozen layers of disks.
 *
 * A VM writes to one qcow2 file in its folder, its overlay. Freezing gives that file a second name,
 * layers/ID.qcow2, by link(2), so its inode stays and nothing is copied; a new overlay over it
 * takes its place, under a new name, so that no path ever changes its meaning. Which of the two the
 * VM writes to is in its row (`disk_file`), and while it is changing also the other (`freezing`).
 *
 * What a crash may find:
 *   the row has no `freezing`           nothing had begun
 *   it has, and the VM has not switched the layer's row and both new names go; the old overlay is
 *                                       what it was
 *   it has, and the VM has switched     commit is done once more
 * A VM that runs tells through its keeper whether it has switched. One that does not run any more
 * has, if the new overlay has any content; if it has none, either answer gives the same disk.
 *
 * The old name in the VM's folder goes last, after the store is durable. */

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/log.h"
#include "disk/overlay.h"
#include "vm/snapshot_internal.h"

#define COLLECT_AT_ONCE 64

char *layer_path(const Ramet *ramet, const char *id) {
    _cleanup_free_ char *name = str_format("%s.qcow2", id);

    return path_join(ramet->home, "layers", name);
}

const char *vm_disk_file(const VmRow *row) {
    const char *name = row_text(row, "disk_file");

    return *name ? name : "disk.qcow2";
}

static const char *freezing_text(const VmRow *row, const char *key) {
    const char *text =
        json_string_value(json_object_get(json_object_get(row->runtime, "freezing"), key));

    return text ? text : "";
}

const char *layer_freezing_file(const VmRow *row) {
    return freezing_text(row, "file");
}

/* --- opening a chain ---------------------------------------------------------------------------
 */

void layer_chain_close(LayerChain *chain) {
    for (size_t i = 0; i < chain->count; i++)
        (void)fd_close(chain->files[i].fd);
    chain->count = 0;
}

static int chain_add(LayerChain *chain, const char *path, const char *format, Error *error) {
    int fd;

    if (chain->count == ARRAY_SIZE(chain->files))
        return error_set(error, ERROR_UNSUPPORTED, E2BIG, "a disk has more than %zu layers",
                         ARRAY_SIZE(chain->files));
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return error_set_errno(error, errno, "cannot open %s", path);
    chain->files[chain->count].format = format;
    chain->files[chain->count++].fd = fd;
    return 0;
}

static int chain_add_layer(Ramet *ramet, LayerChain *chain, const LayerRow *layer, Error *error) {
    _cleanup_free_ char *path = layer_path(ramet, layer->id);
    int r = chain_add(chain, path, "qcow2", error);

    if (r < 0 || !layer->stamp)
        return r;
    return stamp_check(chain->files[chain->count - 1].fd, layer->stamp, layer->sha256, path, error);
}

int layer_chain_open(Ramet *ramet, const char *layer, const char *base_path, LayerChain *chain,
                     Error *error) {
    _cleanup_layer_chain_ LayerChain opened = {0};
    char id[VM_ID_SIZE];
    int r = 0;

    (void)snprintf(id, sizeof(id), "%s", layer);
    while (r >= 0 && *id) {
        _cleanup_(layer_row_free) LayerRow row = {0};

        r = layers_get(ramet->store, id, &row, error);
        if (r >= 0)
            r = chain_add_layer(ramet, &opened, &row, error);
        (void)snprintf(id, sizeof(id), "%s", row.parent);
    }
    if (r >= 0)
        r = chain_add(&opened, base_path, "raw", error);
    if (r < 0)
        return r;
    *chain = opened;
    opened.count = 0;
    return 0;
}

/* --- overlays ----------------------------------------------------------------------------------
 */

int layer_make_overlay(Ramet *ramet, const VmRow *row, int dir_fd, const char *name,
                       const char *layer, const char *base_path, uint64_t bytes, bool durable,
                       Error *error) {
    _cleanup_free_ char *path = *layer ? layer_path(ramet, layer) : str_copy(base_path);
    const OverlaySpec overlay = {.virtual_bytes = bytes,
                                 .backing_path = path,
                                 .backing_format = *layer ? "qcow2" : "raw",
                                 .no_sync = !durable};
    int r = overlay_create_at(dir_fd, name, &overlay, error);

    if (r >= 0 && row->uid && fchownat(dir_fd, name, row->uid, row->uid, AT_SYMLINK_NOFOLLOW) < 0)
        return error_set_errno(error, errno, "cannot give %s to user %u", name, row->uid);
    return r;
}

/* --- freezing ----------------------------------------------------------------------------------
 */

static int fill_layer(Ramet *ramet, const VmRow *vm, LayerRow *layer, Error *error) {
    _cleanup_(layer_row_free) LayerRow parent = {0};
    _cleanup_free_ char *id = random_hex(16);
    int r = 0;

    if (*row_text(vm, "layer"))
        r = layers_get(ramet->store, row_text(vm, "layer"), &parent, error);
    if (r < 0)
        return r;
    (void)snprintf(layer->id, sizeof(layer->id), "%s", id);
    (void)snprintf(layer->parent, sizeof(layer->parent), "%s", parent.id);
    layer->base_path = str_copy(row_text(vm, "base"));
    layer->virtual_bytes = (uint64_t)json_integer_value(json_object_get(vm->spec, "disk_bytes"));
    layer->depth = parent.depth + 1;
    if (layer->depth + 1 < ARRAY_SIZE(((LayerChain *)NULL)->files))
        return 0;
    error_set(error, ERROR_UNSUPPORTED, E2BIG, "the disk of %s has %llu layers already", vm->name,
              (unsigned long long)parent.depth);
    error_set_hint(error, "restart %s: that shortens the chain", vm->name);
    return -E2BIG;
}

/* The layer and the VM's word of it are one change. */
static int record_begin(Ramet *ramet, VmRow *vm, const LayerRow *layer, Error *error) {
    uint64_t number = row_u64(vm, "disk_number") + 1;
    _cleanup_free_ char *file = str_format("disk-%llu.qcow2", (unsigned long long)number);
    int r = store_begin(ramet->store, error);

    if (r < 0)
        return r;
    row_set(vm, "disk_number", json_integer((json_int_t)number));
    row_set(vm, "freezing", json_pack("{s:s, s:s}", "layer", layer->id, "file", file));
    r = layers_insert(ramet->store, layer, error);
    if (r >= 0)
        r = vms_update(ramet->store, vm, error);
    if (r < 0) {
        store_rollback(ramet->store);
        row_set(vm, "freezing", NULL);
        return r;
    }
    return store_commit(ramet->store, error);
}

static int make_files(Ramet *ramet, const VmRow *vm, const LayerRow *layer, Error *error) {
    _cleanup_free_ char *path = layer_path(ramet, layer->id);
    _cleanup_close_ int dir_fd = -1;
    int r = vm_folder_open(ramet, vm->id, &dir_fd, error);

    if (r < 0)
        return r;
    if (linkat(dir_fd, vm_disk_file(vm), AT_FDCWD, path, 0) < 0)
        return error_set_errno(error, errno, "cannot make layer %s", path);
    return layer_make_overlay(ramet, vm, dir_fd, layer_freezing_file(vm), layer->id,
                              layer->base_path, layer->virtual_bytes, true, error);
}

int layer_freeze_begin(Ramet *ramet, VmRow *row, Error *error) {
    _cleanup_(layer_row_free) LayerRow layer = {0};
    int r = fill_layer(ramet, row, &layer, error);

    if (r >= 0)
        r = record_begin(ramet, row, &layer, error);
    if (r < 0)
        return r;
    r = make_files(ramet, row, &layer, error);
    if (r < 0)
        (void)layer_freeze_settle(ramet, row, false, NULL);
    return r;
}

/* Nobody writes to it any more: make that so for everybody, and remember what it is. */
static int seal_layer(Ramet *ramet, const char *id, Error *error) {
    _cleanup_free_ char *path = layer_path(ramet, id);
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    _cleanup_(layer_row_free) LayerRow layer = {0};
    int r;

    if (fd < 0)
        return error_set_errno(error, errno, "cannot open %s", path);
    if ((geteuid() == 0 && fchown(fd, 0, 0) < 0) || fchmod(fd, 0444) < 0 || fsync(fd) < 0)
        return error_set_errno(error, errno, "cannot make %s read-only", path);
    r = layers_get(ramet->store, id, &layer, error);
    if (r >= 0)
        r = sha256_file(fd, layer.sha256, error);
    if (r >= 0)
        r = stamp_make(fd, &layer.stamp, error);
    if (r >= 0)
        r = layers_update(ramet->store, &layer, error);
    return r;
}

static void unlink_in_folder(Ramet *ramet, const VmRow *row, const char *name) {
    _cleanup_close_ int dir_fd = -1;

    if (vm_folder_open(ramet, row->id, &dir_fd, NULL) < 0)
        return;
    if (unlinkat(dir_fd, name, 0) < 0 && errno != ENOENT)
        log_warning("cannot remove %s of %s: errno %d", name, row->name, errno);
}

/* A VM in standby fits its disk as that is; the new overlay shows the same disk. */
static int restamp_standby(Ramet *ramet, VmRow *row, const char *file, Error *error) {
    _cleanup_close_ int dir_fd = -1, fd = -1;
    json_t *stamp;
    int r;

    if (!json_object_get(row->runtime, "standby_disk"))
        return 0;
    r = vm_folder_open(ramet, row->id, &dir_fd, error);
    if (r < 0)
        return r;
    fd = openat(dir_fd, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return error_set_errno(error, errno, "cannot open %s", file);
    r = stamp_make(fd, &stamp, error);
    if (r >= 0)
        row_set(row, "standby_disk", stamp);
    return r;
}

int layer_freeze_commit(Ramet *ramet, VmRow *row, Error *error) {
    _cleanup_free_ char *layer = str_copy(freezing_text(row, "layer"));
    _cleanup_free_ char *file = str_copy(freezing_text(row, "file"));
    _cleanup_free_ char *old = str_copy(vm_disk_file(row));
    int r;

    if (!*layer)
        return 0;
    row_set(row, "layer", json_string(layer));
    row_set(row, "disk_file", json_string(file));
    row_set(row, "freezing", NULL);
    r = restamp_standby(ramet, row, file, error);
    if (r >= 0)
        r = vms_update(ramet->store, row, error);
    if (r >= 0)
        r = store_sync(ramet->store, error);
    if (r < 0)
        return r;
    unlink_in_folder(ramet, row, old);
    return seal_layer(ramet, layer, error);
}

static int undo_begin(Ramet *ramet, VmRow *row, Error *error) {
    _cleanup_free_ char *layer = str_copy(freezing_text(row, "layer"));
    _cleanup_free_ char *path = layer_path(ramet, layer);
    int r;

    unlink_in_folder(ramet, row, freezing_text(row, "file"));
    if (unlink(path) < 0 && errno != ENOENT)
        log_warning("cannot remove %s: errno %d", path, errno);
    row_set(row, "freezing", NULL);
    r = vms_update(ramet->store, row, error);
    return r < 0 ? r : layers_delete(ramet->store, layer, error);
}

int layer_freeze_settle(Ramet *ramet, VmRow *row, bool switched, Error *error) {
    if (!*freezing_text(row, "layer"))
        return 0;
    return switched ? layer_freeze_commit(ramet, row, error) : undo_begin(ramet, row, error);
}

/* A new overlay is a header, tables, and holes; the first cluster that is written makes it longer.
 */
bool layer_freezing_has_content(Ramet *ramet, const VmRow *row) {
    uint64_t bytes = (uint64_t)json_integer_value(json_object_get(row->spec, "disk_bytes"));
    uint64_t l1_clusters = (bytes / (512 * MIB) + 1) * 8 / (64 * KIB) + 1;
    _cleanup_close_ int dir_fd = -1;
    struct stat info;

    if (vm_folder_open(ramet, row->id, &dir_fd, NULL) < 0 ||
        fstatat(dir_fd, layer_freezing_file(row), &info, AT_SYMLINK_NOFOLLOW) < 0)
        return false;
    return (uint64_t)info.st_size > (3 + l1_clusters) * 64 * KIB;
}

/* --- collecting --------------------------------------------------------------------------------
 */

static int remove_layer(Ramet *ramet, const char *id, Error *error) {
    _cleanup_free_ char *path = layer_path(ramet, id);
    uint64_t users;
    int r = store_begin(ramet->store, error);

    if (r < 0)
        return r;
    r = layers_count_users(ramet->store, id, &users, error);
    if (r >= 0 && users == 0)
        r = layers_delete(ramet->store, id, error);
    if (r < 0) {
        store_rollback(ramet->store);
        return r;
    }
    r = store_commit(ramet->store, error);
    if (r >= 0 && users == 0 && unlink(path) < 0 && errno != ENOENT)
        return error_set_errno(error, errno, "cannot remove %s", path);
    return r;
}

int layers_collect(Ramet *ramet, size_t *count, Error *error) {
    char ids[COLLECT_AT_ONCE][VM_ID_SIZE];
    size_t n, sum = 0;
    int r;

    do {
        r = layers_list_unused(ramet->store, ids, COLLECT_AT_ONCE, &n, error);
        for (size_t i = 0; r >= 0 && i < n; i++)
            r = remove_layer(ramet, ids[i], error);
        sum += r >= 0 ? n : 0;
    } while (r >= 0 && n > 0);
    if (r < 0)
        return r;
    if (count)
        *count = sum;
    return 0;
}
