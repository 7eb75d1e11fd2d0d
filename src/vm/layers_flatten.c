/* SPDX-License-Identifier: Apache-2.0 */

/* A chain of layers grows by one with each snapshot. One that is too long for a snapshot is
 * flattened for it: a copy of its top gets all that differs from the base, and stands right over
 * that. Both show the same disk; a VM takes the flat one at its next start. */

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/log.h"
#include "disk/publish.h"
#include "disk/sparse.h"
#include "vm/snapshot_internal.h"

#define REBASE_TIMEOUT_USEC (3600 * USEC_PER_SEC)

static json_t *node_without_locks(const char *driver, const char *path) {
    return json_pack("{s:s, s:{s:s, s:s, s:s}}", "driver", driver, "file", "driver", "file",
                     "filename", path, "locking", "off");
}

/* The scratch file over the layers below `top`, as QEMU's json: file name. QEMUs that run hold
 * locks on those files, which are frozen: locks have nothing to say there. */
static int describe_chain(Ramet *ramet, const LayerRow *top, const char *scratch, char **name,
                          Error *error) {
    json_t *whole = node_without_locks("qcow2", scratch), *above = whole;
    _cleanup_free_ char *text = NULL;
    char id[VM_ID_SIZE];
    int r = 0;

    (void)snprintf(id, sizeof(id), "%s", top->parent);
    while (r >= 0 && *id) {
        _cleanup_(layer_row_free) LayerRow row = {0};
        _cleanup_free_ char *path = layer_path(ramet, id);
        json_t *node = node_without_locks("qcow2", path);

        (void)json_object_set_new(above, "backing", node);
        above = node;
        r = layers_get(ramet->store, id, &row, error);
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
static int make_flat(Ramet *ramet, Operation *operation, const LayerRow *top, Publish *publish,
                     Error *error) {
    _cleanup_free_ char *path = layer_path(ramet, top->id), *chain = NULL;
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    int r;

    if (fd < 0)
        return error_set_errno(error, errno, "cannot open %s", path);
    r = file_clone_or_sparse_copy(fd, publish_scratch_fd(publish), NULL, error);
    if (r >= 0)
        r = describe_chain(ramet, top, publish_scratch_path(publish), &chain, error);
    if (r >= 0) {
        const char *argv[] = {"qemu-img", "rebase",       "-q",  "-F", "raw",
                              "-b",       top->base_path, chain, NULL};
        const SpawnOptions options = {
            .program = "qemu-img", .argv = (char *const *)argv, .nice = 5};

        r = spawn_run(&options, REBASE_TIMEOUT_USEC, operation->cancel_fd, NULL, error);
    }
    return r;
}

static int add_flat(Ramet *ramet, LayerRow *top, const char *id, int fd, SnapshotRow *snapshot,
                    Error *error) {
    _cleanup_(layer_row_free) LayerRow flat = {.depth = 1};
    int r;

    (void)snprintf(flat.id, sizeof(flat.id), "%s", id);
    flat.base_path = str_copy(top->base_path);
    flat.virtual_bytes = top->virtual_bytes;
    r = sha256_file(fd, flat.sha256, error);
    if (r >= 0)
        r = stamp_make(fd, &flat.stamp, error);
    if (r >= 0)
        r = store_begin(ramet->store, error);
    if (r < 0)
        return r;
    (void)snprintf(top->flat, sizeof(top->flat), "%s", id);
    (void)snprintf(snapshot->layer, sizeof(snapshot->layer), "%s", id);
    r = layers_insert(ramet->store, &flat, error);
    if (r >= 0)
        r = layers_update(ramet->store, top, error);
    if (r >= 0)
        r = snapshots_update(ramet->store, snapshot, error);
    if (r < 0) {
        store_rollback(ramet->store);
        return r;
    }
    return store_commit(ramet->store, error);
}

int layer_flatten(Ramet *ramet, Operation *operation, SnapshotRow *snapshot, Error *error) {
    _cleanup_(layer_row_free) LayerRow top = {0};
    _cleanup_(publish_free_p) Publish *publish = NULL;
    _cleanup_free_ char *id = random_hex(16), *name = str_format("%s.qcow2", id);
    PublishOptions options = {
        .home = ramet->home, .kind = "layers", .name = name, .cancel_fd = operation->cancel_fd};
    bool exists;
    int r;

    if (!*snapshot->layer)
        return 0;
    r = layers_get(ramet->store, snapshot->layer, &top, error);
    if (r < 0 || top.depth <= LAYER_DEPTH_MAX)
        return r;
    operation_enter(operation, "flatten");
    r = publish_begin(&options, &publish, &exists, error);
    if (r >= 0)
        r = make_flat(ramet, operation, &top, publish, error);
    if (r >= 0)
        r = publish_commit(publish, error);
    if (r >= 0)
        r = add_flat(ramet, &top, id, publish_scratch_fd(publish), snapshot, error);
    return r < 0 ? error_add_context(error, "cannot flatten the disk") : 0;
}

/* The row first: QEMU is given the files, so what the overlay's header says matters to people only.
 */
int layer_take_flat(Ramet *ramet, VmRow *row, Error *error) {
    _cleanup_(layer_row_free) LayerRow top = {0}, flat = {0};
    _cleanup_free_ char *file = NULL, *target = NULL;
    _cleanup_error_ Error failure = ERROR_INIT;
    int r;

    if (!*row_text(row, "layer"))
        return 0;
    r = layers_get(ramet->store, row_text(row, "layer"), &top, error);
    if (r < 0 || !*top.flat || layers_get(ramet->store, top.flat, &flat, NULL) < 0)
        return r;
    row_set(row, "layer", json_string(flat.id));
    r = vms_update(ramet->store, row, error);
    if (r < 0)
        return r;
    file = path_join(ramet->home, "vms", row->id, vm_disk_file(row));
    target = layer_path(ramet, flat.id);
    {
        const char *argv[] = {"qemu-img", "rebase", "-q", "-u",   "-f", "qcow2",
                              "-F",       "qcow2",  "-b", target, file, NULL};
        SpawnOptions options = {.program = "qemu-img", .argv = (char *const *)argv};

        if (spawn_run(&options, 60 * USEC_PER_SEC, -1, NULL, &failure) < 0)
            log_warning("the header of %s keeps an old name: %s", file, error_message(&failure));
    }
    return 0;
}
