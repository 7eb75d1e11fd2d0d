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
#include "frozen/layers.h"
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
#include "store/disks/layers.h"
#include "store/store.h"
#include "transfer/transfer.h"
#include "transfer/transfer_disks.h"
#include "transfer/transfer_layer.h"
#include "transfer/transfer_parts.h"
#include "transfer/transfer_row.h"

#define LAYERS_MAX 60
#define DEPTH_MAX 32

typedef struct ArrivingLayer {
    size_t disk;           /* 0: the root */
    LayerRow row;          /* owned */
    Publish *publish;      /* owned; NULL: it is here */
    ArchiveMember *member; /* borrowed; NULL: it is here */
} ArrivingLayer;

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
    size_t n_layers;
    ArrivingLayer layers[LAYERS_MAX];
} Arrival;

static void arrival_free(Arrival *all) {
    for (size_t i = 0; i < all->n_layers; i++) {
        layer_row_free(&all->layers[i].row);
        publish_free(all->layers[i].publish);
    }
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

static int bad(Error *error, const char *what) {
    return error_set(error, ERROR_CORRUPT, EBADMSG, "the archive's manifest is damaged: %s", what);
}

static const char *text_of(const json_t *json, const char *key) {
    return str_or_empty(json_string_value(json_object_get(json, key)));
}

/* Its file becomes the member's. */
static int want(ArchiveMember *member, int fd, Error *error) {
    member->file.fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    member->wanted = true;
    return member->file.fd < 0 ? error_set_errno(error, errno, "cannot keep a descriptor") : 0;
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
        return bad(error, "there is no disk");
    str_set(all->row.image_digest, disk ? disk->digest : all->since.image_digest);
    path = base_path(all->home->path, all->row.image_digest);
    str_replace(&all->row.data.base_path, path);
    if (!disk || access(path, R_OK) == 0)
        return 0;
    all->base_lock = str_format("%s/locks/images-%s.lock", all->home->path, name);
    r = publish_begin(&options, &all->base, &exists, error);
    return r < 0 ? r : want(disk, publish_scratch_fd(all->base), error);
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
        r = bad(error, "there is no kernel");
    str_set(all->row.data.kernel_key, all->kernel.key);
    return r;
}

/* ---- layers ---- */

/* The layer of that id, if it is here, is the same, and stands on the same. */
static bool is_here(Arrival *all, const LayerRow *wanted, const char *digest) {
    _cleanup_layer_row_ LayerRow row = {0};
    _cleanup_archive_file_ ArchiveFile file = ARCHIVE_FILE_INIT;
    _cleanup_free_ char *path = layer_path(all->home, wanted->id);
    char found[TREE_DIGEST_SIZE];
    int fd;
    if (layers_get(all->home->store, wanted->id, &row, NULL) < 0 ||
        !str_equal(row.parent, wanted->parent) || !str_equal(row.base_path, wanted->base_path))
        return false;
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    return fd >= 0 && transfer_layer_open(&file, fd, NULL) >= 0 &&
           archive_file_digest(&file, all->operation->cancel_fd, found, NULL) >= 0 &&
           str_equal(found, digest);
}

/* One that is not here gets an id of its own where another has that. */
static int begin_layer(Arrival *all, ArrivingLayer *layer, Error *error) {
    _cleanup_free_ char *id = random_hex(16), *name = NULL;
    _cleanup_layer_row_ LayerRow other = {0};
    PublishOptions options = {
        .home = all->home->path, .kind = "layers", .cancel_fd = all->operation->cancel_fd};
    bool exists = false;
    int r;
    if (layers_get(all->home->store, layer->row.id, &other, NULL) >= 0)
        str_set(layer->row.id, id);
    name = str_format("%s.qcow2", layer->row.id);
    options.name = name;
    r = publish_begin(&options, &layer->publish, &exists, error);
    if (r >= 0 && exists)
        r = error_set(error, ERROR_CONFLICT, EEXIST, "layer %s is being made", layer->row.id);
    return r < 0 ? r : want(layer->member, publish_scratch_fd(layer->publish), error);
}

/* What a disk's layer stands on: the one before it, of the same disk. */
static const char *below(const Arrival *all, size_t disk) {
    const ArrivingLayer *last = &all->layers[all->n_layers];
    return all->n_layers > 0 && last[-1].disk == disk ? last[-1].row.id : "";
}

static int read_layer(Arrival *all, size_t disk, const char *base, const json_t *json,
                      Error *error) {
    ArrivingLayer *layer = &all->layers[all->n_layers];
    const char *parent = below(all, disk);
    _cleanup_free_ char *name = str_format("layer-%s", text_of(json, "id"));
    ArchiveMember *member = archive_members_find(&all->reader.members, name);
    uint8_t bytes[16];
    *layer = (ArrivingLayer){.disk = disk};
    layer->row.depth = *parent ? layer[-1].row.depth + 1 : 1;
    all->n_layers++;
    if (hex_decode(text_of(json, "id"), bytes, sizeof(bytes)) < 0 ||
        json_get_u64("layer", json, "virtual_bytes", &layer->row.virtual_bytes, NULL) < 0 ||
        layer->row.virtual_bytes % 512 != 0 || layer->row.virtual_bytes == 0 ||
        layer->row.virtual_bytes > (uint64_t)1 << 50 ||
        (member && !str_equal(member->digest, text_of(json, "digest"))))
        return bad(error, "a layer of the disk");
    str_set(layer->row.id, text_of(json, "id"));
    str_set(layer->row.parent, parent);
    layer->row.base_path = str_copy(base);
    if (is_here(all, &layer->row, text_of(json, "digest")))
        return 0;
    if (!member)
        return error_set(error, ERROR_NOT_FOUND, ENOENT,
                         "the archive stands on a disk layer (%.12s) that is not here",
                         layer->row.id);
    layer->member = member;
    return begin_layer(all, layer, error);
}

static int begin_layers(Arrival *all, size_t disk, const char *base, const json_t *list,
                        Error *error) {
    const json_t *one;
    size_t i;
    int r = 0;
    if (!json_is_array(list) || json_array_size(list) > LAYERS_MAX - all->n_layers)
        return bad(error, "the layers of a disk");
    json_array_foreach(list, i, one) {
        r = read_layer(all, disk, base, one, error);
        if (r < 0)
            return r;
    }
    return 0;
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
        return bad(error, "a disk beside its root");
    str_set(mount->base, all->bases.items[i].digest);
    path = seed_base_path(all->home->path, mount->base);
    return begin_layers(all, i + 1, path, layers, error);
}

static int begin_disks(Arrival *all, Error *error) {
    const json_t *list = json_object_get(all->reader.manifest, "disks"), *one;
    VmMounts *mounts = &all->row.data.spec.mounts;
    size_t i;
    int r = begin_layers(all, 0, all->row.data.base_path,
                         json_object_get(all->reader.manifest, "layers"), error);
    if (r >= 0 && json_array_size(list) != mounts->count)
        r = bad(error, "the disks beside its root");
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
        return *all->row.key ? bad(error, "there is no disk for cloud-init") : 0;
    name = str_format("%s.iso", member->digest + strlen(TREE_DIGEST_PREFIX));
    const PublishOptions options = {.home = all->home->path,
                                    .kind = "initramfs",
                                    .name = name,
                                    .cancel_fd = all->operation->cancel_fd};
    str_set(all->row.data.initramfs_key, name);
    r = publish_begin(&options, &all->cidata, &exists, error);
    return r < 0 || exists ? r : want(member, publish_scratch_fd(all->cidata), error);
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
    return want(archive_members_find(&all->reader.members, member), fd, error);
}

/* The variables are always a file of the snapshot's own. */
static int want_variables(Arrival *all, Error *error) {
    const ArchiveMember *member = archive_members_find(&all->reader.members, TRANSFER_VARIABLES);
    if (!str_equal(all->row.data.kernel_key, FIRMWARE_UEFI))
        return 0;
    if (!member || member->file.bytes > UEFI_VARIABLES_MAX)
        return bad(error, "UEFI's variables");
    return want_file(all, TRANSFER_VARIABLES, UEFI_VARIABLES_FILE, error);
}

static int begin_files(Arrival *all, Error *error) {
    ArchiveMember *memory = archive_members_find(&all->reader.members, "memory");
    int r;
    if (!memory && !str_equal(all->row.data.kernel_key, FIRMWARE_UEFI))
        return 0;
    if (memory && !all->has_since && memory->file.bytes != all->row.data.memory_bytes)
        return bad(error, "the size of the memory");
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

/* In the order in which they stand on each other. */
static int finish_layer(Arrival *all, ArrivingLayer *layer, Error *error) {
    bool first = !*layer->row.parent;
    _cleanup_free_ char *backing =
        first ? str_copy(layer->row.base_path) : layer_path(all->home, layer->row.parent);
    int fd = publish_scratch_fd(layer->publish);
    int r = transfer_layer_adopt(all->home, fd, layer->row.virtual_bytes, backing,
                                 first ? "raw" : "qcow2", error);
    if (r >= 0)
        r = transfer_layer_check(publish_scratch_path(layer->publish), all->operation->cancel_fd,
                                 error);
    if (r >= 0)
        r = sha256_file(fd, layer->row.sha256, error);
    if (r >= 0)
        r = publish_commit(layer->publish, error);
    return r < 0 ? r : stamp_make(fd, &layer->row.stamp, error);
}

/* One transaction: a layer on which nothing stands may be collected at any moment. */
static int add_rows(Arrival *all, Error *error) {
    int r = store_begin(all->home->store, error);
    if (r < 0)
        return r;
    for (size_t i = 0; r >= 0 && i < all->n_layers; i++)
        if (all->layers[i].publish)
            r = layers_insert(all->home->store, &all->layers[i].row, error);
    for (size_t i = 0; i < all->n_layers; i++) { /* the last of a disk's is on top */
        const ArrivingLayer *layer = &all->layers[i];
        if (layer->disk == 0)
            str_set(all->row.layer, layer->row.id);
        else
            str_set(all->row.data.disks.items[layer->disk - 1].layer, layer->row.id);
    }
    if (r >= 0)
        r = snapshots_update(all->home->store, &all->row, error);
    if (r >= 0)
        return store_commit(all->home->store, error);
    store_rollback(all->home->store);
    return r;
}

/* Files without rows are nobody's: they go here, or at the next start. */
static void remove_files(Arrival *all) {
    for (size_t i = 0; i < all->n_layers; i++)
        if (all->layers[i].publish && publish_path(all->layers[i].publish))
            (void)unlink(publish_path(all->layers[i].publish));
}

static int finish_layers(Arrival *all, Error *error) {
    int r = 0;
    for (size_t i = 0; r >= 0 && i < all->n_layers; i++)
        if (all->layers[i].publish)
            r = finish_layer(all, &all->layers[i], error);
    if (r >= 0)
        r = add_rows(all, error);
    if (r < 0)
        remove_files(all);
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
    _cleanup_(arrival_free) Arrival all = {.home = home, .operation = operation};
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
