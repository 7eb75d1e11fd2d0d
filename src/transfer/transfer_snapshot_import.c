/* SPDX-License-Identifier: Apache-2.0 */

/* A snapshot arrives:
 *
 *   manifest ─▶ can this host restore it? is what it was told from here? ─▶ row `creating`, which
 *   keeps base and layers ─▶ all members in one pass, into scratch ─▶ headers of layers ─▶ publish
 *   kernel, base, layers, the snapshot's folder ─▶ row `ready`
 *
 * A failure undoes it; of a crash the next start removes the row, the folder and layers without a
 * row, as of a snapshot that was being taken. */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "catalog/image_remove.h"
#include "disk/base_file.h"
#include "frozen/pins.h"
#include "frozen/restore_memory.h"
#include "frozen/snapshot_files.h"
#include "frozen/snapshot_key.h"
#include "frozen/snapshot_save.h"
#include "frozen/stamp.h"
#include "frozen/uefi_variables.h"
#include "home/admission.h"
#include "home/host.h"
#include "home/inside.h"
#include "image/firmware.h"
#include "lineage/lineage.h"
#include "lineage/snapshot_describe.h"
#include "memory/diff.h"
#include "store/store.h"
#include "transfer/transfer.h"
#include "transfer/transfer_disks.h"
#include "transfer/transfer_layers.h"
#include "transfer/transfer_parts.h"
#include "transfer/transfer_row.h"

#define DEPTH_MAX 32

typedef struct Arrival {
    Home *home;           /* borrowed */
    Operation *operation; /* borrowed */
    ArchiveReader reader; /* owned */
    SnapshotRow row;      /* owned */
    SnapshotRow since;    /* owned, pinned */
    bool has_since, inserted;
    ArchiveKernel kernel;  /* owned */
    Publish *base, *files; /* owned; NULL: none */
    char *base_lock;       /* owned */
    TransferBases bases;   /* owned: of its other disks */
    Publish *cidata;       /* owned; NULL: it has none, or it is here */
    TransferLayers layers; /* owned */
} Arrival;

static void arrival_free(Arrival *all) {
    transfer_layers_free(&all->layers);
    if (all->has_since)
        snapshot_unpin(all->home, all->since.id);
    publish_free(all->base);
    publish_free(all->files);
    publish_free(all->cidata);
    transfer_bases_end(&all->bases);
    if (all->base_lock)
        (void)unlink(all->base_lock);
    free(all->base_lock);
    archive_kernel_free(&all->kernel);
    archive_reader_free(&all->reader);
    snapshot_row_free(&all->row);
    snapshot_row_free(&all->since);
}

static const char *text_of(const json_t *json, const char *key) {
    return str_or_empty(json_string_value(json_object_get(json, key)));
}

/* ---- what it stands on ---- */

static int check_host(Arrival *all, Error *error) {
    _cleanup_(qemu_features_free) QemuFeatures features = {0};
    const char *accel;
    int r = *all->row.key ? host_probe(all->home, &features, &accel, error) : 0;
    return r < 0 || !*all->row.key ? r : snapshot_check_host(&all->row, &features, accel, error);
}

static int lacks_since(const json_t *since, Error *error) {
    const char *name = text_of(since, "name"), *id = text_of(since, "id");
    error_set(error, ERROR_NOT_FOUND, ENOENT,
              "the archive holds what came after snapshot %.63s (%.12s), which is not here", name,
              id);
    error_set_hint(error, "import that first, or export without --since");
    return -ENOENT;
}

static int find_since(Arrival *all, Error *error) {
    const json_t *since = json_object_get(all->reader.manifest, "since");
    if (!since || json_is_null(since))
        return 0;
    if (snapshot_pin(all->home, text_of(since, "id"), &all->since, NULL) < 0)
        return lacks_since(since, error);
    all->has_since = true;
    if (!str_equal(all->since.data.files.state.sha256, text_of(since, "state_sha256")) ||
        (*all->row.key && all->since.data.memory_bytes != all->row.data.memory_bytes))
        return lacks_since(since, error);
    if (restore_memory_depth(all->home, all->since.id) < DEPTH_MAX)
        return 0;
    error_set(error, ERROR_UNSUPPORTED, E2BIG, "its memory would stand on more than %d others",
              DEPTH_MAX);
    error_set_hint(error, "export without --since");
    return -E2BIG;
}

static int begin_base(Arrival *all, Error *error) {
    ArchiveMember *disk = archive_members_find(&all->reader.members, TRANSFER_BASE);
    _cleanup_free_ char *path = NULL, *name = scratch_name("adopt");
    const PublishOptions options = {.home = all->home->path,
                                    .kind = "images",
                                    .name = name,
                                    .cancel_fd = all->operation->cancel_fd};
    bool exists;
    int r;
    if (!disk && !all->has_since)
        return archive_manifest_damaged(error, "there is no disk");
    str_set(all->row.image_digest, disk ? disk->digest : all->since.image_digest);
    path = base_path(all->home->path, all->row.image_digest);
    str_replace(&all->row.data.base_path, path);
    if (!disk || access(path, R_OK) == 0)
        return 0;
    all->base_lock = str_format("%s/locks/images-%s.lock", all->home->path, name);
    r = publish_begin(&options, &all->base, &exists, error);
    return r < 0 ? r : archive_member_want(disk, publish_scratch_fd(all->base), error);
}

static int begin_kernel(Arrival *all, Error *error) {
    int r = 0;
    if (archive_kernel_is_told(all->reader.manifest))
        r = archive_kernel_begin(all->home->path, &all->reader, all->operation->cancel_fd,
                                 &all->kernel, error);
    else if (all->has_since)
        (void)snprintf(all->kernel.key, sizeof(all->kernel.key), "%.64s",
                       all->since.data.kernel_key);
    else
        r = archive_manifest_damaged(error, "there is no kernel");
    str_set(all->row.data.kernel_key, all->kernel.key);
    return r;
}

/* ---- disks beside the root, and what firmware needs ---- */

static int begin_mount(Arrival *all, size_t i, const json_t *json, Error *error) {
    VmMount *mount = &all->row.data.spec.mounts.items[i];
    const json_t *layers = json_object_get(json, "layers");
    _cleanup_free_ char *path = NULL;
    int r = transfer_bases_want(&all->bases, &all->reader, text_of(json, "digest"),
                                all->operation->cancel_fd, error);
    if (r < 0)
        return r;
    if (mount->bytes < all->bases.items[i].bytes ||
        (!vm_mount_has_overlay(mount) && json_array_size(layers) > 0))
        return archive_manifest_damaged(error, "a disk beside its root");
    str_set(mount->base, all->bases.items[i].digest);
    path = seed_base_path(all->home->path, mount->base);
    return transfer_layers_want(&all->layers, &all->reader, i + 1, path, layers,
                                all->operation->cancel_fd, error);
}

static int begin_disks(Arrival *all, Error *error) {
    const json_t *list = json_object_get(all->reader.manifest, "disks"), *one;
    VmMounts *mounts = &all->row.data.spec.mounts;
    size_t i;
    int r = transfer_layers_want(&all->layers, &all->reader, 0, all->row.data.base_path,
                                 json_object_get(all->reader.manifest, "layers"),
                                 all->operation->cancel_fd, error);
    if (r >= 0 && json_array_size(list) != mounts->count)
        r = archive_manifest_damaged(error, "the disks beside its root");
    json_array_foreach(list, i, one) {
        if (r >= 0)
            r = begin_mount(all, i, one, error);
    }
    if (r < 0 || mounts->count == 0)
        return r;
    all->row.data.disks.count = mounts->count;
    all->row.data.facts.disks = snapshot_disks(mounts);
    if (*all->row.key)
        snapshot_key(&all->row.data.facts, all->row.key);
    return 0;
}

/* Named by its content: it is this home's own file, and shared. */
static int begin_cidata(Arrival *all, Error *error) {
    ArchiveMember *member = archive_members_find(&all->reader.members, TRANSFER_CIDATA);
    _cleanup_free_ char *name = NULL;
    bool exists = false;
    int r;
    if (!firmware_is(all->row.data.kernel_key))
        return 0;
    if (!member)
        return *all->row.key ? archive_manifest_damaged(error, "there is no disk for cloud-init")
                             : 0;
    name = str_format("%s.iso", member->digest + strlen(TREE_DIGEST_PREFIX));
    const PublishOptions options = {.home = all->home->path,
                                    .kind = "initramfs",
                                    .name = name,
                                    .cancel_fd = all->operation->cancel_fd};
    str_set(all->row.data.initramfs_key, name);
    r = publish_begin(&options, &all->cidata, &exists, error);
    return r < 0 || exists ? r
                           : archive_member_want(member, publish_scratch_fd(all->cidata), error);
}

/* ---- the row and the snapshot's own files ---- */

/* The id that it had, unless a snapshot has that here. */
static void choose_id(Arrival *all) {
    _cleanup_snapshot_row_ SnapshotRow there = {0};
    _cleanup_free_ char *id = random_hex(16);
    if (snapshots_get(all->home->store, all->row.id, &there, NULL) >= 0)
        str_set(all->row.id, id);
    if (!*all->row.key)
        return;
    str_set(all->row.data.kind, all->has_since ? "diff" : "full");
    str_set(all->row.base, all->has_since ? all->since.id : all->row.id);
    str_set(all->row.data.files.memory.name, all->has_since ? "memory.diff" : "memory.base");
    str_set(all->row.data.files.state.name, "state");
}

static int want_file(Arrival *all, const char *member, const char *name, Error *error) {
    _cleanup_close_ int fd = openat(publish_scratch_fd(all->files), name,
                                    O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return error_set_errno(error, errno, "cannot make the snapshot's %s", member);
    return archive_member_want(archive_members_find(&all->reader.members, member), fd, error);
}

/* The variables are always a file of the snapshot's own. */
static int want_variables(Arrival *all, Error *error) {
    const ArchiveMember *member = archive_members_find(&all->reader.members, TRANSFER_VARIABLES);
    if (!str_equal(all->row.data.kernel_key, FIRMWARE_UEFI))
        return 0;
    if (!member || member->file.bytes > UEFI_VARIABLES_MAX)
        return archive_manifest_damaged(error, "UEFI's variables");
    return want_file(all, TRANSFER_VARIABLES, UEFI_VARIABLES_FILE, error);
}

static int begin_files(Arrival *all, Error *error) {
    ArchiveMember *memory = archive_members_find(&all->reader.members, "memory");
    int r;
    if (!memory && !str_equal(all->row.data.kernel_key, FIRMWARE_UEFI))
        return 0;
    if (memory && !all->has_since && memory->file.bytes != all->row.data.memory_bytes)
        return archive_manifest_damaged(error, "the size of the memory");
    r = snapshot_save_begin(all->home, all->row.id, all->operation->cancel_fd, &all->files, error);
    if (r >= 0)
        r = want_variables(all, error);
    if (r < 0 || !memory)
        return r;
    r = want_file(all, "memory", all->row.data.files.memory.name, error);
    return r < 0 ? r : want_file(all, "state", "state", error);
}

static int begin(Arrival *all, Error *error) {
    int r = begin_base(all, error);
    if (r >= 0)
        r = begin_kernel(all, error);
    if (r >= 0)
        r = begin_cidata(all, error);
    if (r >= 0)
        r = begin_disks(all, error);
    if (r < 0)
        return r;
    choose_id(all);
    r = begin_files(all, error);
    if (r >= 0)
        r = transfer_check_room(all->home, &all->reader, error);
    if (r >= 0)
        r = snapshots_insert(all->home->store, &all->row, error);
    all->inserted = r >= 0;
    return r;
}

/* ---- after it was read ---- */

static int finish_base(Arrival *all, Error *error) {
    int fd, r;
    if (!all->base)
        return 0;
    fd = publish_scratch_fd(all->base);
    r = base_check_whole(fd, error);
    return r < 0 ? r : base_publish(all->base, all->row.image_digest, error);
}

static void note_layers(Arrival *all) {
    for (size_t i = 0; i < all->layers.count; i++) { /* the last of a disk's is on top */
        const TransferLayer *layer = &all->layers.items[i];
        if (layer->disk == 0)
            str_set(all->row.layer, layer->row.id);
        else
            str_set(all->row.data.disks.items[layer->disk - 1].layer, layer->row.id);
    }
}

/* One transaction: a layer on which nothing stands may be collected at any moment. */
static int add_rows(Arrival *all, Error *error) {
    int r = store_begin(all->home->store, error);
    if (r < 0)
        return r;
    r = transfer_layers_insert(&all->layers, error);
    note_layers(all);
    if (r >= 0)
        r = snapshots_update(all->home->store, &all->row, error);
    if (r >= 0)
        return store_commit(all->home->store, error);
    store_rollback(all->home->store);
    return r;
}

static int finish_layers(Arrival *all, Error *error) {
    int r = transfer_layers_finish(&all->layers, all->operation->cancel_fd, error);
    if (r < 0)
        return r;
    r = add_rows(all, error);
    if (r < 0)
        transfer_layers_remove(&all->layers);
    return r;
}

static int finish_files(Arrival *all, Error *error) {
    const ArchiveMember *memory = archive_members_find(&all->reader.members, "memory");
    const ArchiveMember *state = archive_members_find(&all->reader.members, "state");
    SnapshotFiles *files = &all->row.data.files;
    int r = 0;
    if (!all->files)
        return 0;
    if (!memory)
        return publish_commit(all->files, error);
    if (all->has_since)
        r = memory_diff_check(memory->file.fd, all->row.data.memory_bytes, error);
    str_set(files->memory.tree, memory->digest);
    all->row.data.state_bytes = state->file.bytes;
    if (r >= 0)
        r = sha256_file(state->file.fd, files->state.sha256, error);
    if (r >= 0)
        r = stamp_make(memory->file.fd, &files->memory.stamp, error);
    if (r >= 0)
        r = stamp_make(state->file.fd, &files->state.stamp, error);
    return r < 0 ? r : publish_commit(all->files, error);
}

static int finish(Arrival *all, Error *error) {
    _cleanup_json_ json_t *detail = NULL;
    int r = archive_kernel_finish(&all->kernel, error);
    if (r >= 0)
        r = finish_base(all, error);
    if (r >= 0)
        r = transfer_bases_finish(&all->bases, error);
    if (r >= 0 && all->cidata)
        r = publish_commit(all->cidata, error);
    if (r >= 0)
        r = finish_layers(all, error);
    if (r >= 0)
        r = finish_files(all, error);
    if (r < 0)
        return r;
    all->row.state = SNAPSHOT_READY;
    r = snapshots_update(all->home->store, &all->row, error);
    if (r >= 0)
        r = store_sync(all->home->store, error);
    detail = json_pack("{s:s, s:s}", "snapshot", all->row.id, "vm", all->row.vm);
    if (r >= 0)
        home_event(all->home, "snapshot.imported", NULL, *all->row.name ? all->row.name : NULL,
                   detail);
    return r;
}

static int run(Arrival *all, const ArchiveImport *import, Error *error) {
    int r = transfer_open(&all->reader, import->fd, "snapshot", error);
    if (r >= 0)
        r = admission_check_disk(all->home, error);
    if (r >= 0)
        r = transfer_row_read(&all->reader, import->name, &all->row, error);
    if (r >= 0)
        r = check_host(all, error);
    if (r >= 0)
        r = find_since(all, error);
    if (r >= 0)
        r = begin(all, error);
    if (r >= 0)
        r = transfer_run(&all->reader, all->operation, error);
    return r < 0 ? r : finish(all, error);
}

int archive_import_snapshot(Home *home, Operation *operation, const ArchiveImport *import,
                            json_t **snapshot, Error *error) {
    _cleanup_(arrival_free)
        Arrival all = {.home = home, .operation = operation, .layers.home = home};
    int r;
    operation_enter(operation, "import");
    transfer_bases_begin(home, &all.bases);
    r = run(&all, import, error);
    if (r >= 0)
        return snapshot_describe(home, &all.row, snapshot, error);
    if (all.inserted) {
        publish_free(all.files);
        all.files = NULL;
        (void)snapshot_undo(home, all.row.id);
        lineage_collect(home);
        image_base_collect(home, all.row.image_digest);
    }
    return error_add_context(error, "cannot import the snapshot");
}
