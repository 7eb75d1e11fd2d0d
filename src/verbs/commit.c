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

#include "base/json.h"
#include "base/path.h"
#include "base/str.h"
#include "catalog/images.h"
#include "frozen/layers.h"
#include "frozen/pins.h"
#include "home/inside.h"
#include "home/row.h"
#include "lineage/lineage.h"
#include "machine/snapshot/snapshot_create.h"
#include "pool/boot_cache.h"
#include "storage/bases.h"
#include "storage/image_seeds.h"
#include "verbs/verbs.h"

#define PURPOSE_COMMIT "commit"

typedef struct Commit {
    Home *home;           /* borrowed */
    Operation *operation; /* borrowed */
    SnapshotRow row;      /* owned: of the VM as it was */
    char *source;         /* owned: for people */
    json_t *seeds;        /* owned: what the image brings */
    json_t *settings;     /* owned: how it is run; NULL: it does not say */
    bool agent_is_init;
} Commit;

static int write_disk(void *data, int fd, const char *path, Error *error) {
    Commit *commit = data;
    operation_enter(commit->operation, "flatten");
    return layer_write_raw(commit->home, commit->operation, commit->row.layer,
                           str_or_empty(commit->row.data.base_path), fd, path, error);
}

/* As the VM is run, so is the image: what was said for the VM is said for it. A program that the
 * image of the VM does not wait for is not waited for either. */
static void take_settings(Commit *commit, const VmSpec *spec) {
    commit->agent_is_init = spec->agent_is_init;
    if (!spec->has_program && !spec->agent_is_init)
        return;
    commit->settings = image_config_to_json(&spec->config);
    (void)json_object_set_new(commit->settings, "env", vm_spec_env_to_json(spec));
    if (!spec->warm) {
        (void)json_object_del(commit->settings, "ready");
        (void)json_object_del(commit->settings, "ready_timeout_s");
    }
}

static int freeze(Commit *commit, const char *reference, Error *error) {
    const SnapshotOptions options = {.purpose = PURPOSE_COMMIT, .root_only = true};
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_vm_row_ VmRow vm = {0};
    int r = row_lock(commit->home, reference, "being committed", commit->operation->cancel_fd,
                     &lock, &vm, error);
    if (r >= 0)
        r = snapshot_create_locked(commit->home, commit->operation, &vm, &options, &commit->row,
                                   error);
    if (r >= 0)
        take_settings(commit, &vm.spec);
    return r;
}

/* What its image was asked for goes on to hold: memory, init. That image may be gone. */
static void inherit(Commit *commit, ImageAdoptRequest *request) {
    _cleanup_image_row_ ImageRow from = {0};
    const json_t *detail;
    if (commit->agent_is_init)
        request->init = IMAGE_INIT_AGENT;
    if (images_find(commit->home->store, commit->row.image_digest, &from, NULL) < 0)
        return;
    detail = from.detail;
    request->init = image_init_from_name(json_string_value(json_object_get(detail, "init")));
    request->default_memory_bytes =
        (uint64_t)json_integer_value(json_object_get(detail, "default_memory_bytes"));
    request->default_cpus = image_row_cpus(&from);
}

static int make(Commit *commit, const char *name, bool replace, json_t **image, Error *error) {
    ImageAdoptRequest request = {.name = name,
                                 .kernel_key = commit->row.data.kernel_key,
                                 .source = commit->source,
                                 .settings = commit->settings,
                                 .write = write_disk,
                                 .data = commit};
    int r;
    inherit(commit, &request);
    r = image_seeds_take(commit->home, commit->operation, &commit->row, commit->source,
                         &commit->seeds, error);
    request.seeds = commit->seeds;
    return r < 0 ? r
                 : catalog_adopt_image(commit->home, commit->operation, &request, replace,
                                       "image.committed", image, error);
}

/* Nobody has its seeds until its row is there. */
static int make_held(Commit *commit, const char *name, bool replace, json_t **image, Error *error) {
    int r;
    commit->source = str_format("commit of VM %s", commit->row.vm);
    bases_hold(commit->home);
    r = make(commit, name, replace, image, error);
    bases_release(commit->home);
    bases_collect(commit->home);
    json_decref(commit->seeds);
    json_decref(commit->settings);
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
