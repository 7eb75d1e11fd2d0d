/* SPDX-License-Identifier: Apache-2.0 */

/* A chain of layers grows by one with each snapshot. One that is too long for a snapshot is
 * flattened for it: a copy of its top gets all that differs from the base, and stands right over
 * that. Both show the same disk; a VM takes the flat one at its next start. */

#include <errno.h>
#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/log.h"
#include "base/path.h"
#include "base/process/spawn.h"
#include "base/process/spawn_run.h"
#include "base/str.h"
#include "disk/base_file.h"
#include "disk/publish.h"
#include "disk/sparse.h"
#include "frozen/disks.h"
#include "frozen/layers.h"
#include "frozen/stamp.h"
#include "home/home.h"
#include "home/inside.h"
#include "home/operation.h"
#include "store/disks/layers.h"
#include "store/snapshots.h"
#include "store/store.h"
#include "store/vms.h"

#define REBASE_TIMEOUT_USEC (3600 * USEC_PER_SEC)

static json_t *node_without_locks(const char *driver, const char *path) {
    return json_pack("{s:s, s:{s:s, s:s, s:s}}", "driver", driver, "file", "driver", "file",
                     "filename", path, "locking", "off");
}

/* The scratch file over the layers below `top`, as QEMU's json: file name. QEMUs that run hold
 * locks on those files, which are frozen: locks have nothing to say there. */
static int describe_chain(Home *home, const LayerRow *top, const char *scratch, char **name,
                          Error *error) {
    json_t *whole = node_without_locks("qcow2", scratch), *above = whole;
    _cleanup_free_ char *text = NULL;
    char id[VM_ID_SIZE];
    int r = 0;
    (void)snprintf(id, sizeof(id), "%s", top->parent);
    while (r >= 0 && *id) {
        _cleanup_(layer_row_free) LayerRow row = {0};
        _cleanup_free_ char *path = layer_path(home, id);
        json_t *node = node_without_locks("qcow2", path);
        (void)json_object_set_new(above, "backing", node);
        above = node;
        r = layers_get(home->store, id, &row, error);
        (void)snprintf(id, sizeof(id), "%s", row.parent);
    }
    (void)json_object_set_new(above, "backing", node_without_locks("raw", top->base_path));
    text = json_to_text(whole);
    json_decref(whole);
    if (r < 0)
        return r;
    *name = str_format("json:%s", text);
    return 0;
}

/* A copy of the top, into which goes all that differs between the layers below it and the base. */
static int make_flat(Home *home, Operation *operation, const LayerRow *top, Publish *publish,
                     Error *error) {
    _cleanup_free_ char *path = layer_path(home, top->id), *chain = NULL;
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    int r;
    if (fd < 0)
        return error_set_errno(error, errno, "cannot open %s", path);
    r = file_clone_or_sparse_copy(fd, publish_scratch_fd(publish), NULL, error);
    if (r >= 0)
        r = describe_chain(home, top, publish_scratch_path(publish), &chain, error);
    if (r >= 0) {
        const char *argv[] = {"qemu-img", "rebase",       "-q",  "-F", "raw",
                              "-b",       top->base_path, chain, NULL};
        const SpawnOptions options = {
            .program = "qemu-img", .argv = (char *const *)argv, .nice = 5};
        r = spawn_run(&options, REBASE_TIMEOUT_USEC, operation->cancel_fd, NULL, error);
    }
    return r;
}

static int convert(Home *home, Operation *operation, const LayerRow *top, const char *path,
                   Error *error) {
    _cleanup_free_ char *file = layer_path(home, top->id), *chain = NULL;
    int r = describe_chain(home, top, file, &chain, error);
    const char *argv[] = {"qemu-img", "convert", "-O", "raw", "-n", "--target-is-zero",
                          "-S",       "4k",      "-W", "-m",  "8",  chain,
                          path,       NULL};
    const SpawnOptions options = {.program = "qemu-img", .argv = (char *const *)argv, .nice = 5};
    return r < 0 ? r : spawn_run(&options, REBASE_TIMEOUT_USEC, operation->cancel_fd, NULL, error);
}

static int copy_base(const char *base_path, int fd, Error *error) {
    _cleanup_close_ int from = open(base_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (from < 0)
        return error_set_errno(error, errno, "cannot open %s", base_path);
    return file_clone_or_sparse_copy(from, fd, NULL, error);
}

/* A tool that had no room says so in its own words. */
static int tell_room(int fd, Error *failure, Error *error) {
    struct statvfs room;
    if (failure->kind == ERROR_FAILED && fstatvfs(fd, &room) == 0 && room.f_bavail < 256)
        return error_set(error, ERROR_NO_SPACE, ENOSPC, "%s", error_message(failure));
    return error_move(error, failure);
}

int layer_write_raw(Home *home, Operation *operation, const char *layer, const char *base_path,
                    int fd, const char *path, Error *error) {
    _cleanup_(layer_row_free) LayerRow top = {0};
    _cleanup_error_ Error failure = ERROR_INIT;
    int r;
    if (!*layer)
        return copy_base(base_path, fd, error);
    r = layers_get(home->store, layer, &top, error);
    if (r < 0)
        return r;
    if (ftruncate(fd, (off_t)top.virtual_bytes) < 0)
        return error_set_errno(error, errno, "cannot set the size of the disk");
    r = convert(home, operation, &top, path, &failure);
    return r < 0 ? tell_room(fd, &failure, error) : 0;
}

static int add_flat(Home *home, LayerRow *top, const char *id, int fd, SnapshotRow *snapshot,
                    char layer[VM_ID_SIZE], Error *error) {
    _cleanup_(layer_row_free) LayerRow flat = {.depth = 1};
    int r;
    (void)snprintf(flat.id, sizeof(flat.id), "%s", id);
    flat.base_path = str_copy(top->base_path);
    flat.virtual_bytes = top->virtual_bytes;
    r = sha256_file(fd, flat.sha256, error);
    if (r >= 0)
        r = stamp_make(fd, &flat.stamp, error);
    if (r >= 0)
        r = store_begin(home->store, error);
    if (r < 0)
        return r;
    str_set(top->flat, id);
    (void)snprintf(layer, VM_ID_SIZE, "%s", id);
    r = layers_insert(home->store, &flat, error);
    if (r >= 0)
        r = layers_update(home->store, top, error);
    if (r >= 0)
        r = snapshots_update(home->store, snapshot, error);
    if (r < 0) {
        store_rollback(home->store);
        return r;
    }
    return store_commit(home->store, error);
}

/* layer: the snapshot's own, of one of its disks. */
static int flatten(Home *home, Operation *operation, SnapshotRow *snapshot, char layer[VM_ID_SIZE],
                   Error *error) {
    _cleanup_(layer_row_free) LayerRow top = {0};
    _cleanup_(publish_free_p) Publish *publish = NULL;
    _cleanup_free_ char *id = random_hex(16), *name = str_format("%s.qcow2", id);
    PublishOptions options = {
        .home = home->path, .kind = "layers", .name = name, .cancel_fd = operation->cancel_fd};
    bool exists;
    int r;
    if (!*layer)
        return 0;
    r = layers_get(home->store, layer, &top, error);
    if (r < 0 || top.depth <= LAYER_DEPTH_MAX)
        return r;
    operation_enter(operation, "flatten");
    r = publish_begin(&options, &publish, &exists, error);
    if (r >= 0)
        r = make_flat(home, operation, &top, publish, error);
    if (r >= 0)
        r = publish_commit(publish, error);
    if (r >= 0)
        r = add_flat(home, &top, id, publish_scratch_fd(publish), snapshot, layer, error);
    return r < 0 ? error_add_context(error, "cannot flatten the disk") : 0;
}

int layer_flatten(Home *home, Operation *operation, SnapshotRow *snapshot, Error *error) {
    VmDisks *disks = &snapshot->data.disks;
    int r = flatten(home, operation, snapshot, snapshot->layer, error);
    for (size_t i = 0; r >= 0 && i < disks->count; i++)
        r = flatten(home, operation, snapshot, disks->items[i].layer, error);
    return r;
}

/* The row first: QEMU is given the files, so what the overlay's header says matters to people only.
 */
static int use_flattened(Home *home, VmRow *row, size_t disk, Error *error) {
    _cleanup_(layer_row_free) LayerRow top = {0}, flat = {0};
    _cleanup_free_ char *file = NULL, *target = NULL;
    _cleanup_error_ Error failure = ERROR_INIT;
    VmDisk *state = vm_disk_of(row, disk);
    int r;
    if (!*state->layer)
        return 0;
    r = layers_get(home->store, state->layer, &top, error);
    if (r < 0 || !*top.flat || layers_get(home->store, top.flat, &flat, NULL) < 0)
        return r;
    str_set(state->layer, flat.id);
    r = vms_update(home->store, row, error);
    if (r < 0)
        return r;
    file = path_join(home->path, "vms", row->id, vm_disk_file(row, disk));
    target = layer_path(home, flat.id);
    {
        const char *argv[] = {"qemu-img", "rebase", "-q", "-u",   "-f", "qcow2",
                              "-F",       "qcow2",  "-b", target, file, NULL};
        SpawnOptions options = {.program = "qemu-img", .argv = (char *const *)argv};
        if (spawn_run(&options, 60 * USEC_PER_SEC, -1, NULL, &failure) < 0)
            log_warning("the header of %s keeps an old name: %s", file, error_message(&failure));
    }
    return 0;
}

int layer_use_flattened(Home *home, VmRow *row, Error *error) {
    int r = 0;
    for (size_t i = 0; r >= 0 && i < vm_disk_count(row); i++)
        r = use_flattened(home, row, i, error);
    return r;
}
