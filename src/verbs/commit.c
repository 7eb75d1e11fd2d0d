/* SPDX-License-Identifier: Apache-2.0 */

/* `commit`: an image of a VM's disk.
 *
 *   an automatic snapshot, which freezes the disks as any other does ─▶ the VM goes on ─▶ each
 *   chain of layers written as one disk, those over seeds as seeds of the image ─▶ digest,
 *   publish, name ─▶ the snapshot goes
 *
 * What a crash leaves is the snapshot, which nothing needs, so the next start collects it, and
 * scratch. */

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/json.h"
#include "base/path.h"
#include "base/str.h"
#include "catalog/images.h"
#include "disk/base_file.h"
#include "frozen/layers.h"
#include "frozen/pins.h"
#include "home/inside.h"
#include "home/row.h"
#include "lineage/lineage.h"
#include "machine/snapshot_create.h"
#include "pool/boot_cache.h"
#include "storage/bases.h"
#include "verbs/verbs.h"

#define PURPOSE_COMMIT "commit"

typedef struct Commit {
    Home *home;           /* borrowed */
    Operation *operation; /* borrowed */
    SnapshotRow row;      /* owned: of the VM as it was */
    char *source;         /* owned: for people */
    json_t *seeds;        /* owned: what the image brings */
} Commit;

static int write_disk(void *data, int fd, const char *path, Error *error) {
    Commit *commit = data;
    operation_enter(commit->operation, "flatten");
    return layer_write_raw(commit->home, commit->operation, commit->row.layer,
                           str_or_empty(commit->row.data.base_path), fd, path, error);
}

/* ---- seeds: what the VM has over them becomes one of the image's ---- */

static int write_seed(Commit *commit, size_t i, char base[BASE_ID_SIZE], Error *error) {
    const SnapshotData *data = &commit->row.data;
    const char *home = commit->home->path;
    int cancel_fd = commit->operation->cancel_fd;
    _cleanup_free_ char *below = seed_base_path(home, data->spec.mounts.items[i].base);
    _cleanup_free_ char *name = scratch_name("commit");
    _cleanup_free_ char *lock = str_format("%s/locks/" SEED_KIND "-%s.lock", home, name);
    const PublishOptions options = {
        .home = home, .kind = SEED_KIND, .name = name, .cancel_fd = cancel_fd};
    _cleanup_(publish_free_p) Publish *publish = NULL;
    bool exists;
    int r = publish_begin(&options, &publish, &exists, error);
    (void)unlink(lock); /* nobody else can choose its name */
    if (r >= 0)
        r = layer_write_raw(commit->home, commit->operation, data->disks.items[i].layer, below,
                            publish_scratch_fd(publish), publish_scratch_path(publish), error);
    if (r >= 0)
        r = base_digest(publish_scratch_fd(publish), cancel_fd, base, error);
    return r < 0 ? r : base_publish(publish, base, error);
}

static int add_seed(Commit *commit, size_t i, Error *error) {
    const VmMount *mount = &commit->row.data.spec.mounts.items[i];
    char base[BASE_ID_SIZE];
    int r;
    if (mount->kind != VM_MOUNT_SEED) {
        operation_note(commit->operation, "what the VM has at %s is not in the image", mount->path);
        return 0;
    }
    r = write_seed(commit, i, base, error);
    if (r < 0)
        return error_add_context(error, "the disk at %s", mount->path);
    (void)json_array_append_new(commit->seeds,
                                json_pack("{s:s, s:s, s:s, s:I}", "path", mount->path, "digest",
                                          base, "source", commit->source, "virtual_bytes",
                                          (json_int_t)mount->bytes));
    return 0;
}

static int add_seeds(Commit *commit, Error *error) {
    int r = 0;
    operation_enter(commit->operation, "seeds");
    for (size_t i = 0; r >= 0 && i < commit->row.data.spec.mounts.count; i++)
        r = add_seed(commit, i, error);
    return r;
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
    ImageAdoptRequest request = {.name = name,
                                 .kernel_key = commit->row.data.kernel_key,
                                 .source = commit->source,
                                 .write = write_disk,
                                 .data = commit};
    int r = 0;
    inherit(commit, &request);
    if (commit->row.data.spec.mounts.count > 0)
        r = add_seeds(commit, error);
    if (json_array_size(commit->seeds) > 0)
        request.seeds = commit->seeds;
    return r < 0 ? r
                 : catalog_adopt_image(commit->home, commit->operation, &request, replace,
                                       "image.committed", image, error);
}

/* Nobody has its seeds until its row is there. */
static int make_held(Commit *commit, const char *name, bool replace, json_t **image, Error *error) {
    int r;
    commit->source = str_format("commit of VM %s", commit->row.vm);
    commit->seeds = json_array();
    bases_hold(commit->home);
    r = make(commit, name, replace, image, error);
    bases_release(commit->home);
    bases_collect(commit->home);
    json_decref(commit->seeds);
    free(commit->source);
    return r;
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
    r = make_held(&commit, name, replace, image, error);
    snapshot_unpin(home, commit.row.id);
    lineage_collect(home);
    boot_cache_reconcile(home);
    if (r < 0)
        (void)error_add_context(error, "cannot make an image of %s", commit.row.vm);
    snapshot_row_free(&commit.row);
    return r;
}
