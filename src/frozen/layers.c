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
#include "frozen/disks.h"
#include "frozen/stamp.h"
#include "home/home.h"
#include "home/inside.h"
#include "home/row.h"
#include "store/disks/layers.h"
#include "store/store.h"
#include "store/vms.h"

#define COLLECT_AT_ONCE 64

char *layer_path(const Home *home, const char *id) {
    _cleanup_free_ char *name = str_format("%s.qcow2", id);
    return path_join(home->path, "layers", name);
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

int layer_make_overlays(Home *home, const VmRow *row, int dir_fd, bool durable, Error *error) {
    int r = 0;
    for (size_t i = 1; r >= 0 && i < vm_disk_count(row); i++) {
        _cleanup_free_ char *base = vm_disk_base(home, row, i);
        if (vm_disk_has_overlay(row, i))
            r = layer_make_overlay(home, row, dir_fd, vm_disk_file(row, i), vm_disk(row, i)->layer,
                                   base, vm_disk_bytes(row, i), durable, error);
    }
    return r;
}

/* ---- freezing ---- */

static int fill_layer(Home *home, const VmRow *vm, size_t disk, LayerRow *layer, Error *error) {
    _cleanup_(layer_row_free) LayerRow parent = {0};
    _cleanup_free_ char *id = random_hex(16);
    const VmDisk *state = vm_disk(vm, disk);
    int r = 0;
    if (*state->layer)
        r = layers_get(home->store, state->layer, &parent, error);
    if (r < 0)
        return r;
    (void)snprintf(layer->id, sizeof(layer->id), "%s", id);
    (void)snprintf(layer->parent, sizeof(layer->parent), "%s", parent.id);
    layer->base_path = vm_disk_base(home, vm, disk);
    layer->virtual_bytes = vm_disk_bytes(vm, disk);
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

/* What is made of the overlays of one VM. */
typedef struct FreezingLayers {
    size_t count;
    LayerRow items[PLAN_DISKS_MAX]; /* owned; by disk */
} FreezingLayers;

static void freezing_layers_free(FreezingLayers *layers) {
    for (size_t i = 0; i < layers->count; i++)
        layer_row_free(&layers->items[i]);
}

static int fill_layers(Home *home, const VmRow *vm, FreezingLayers *layers, Error *error) {
    int r = 0;
    for (size_t i = 0; r >= 0 && i < vm_disk_count(vm); i++) {
        layers->items[layers->count++] = (LayerRow){0};
        if (vm_disk_has_overlay(vm, i))
            r = fill_layer(home, vm, i, &layers->items[i], error);
    }
    return r;
}

static void name_next(VmDisk *state, size_t disk, const LayerRow *layer) {
    Freezing *freezing = &state->freezing;
    state->number++;
    str_set(freezing->layer, layer->id);
    if (disk == 0)
        (void)snprintf(freezing->file, sizeof(freezing->file), "disk-%llu.qcow2",
                       (unsigned long long)state->number);
    else
        (void)snprintf(freezing->file, sizeof(freezing->file), "seed-%u-%llu.qcow2", (unsigned)disk,
                       (unsigned long long)state->number);
}

/* The layers and the VM's word of them are one change. */
static int record_begin(Home *home, VmRow *vm, const FreezingLayers *layers, Error *error) {
    int r = store_begin(home->store, error);
    if (r < 0)
        return r;
    for (size_t i = 0; r >= 0 && i < layers->count; i++) {
        if (!*layers->items[i].id)
            continue;
        name_next(vm_disk_of(vm, i), i, &layers->items[i]);
        r = layers_insert(home->store, &layers->items[i], error);
    }
    if (r >= 0)
        r = vms_update(home->store, vm, error);
    if (r < 0) {
        store_rollback(home->store);
        for (size_t i = 0; i < layers->count; i++)
            vm_disk_of(vm, i)->freezing = (Freezing){0};
        return r;
    }
    return store_commit(home->store, error);
}

static int make_files(Home *home, const VmRow *vm, size_t disk, const LayerRow *layer,
                      Error *error) {
    _cleanup_free_ char *path = layer_path(home, layer->id);
    _cleanup_close_ int dir_fd = -1;
    int r = vm_folder_open(home, vm->id, &dir_fd, error);
    if (r < 0)
        return r;
    if (linkat(dir_fd, vm_disk_file(vm, disk), AT_FDCWD, path, 0) < 0)
        return error_set_errno(error, errno, "cannot make layer %s", path);
    return layer_make_overlay(home, vm, dir_fd, vm_disk(vm, disk)->freezing.file, layer->id,
                              layer->base_path, layer->virtual_bytes, true, error);
}

int layer_freeze_begin(Home *home, VmRow *row, Error *error) {
    _cleanup_(freezing_layers_free) FreezingLayers layers = {0};
    int r = fill_layers(home, row, &layers, error);
    if (r >= 0)
        r = record_begin(home, row, &layers, error);
    if (r < 0)
        return r;
    for (size_t i = 0; r >= 0 && i < layers.count; i++)
        if (*layers.items[i].id)
            r = make_files(home, row, i, &layers.items[i], error);
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

/* What its overlays were. */
typedef struct FrozenFiles {
    VmDisk disks[PLAN_DISKS_MAX];
} FrozenFiles;

static void take_new(VmRow *row, FrozenFiles *old) {
    for (size_t i = 0; i < vm_disk_count(row); i++) {
        VmDisk *state = vm_disk_of(row, i);
        old->disks[i] = *state;
        str_set(old->disks[i].file, vm_disk_file(row, i));
        if (!*state->freezing.layer)
            continue;
        str_set(state->layer, old->disks[i].freezing.layer);
        str_set(state->file, old->disks[i].freezing.file);
        state->freezing = (Freezing){0};
    }
}

int layer_freeze_commit(Home *home, VmRow *row, Error *error) {
    FrozenFiles old;
    int r = 0;
    if (!layer_is_freezing(row))
        return 0;
    take_new(row, &old);
    if (row->runtime.root.stamp.inode) /* the new overlays show the same disks */
        r = standby_disks_remember(home, row, error);
    if (r >= 0)
        r = vms_update(home->store, row, error);
    if (r >= 0)
        r = store_sync(home->store, error);
    for (size_t i = 0; r >= 0 && i < vm_disk_count(row); i++) {
        if (!*old.disks[i].freezing.layer)
            continue;
        unlink_in_folder(home, row, old.disks[i].file);
        r = seal_layer(home, old.disks[i].freezing.layer, error);
    }
    return r;
}

static void undo_files(Home *home, const VmRow *row, const Freezing *undone) {
    _cleanup_free_ char *path = layer_path(home, undone->layer);
    unlink_in_folder(home, row, undone->file);
    if (unlink(path) < 0 && errno != ENOENT)
        log_warning("cannot remove %s: errno %d", path, errno);
}

static int undo_begin(Home *home, VmRow *row, Error *error) {
    Freezing undone[PLAN_DISKS_MAX] = {0};
    int r;
    for (size_t i = 0; i < vm_disk_count(row); i++) {
        VmDisk *state = vm_disk_of(row, i);
        undone[i] = state->freezing;
        if (*undone[i].layer)
            undo_files(home, row, &undone[i]);
        state->freezing = (Freezing){0};
    }
    r = vms_update(home->store, row, error);
    for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(undone); i++)
        if (*undone[i].layer)
            r = layers_delete(home->store, undone[i].layer, error);
    return r;
}

bool layer_is_freezing(const VmRow *row) {
    return *row->runtime.root.freezing.layer != '\0';
}

int layer_freeze_recover(Home *home, VmRow *row, bool switched, Error *error) {
    if (!layer_is_freezing(row))
        return 0;
    return switched ? layer_freeze_commit(home, row, error) : undo_begin(home, row, error);
}

/* A new overlay is a header, tables, and holes; the first cluster that is written makes it longer.
 */
static bool has_content(Home *home, const VmRow *row, size_t disk, const char *file) {
    uint64_t bytes = vm_disk_bytes(row, disk);
    uint64_t l1_clusters = (bytes / (512 * MIB) + 1) * 8 / (64 * KIB) + 1;
    _cleanup_close_ int dir_fd = -1;
    struct stat info;
    if (vm_folder_open(home, row->id, &dir_fd, NULL) < 0 ||
        fstatat(dir_fd, file, &info, AT_SYMLINK_NOFOLLOW) < 0)
        return false;
    return (uint64_t)info.st_size > (3 + l1_clusters) * 64 * KIB;
}

bool layer_freezing_has_content(Home *home, const VmRow *row) {
    bool found = false;
    for (size_t i = 0; i < vm_disk_count(row); i++) {
        const char *file = vm_disk(row, i)->freezing.file;
        found |= *file && has_content(home, row, i, file);
    }
    return found;
}

static bool shows_layer(Home *home, const VmRow *row, size_t disk) {
    _cleanup_(layer_row_free) LayerRow layer = {0};
    const char *id = vm_disk(row, disk)->layer;
    return *id && !has_content(home, row, disk, vm_disk_file(row, disk)) &&
           layers_get(home->store, id, &layer, NULL) >= 0 &&
           layer.virtual_bytes == vm_disk_bytes(row, disk);
}

bool layer_is_frozen(Home *home, const VmRow *row) {
    bool frozen = true;
    for (size_t i = 0; i < vm_disk_count(row); i++)
        frozen &= !vm_disk_has_overlay(row, i) || shows_layer(home, row, i);
    return frozen;
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
