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

#include "frozen/layers.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "disk/base_file.h"
#include "disk/overlay.h"
#include "frozen/stamp.h"
#include "home/home.h"
#include "home/inside.h"
#include "home/row.h"
#include "store/layers.h"
#include "store/store.h"
#include "store/vms.h"

#define COLLECT_AT_ONCE 64

char *layer_path(const Home *home, const char *id) {
    _cleanup_free_ char *name = str_format("%s.qcow2", id);
    return path_join(home->path, "layers", name);
}

const char *vm_disk_file(const VmRow *row) {
    const char *name = row->runtime.disk_file;
    return *name ? name : "disk.qcow2";
}

/* ---- the disk of a VM in standby ---- */

static int open_overlay(Home *home, const VmRow *row, Error *error) {
    _cleanup_close_ int dir_fd = -1;
    int fd, r = vm_folder_open(home, row->id, &dir_fd, error);
    if (r < 0)
        return r;
    fd = openat(dir_fd, vm_disk_file(row), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    return fd < 0 ? error_set_errno(error, errno, "cannot open %s", vm_disk_file(row)) : fd;
}

int standby_disk_remember(Home *home, VmRow *row, Error *error) {
    _cleanup_close_ int fd = open_overlay(home, row, error);
    return fd < 0 ? fd : stamp_make(fd, &row->runtime.standby_disk, error);
}

int standby_disk_check(Home *home, const VmRow *row, Error *error) {
    const FileStamp *stamp = &row->runtime.standby_disk;
    _cleanup_close_ int fd = open_overlay(home, row, error);
    if (fd < 0 || !stamp->inode)
        return fd < 0 ? fd : 0;
    if (stamp_check(fd, stamp, "", vm_disk_file(row), error) >= 0)
        return 0;
    error_set(error, ERROR_CORRUPT, EBADMSG, "its disk was written to since it is in standby");
    error_set_hint(error, "ramet stop discards the saved memory, and start boots it anew");
    return -EBADMSG;
}

bool standby_disk_is_unchanged(Home *home, const VmRow *row) {
    return *row->runtime.standby && standby_disk_check(home, row, NULL) >= 0;
}

/* ---- opening a chain ---- */

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

static int chain_add_layer(Home *home, LayerChain *chain, const LayerRow *layer, Error *error) {
    _cleanup_free_ char *path = layer_path(home, layer->id);
    int r = chain_add(chain, path, "qcow2", error);
    if (r < 0 || !layer->stamp.inode)
        return r;
    return stamp_check(chain->files[chain->count - 1].fd, &layer->stamp, layer->sha256, path,
                       error);
}

int layer_chain_open(Home *home, const char *layer, const char *base_path, LayerChain *chain,
                     Error *error) {
    _cleanup_layer_chain_ LayerChain opened = {0};
    char id[VM_ID_SIZE];
    int r = 0;
    (void)snprintf(id, sizeof(id), "%s", layer);
    while (r >= 0 && *id) {
        _cleanup_(layer_row_free) LayerRow row = {0};
        r = layers_get(home->store, id, &row, error);
        if (r >= 0)
            r = chain_add_layer(home, &opened, &row, error);
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

/* ---- overlays ---- */

int layer_make_overlay(Home *home, const VmRow *row, int dir_fd, const char *name,
                       const char *layer, const char *base_path, uint64_t bytes, bool durable,
                       Error *error) {
    _cleanup_free_ char *path = *layer ? layer_path(home, layer) : str_copy(base_path);
    const OverlaySpec overlay = {.virtual_bytes = bytes,
                                 .backing_path = path,
                                 .backing_format = *layer ? "qcow2" : "raw",
                                 .no_sync = !durable};
    int r = overlay_create_at(dir_fd, name, &overlay, error);
    if (r >= 0 && row->uid && fchownat(dir_fd, name, row->uid, row->uid, AT_SYMLINK_NOFOLLOW) < 0)
        return error_set_errno(error, errno, "cannot give %s to user %u", name, row->uid);
    return r;
}

/* ---- freezing ---- */

static int fill_layer(Home *home, const VmRow *vm, LayerRow *layer, Error *error) {
    _cleanup_(layer_row_free) LayerRow parent = {0};
    _cleanup_free_ char *id = random_hex(16);
    int r = 0;
    if (*vm->runtime.layer)
        r = layers_get(home->store, vm->runtime.layer, &parent, error);
    if (r < 0)
        return r;
    (void)snprintf(layer->id, sizeof(layer->id), "%s", id);
    (void)snprintf(layer->parent, sizeof(layer->parent), "%s", parent.id);
    layer->base_path = str_copy(str_or_empty(vm->runtime.base));
    layer->virtual_bytes = vm->spec.disk_bytes;
    layer->depth = parent.depth + 1;
    if (layer->depth + 1 < ARRAY_SIZE(((LayerChain *)NULL)->files))
        return 0;
    error_set(error, ERROR_CONFLICT, E2BIG,
              "the disk of %s has %llu layers, one for each snapshot since its start, and no more "
              "can be open at a time",
              vm->name, (unsigned long long)parent.depth);
    error_set_hint(error,
                   "ramet standby %s and ramet resume %s shorten the chain; it goes on where "
                   "it was",
                   vm->name, vm->name);
    return -E2BIG;
}

/* The layer and the VM's word of it are one change. */
static int record_begin(Home *home, VmRow *vm, const LayerRow *layer, Error *error) {
    uint64_t number = vm->runtime.disk_number + 1;
    Freezing *freezing = &vm->runtime.freezing;
    int r = store_begin(home->store, error);
    if (r < 0)
        return r;
    vm->runtime.disk_number = number;
    str_set(freezing->layer, layer->id);
    (void)snprintf(freezing->file, sizeof(freezing->file), "disk-%llu.qcow2",
                   (unsigned long long)number);
    r = layers_insert(home->store, layer, error);
    if (r >= 0)
        r = vms_update(home->store, vm, error);
    if (r < 0) {
        store_rollback(home->store);
        *freezing = (Freezing){0};
        return r;
    }
    return store_commit(home->store, error);
}

static int make_files(Home *home, const VmRow *vm, const LayerRow *layer, Error *error) {
    _cleanup_free_ char *path = layer_path(home, layer->id);
    _cleanup_close_ int dir_fd = -1;
    int r = vm_folder_open(home, vm->id, &dir_fd, error);
    if (r < 0)
        return r;
    if (linkat(dir_fd, vm_disk_file(vm), AT_FDCWD, path, 0) < 0)
        return error_set_errno(error, errno, "cannot make layer %s", path);
    return layer_make_overlay(home, vm, dir_fd, vm->runtime.freezing.file, layer->id,
                              layer->base_path, layer->virtual_bytes, true, error);
}

int layer_freeze_begin(Home *home, VmRow *row, Error *error) {
    _cleanup_(layer_row_free) LayerRow layer = {0};
    int r = fill_layer(home, row, &layer, error);
    if (r >= 0)
        r = record_begin(home, row, &layer, error);
    if (r < 0)
        return r;
    r = make_files(home, row, &layer, error);
    if (r < 0)
        (void)layer_freeze_recover(home, row, false, NULL);
    return r;
}

/* Nobody writes to it any more: make that so for everybody, and remember what it is. */
static int seal_layer(Home *home, const char *id, Error *error) {
    _cleanup_free_ char *path = layer_path(home, id);
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    _cleanup_(layer_row_free) LayerRow layer = {0};
    int r;
    if (fd < 0)
        return error_set_errno(error, errno, "cannot open %s", path);
    if ((geteuid() == 0 && fchown(fd, 0, 0) < 0) || fchmod(fd, 0444) < 0 || fsync(fd) < 0)
        return error_set_errno(error, errno, "cannot make %s read-only", path);
    r = layers_get(home->store, id, &layer, error);
    if (r >= 0)
        r = sha256_file(fd, layer.sha256, error);
    if (r >= 0)
        r = stamp_make(fd, &layer.stamp, error);
    return r < 0 ? r : layers_update(home->store, &layer, error);
}

static void unlink_in_folder(Home *home, const VmRow *row, const char *name) {
    _cleanup_close_ int dir_fd = -1;
    if (vm_folder_open(home, row->id, &dir_fd, NULL) < 0)
        return;
    if (unlinkat(dir_fd, name, 0) < 0 && errno != ENOENT)
        log_warning("cannot remove %s of %s: errno %d", name, row->name, errno);
}

int layer_freeze_commit(Home *home, VmRow *row, Error *error) {
    Freezing done = row->runtime.freezing;
    _cleanup_free_ char *old = str_copy(vm_disk_file(row));
    int r = 0;
    if (!*done.layer)
        return 0;
    str_set(row->runtime.layer, done.layer);
    str_set(row->runtime.disk_file, done.file);
    row->runtime.freezing = (Freezing){0};
    if (row->runtime.standby_disk.inode) /* the new overlay shows the same disk */
        r = standby_disk_remember(home, row, error);
    if (r >= 0)
        r = vms_update(home->store, row, error);
    if (r >= 0)
        r = store_sync(home->store, error);
    if (r < 0)
        return r;
    unlink_in_folder(home, row, old);
    return seal_layer(home, done.layer, error);
}

static int undo_begin(Home *home, VmRow *row, Error *error) {
    Freezing undone = row->runtime.freezing;
    _cleanup_free_ char *path = layer_path(home, undone.layer);
    int r;
    unlink_in_folder(home, row, undone.file);
    if (unlink(path) < 0 && errno != ENOENT)
        log_warning("cannot remove %s: errno %d", path, errno);
    row->runtime.freezing = (Freezing){0};
    r = vms_update(home->store, row, error);
    return r < 0 ? r : layers_delete(home->store, undone.layer, error);
}

int layer_freeze_recover(Home *home, VmRow *row, bool switched, Error *error) {
    if (!*row->runtime.freezing.layer)
        return 0;
    return switched ? layer_freeze_commit(home, row, error) : undo_begin(home, row, error);
}

/* A new overlay is a header, tables, and holes; the first cluster that is written makes it longer.
 */
bool layer_freezing_has_content(Home *home, const VmRow *row) {
    uint64_t bytes = row->spec.disk_bytes;
    uint64_t l1_clusters = (bytes / (512 * MIB) + 1) * 8 / (64 * KIB) + 1;
    _cleanup_close_ int dir_fd = -1;
    struct stat info;
    if (vm_folder_open(home, row->id, &dir_fd, NULL) < 0 ||
        fstatat(dir_fd, row->runtime.freezing.file, &info, AT_SYMLINK_NOFOLLOW) < 0)
        return false;
    return (uint64_t)info.st_size > (3 + l1_clusters) * 64 * KIB;
}

/* ---- collecting ---- */

static int remove_layer(Home *home, const char *id, Error *error) {
    _cleanup_free_ char *path = layer_path(home, id);
    uint64_t users;
    int r = store_begin(home->store, error);
    if (r < 0)
        return r;
    r = layers_count_users(home->store, id, &users, error);
    if (r >= 0 && users == 0)
        r = layers_delete(home->store, id, error);
    if (r < 0) {
        store_rollback(home->store);
        return r;
    }
    r = store_commit(home->store, error);
    if (r >= 0 && users == 0 && unlink(path) < 0 && errno != ENOENT)
        return error_set_errno(error, errno, "cannot remove %s", path);
    return r;
}

int layers_collect(Home *home, size_t *count, Error *error) {
    char ids[COLLECT_AT_ONCE][VM_ID_SIZE];
    size_t n, sum = 0;
    int r;
    do {
        r = layers_list_unused(home->store, ids, COLLECT_AT_ONCE, &n, error);
        for (size_t i = 0; r >= 0 && i < n; i++)
            r = remove_layer(home, ids[i], error);
        sum += r >= 0 ? n : 0;
    } while (r >= 0 && n > 0);
    if (r < 0)
        return r;
    if (count)
        *count = sum;
    return 0;
}
