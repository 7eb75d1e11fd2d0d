/* SPDX-License-Identifier: Apache-2.0 */

/* `commit`: an image of a VM's disk.
 *
 *   an automatic snapshot, which freezes the disk as any other does ─▶ the VM goes on ─▶ its chain
 *   of layers written as one disk ─▶ digest, publish, name ─▶ the snapshot goes
 *
 * What a crash leaves is the snapshot, which nothing needs, so the next start collects it, and
 * scratch. */

#include <errno.h>

#include "base/json.h"
#include "base/path.h"
#include "base/str.h"
#include "catalog/images.h"
#include "frozen/layers.h"
#include "frozen/pins.h"
#include "home/inside.h"
#include "home/row.h"
#include "lineage/lineage.h"
#include "machine/snapshot_create.h"
#include "pool/boot_cache.h"
#include "verbs/verbs.h"

#define PURPOSE_COMMIT "commit"

typedef struct Commit {
    Home *home;           /* borrowed */
    Operation *operation; /* borrowed */
    SnapshotRow row;      /* owned: of the VM as it was */
} Commit;

static int write_disk(void *data, int fd, const char *path, Error *error) {
    Commit *commit = data;
    operation_enter(commit->operation, "flatten");
    return layer_write_raw(commit->home, commit->operation, commit->row.layer,
                           str_or_empty(commit->row.data.base_path), fd, path, error);
}

static int freeze(Commit *commit, const char *reference, Error *error) {
    const SnapshotOptions options = {.purpose = PURPOSE_COMMIT, .root_only = true};
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_vm_row_ VmRow vm = {0};
    int r = row_lock(commit->home, reference, "being committed", commit->operation->cancel_fd,
                     &lock, &vm, error);
    return r < 0 ? r
                 : snapshot_create_locked(commit->home, commit->operation, &vm, &options,
                                          &commit->row, error);
}

/* What its image was asked for goes on to hold: memory, init. That image may be gone. */
static void inherit(Commit *commit, ImageAdoptRequest *request) {
    _cleanup_image_row_ ImageRow from = {0};
    const json_t *detail;
    if (images_find(commit->home->store, commit->row.image_digest, &from, NULL) < 0)
        return;
    detail = from.detail;
    request->init = image_init_from_name(json_string_value(json_object_get(detail, "init")));
    request->default_memory_bytes =
        (uint64_t)json_integer_value(json_object_get(detail, "default_memory_bytes"));
}

static int make(Commit *commit, const char *name, bool replace, json_t **image, Error *error) {
    _cleanup_free_ char *source = str_format("commit of VM %s", commit->row.vm);
    ImageAdoptRequest request = {.name = name,
                                 .kernel_key = commit->row.data.kernel_key,
                                 .source = source,
                                 .write = write_disk,
                                 .data = commit};
    inherit(commit, &request);
    for (size_t i = 0; i < commit->row.data.spec.mounts.count; i++)
        operation_note(commit->operation,
                       "the image is of the root disk alone: what the VM has at %s is not in it",
                       commit->row.data.spec.mounts.items[i].path);
    return catalog_adopt_image(commit->home, commit->operation, &request, replace,
                               "image.committed", image, error);
}

/* Before anybody's disk is frozen for nothing. */
static int check_name(Home *home, const char *name, bool replace, Error *error) {
    _cleanup_image_row_ ImageRow there = {0};
    int r = name_check("image", name, error);
    if (r >= 0 && !replace)
        r = images_get(home->store, name, &there, error);
    if (r <= 0 || replace)
        return MIN_OF(r, 0);
    error_set(error, ERROR_CONFLICT, EEXIST, "there is another image %s already", name);
    error_set_hint(error, "choose another name, or let --replace move this one");
    return -EEXIST;
}

int vm_commit(Home *home, Operation *operation, const char *vm, const char *name, bool replace,
              json_t **image, Error *error) {
    Commit commit = {.home = home, .operation = operation};
    int r;
    operation_enter(operation, "plan");
    r = check_name(home, name, replace, error);
    if (r >= 0)
        r = freeze(&commit, vm, error);
    if (r < 0)
        return r;
    r = make(&commit, name, replace, image, error);
    snapshot_unpin(home, commit.row.id);
    lineage_collect(home);
    boot_cache_reconcile(home);
    if (r < 0)
        (void)error_add_context(error, "cannot make an image of %s", commit.row.vm);
    snapshot_row_free(&commit.row);
    return r;
}
