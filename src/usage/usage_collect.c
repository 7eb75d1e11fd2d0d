/* SPDX-License-Identifier: Apache-2.0 */

/* Reading a home into the graph. First the things, then who stands on whom: that is the same as
 * what the store is asked before a removal (lineage.c, image_remove.c), which decides in the end.
 */

#include "usage/usage_collect.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/str.h"
#include "catalog/users.h"
#include "disk/base_file.h"
#include "frozen/hot_memory.h"
#include "frozen/pins.h"
#include "frozen/snapshot_files.h"
#include "home/inside.h"
#include "image/firmware.h"
#include "store/disks/layers.h"
#include "store/disks/seeds.h"
#include "store/disks/volumes.h"
#include "store/images.h"
#include "store/lab/lab_snapshots.h"
#include "store/pools.h"
#include "store/snapshots.h"
#include "store/vms.h"
#include "usage/boot_files.h"
#include "usage/usage_disk.h"

typedef struct Collect {
    Home *home;   /* borrowed */
    Usage *usage; /* borrowed */
    size_t n_images, n_vms, n_snapshots, n_layers, n_seeds, n_volumes, n_hot;
    ImageRow *images; /* all owned */
    VmRow *vms;
    SnapshotRow *snapshots;
    LayerRow *layers;
    SeedRow *seeds;
    VolumeRow *volumes;
    HotMemoryInfo *hot;
    SeenFiles seen;
} Collect;

static void collect_free(Collect *all) {
    image_rows_free(all->images, all->n_images);
    vm_rows_free(all->vms, all->n_vms);
    snapshot_rows_free(all->snapshots, all->n_snapshots);
    layer_rows_free(all->layers, all->n_layers);
    seed_rows_free(all->seeds, all->n_seeds);
    volume_rows_free(all->volumes, all->n_volumes);
    free(all->hot);
    seen_files_free(&all->seen);
}

static int read_rows(Collect *all, Error *error) {
    Store *store = all->home->store;
    int r = images_list(store, &all->images, &all->n_images, error);
    if (r >= 0)
        r = vms_list(store, &all->vms, &all->n_vms, error);
    if (r >= 0)
        r = snapshots_list(store, &all->snapshots, &all->n_snapshots, error);
    if (r >= 0)
        r = layers_list(store, &all->layers, &all->n_layers, error);
    if (r >= 0)
        r = seeds_list(store, &all->seeds, &all->n_seeds, error);
    if (r >= 0)
        r = volumes_list(store, &all->volumes, &all->n_volumes, error);
    if (r >= 0)
        hot_memory_list(all->home, &all->hot, &all->n_hot);
    return r;
}

static uint64_t bytes_of(Collect *all, const char *folder, const char *name) {
    _cleanup_close_ int fd =
        openat(all->home->home_fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    return fd < 0 ? 0 : usage_disk_bytes(fd, name, &all->seen);
}

/* ---- the things ---- */

/* The base, whatever it is called, or whoever still stands on it. Its age is that of its newest
 * name. */
static UsageItem *add_base(Collect *all, const char *digest) {
    size_t index = usage_find(all->usage, USAGE_IMAGE, digest);
    _cleanup_free_ char *path = NULL;
    UsageItem *item;
    struct stat info;
    if (index != SIZE_MAX)
        return &all->usage->items[index];
    path = base_path(all->home->path, digest);
    item = usage_add(all->usage, USAGE_IMAGE, digest, digest);
    item->can_be_made = true;
    if (stat(path, &info) == 0)
        item->bytes = (uint64_t)info.st_blocks * 512;
    return item;
}

/* Who committed a disk cannot have it again from anywhere. */
static bool can_be_made(const ImageRow *row) {
    const char *source = json_string_value(json_object_get(row->detail, "source"));
    return source && !str_has_prefix(source, "commit ");
}

static void add_image(Collect *all, const ImageRow *row) {
    UsageItem *item = add_base(all, row->digest);
    size_t size = strlen(item->label);
    if (item->named)
        (void)snprintf(item->label + size, sizeof(item->label) - size, ", %s", row->name);
    else
        str_set(item->label, row->name);
    item->named = true;
    item->can_be_made &= can_be_made(row);
    item->at_usec = MAX_OF(item->at_usec, row->created_at_usec);
    if (users_check_pool(all->home, row->name, "image", row->name, NULL) < 0)
        item->held = "it has a pool";
}

static const char *why_held(Home *home, const SnapshotRow *row) {
    if (row->state != SNAPSHOT_READY)
        return "it is being made or removed";
    if (snapshot_is_pinned(home, row->id))
        return "it is being forked";
    if (users_check_pool(home, row->id, "snapshot", row->id, NULL) < 0)
        return "it has a pool";
    return lab_snapshots_check_alone(home->store, row->id, NULL) < 0 ? "it is of a lab's snapshot"
                                                                     : NULL;
}

static UsageKind kind_of(const SnapshotRow *row) {
    return str_equal(row->purpose, PURPOSE_CACHE)  ? USAGE_CACHE
           : str_equal(row->purpose, PURPOSE_STEP) ? USAGE_STEP
                                                   : USAGE_SNAPSHOT;
}

static void add_snapshot(Collect *all, const SnapshotRow *row) {
    char label[SNAPSHOT_LABEL_SIZE];
    UsageItem *item;
    snapshot_label(row, label);
    item = usage_add(all->usage, kind_of(row), row->id, label);
    item->bytes = bytes_of(all, "snapshots", row->id);
    item->at_usec = row->created_at_usec;
    item->named = *row->name;
    item->held = why_held(all->home, row);
}

/* Who forks a snapshot uses its hot memory: so old is what was made ahead, and is in use. */
static void note_use(Usage *usage, const char *id, uint64_t at_usec) {
    static const UsageKind kinds[] = {USAGE_CACHE, USAGE_STEP};
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        size_t index = usage_find(usage, kinds[i], id);
        if (index != SIZE_MAX)
            usage->items[index].at_usec = MAX_OF(usage->items[index].at_usec, at_usec);
    }
}

/* With the clock that everything else has. */
static void add_hot(Collect *all, const HotMemoryInfo *hot) {
    uint64_t ago = clock_monotonic_usec() - hot->used_usec;
    note_use(all->usage, hot->id, clock_realtime_usec() - ago);
    UsageItem *item = usage_add(all->usage, USAGE_HOT, hot->id, "");
    (void)snprintf(item->label, sizeof(item->label), "%.12s", hot->id);
    item->bytes = hot->bytes;
    item->at_usec = clock_realtime_usec() - ago;
    if (hot->filling || hot->only)
        item->held = hot->only ? "no file has it yet" : "it is being made";
}

static const char *kernel_of(const ImageRow *row) {
    return str_or_empty(json_string_value(json_object_get(row->detail, "kernel_key")));
}

static UsageItem *add_seed(Collect *all, const char *base) {
    size_t index = usage_find(all->usage, USAGE_SEED, base);
    _cleanup_free_ char *path = NULL;
    UsageItem *item;
    struct stat info;
    if (index != SIZE_MAX)
        return &all->usage->items[index];
    path = seed_base_path(all->home->path, base);
    item = usage_add(all->usage, USAGE_SEED, base, "");
    (void)snprintf(item->label, sizeof(item->label), "%.18s", base);
    if (stat(path, &info) == 0)
        item->bytes = (uint64_t)info.st_blocks * 512;
    return item;
}

static void add_named_seed(Collect *all, const SeedRow *row) {
    UsageItem *item = add_seed(all, row->digest);
    size_t size = strlen(item->label);
    if (item->named)
        (void)snprintf(item->label + size, sizeof(item->label) - size, ", %s", row->name);
    else
        str_set(item->label, row->name);
    item->named = true;
    item->at_usec = MAX_OF(item->at_usec, row->created_at_usec);
}

static void add_mounted(Collect *all, const VmMounts *mounts) {
    for (size_t i = 0; i < mounts->count; i++)
        if (*mounts->items[i].base)
            (void)add_seed(all, mounts->items[i].base);
}

static const char *seed_of_image(const ImageRow *row, size_t index) {
    const json_t *seed = json_array_get(json_object_get(row->detail, "seeds"), index);
    return json_string_value(json_object_get(seed, "digest"));
}

static void add_seeds(Collect *all) {
    const char *base;
    for (size_t i = 0; i < all->n_seeds; i++)
        add_named_seed(all, &all->seeds[i]);
    for (size_t i = 0; i < all->n_images; i++)
        for (size_t k = 0; (base = seed_of_image(&all->images[i], k)); k++)
            (void)add_seed(all, base);
    for (size_t i = 0; i < all->n_vms; i++)
        add_mounted(all, &all->vms[i].spec.mounts);
    for (size_t i = 0; i < all->n_snapshots; i++)
        add_mounted(all, &all->snapshots[i].data.spec.mounts);
}

static void add_volumes(Collect *all) {
    for (size_t i = 0; i < all->n_volumes; i++) {
        _cleanup_free_ char *name = str_format("%s.raw", all->volumes[i].id);
        UsageItem *item =
            usage_add(all->usage, USAGE_VOLUME, all->volumes[i].id, all->volumes[i].name);
        item->bytes = bytes_of(all, "volumes", name);
        item->at_usec = all->volumes[i].created_at_usec;
        item->named = true;
    }
}

static void add_things(Collect *all) {
    Usage *usage = all->usage;
    for (size_t i = 0; i < all->n_images; i++)
        add_image(all, &all->images[i]);
    for (size_t i = 0; i < all->n_vms; i++)
        (void)add_base(all, all->vms[i].image_digest);
    for (size_t i = 0; i < all->n_snapshots; i++)
        if (*all->snapshots[i].image_digest) /* a booted kernel is of none */
            (void)add_base(all, all->snapshots[i].image_digest);
    for (size_t i = 0; i < all->n_layers; i++) {
        _cleanup_free_ char *name = str_format("%s.qcow2", all->layers[i].id);
        UsageItem *item = usage_add(usage, USAGE_LAYER, all->layers[i].id, "");
        (void)snprintf(item->label, sizeof(item->label), "%.12s", item->id);
        item->bytes = bytes_of(all, "layers", name);
    }
    for (size_t i = 0; i < all->n_vms; i++)
        usage_add(usage, USAGE_VM, all->vms[i].id, all->vms[i].name)->bytes =
            bytes_of(all, "vms", all->vms[i].id);
    for (size_t i = 0; i < all->n_snapshots; i++)
        add_snapshot(all, &all->snapshots[i]);
    for (size_t i = 0; i < all->n_hot; i++)
        add_hot(all, &all->hot[i]);
    usage_add_boot_files(all->usage, all->home->home_fd);
    usage_add_fetched(usage, all->home->home_fd);
    add_seeds(all);
    add_volumes(all);
    usage_add_scratch(usage, all->home->home_fd);
}

/* ---- who stands on whom ---- */

static void need_snapshot(Usage *usage, size_t user, const char *id) {
    usage_need(usage, user, USAGE_SNAPSHOT, id);
    usage_need(usage, user, USAGE_CACHE, id);
    usage_need(usage, user, USAGE_STEP, id);
}

static void need_disk(Usage *usage, size_t user, const VmDisk *disk) {
    usage_need(usage, user, USAGE_LAYER, disk->layer);
    usage_need(usage, user, USAGE_LAYER, disk->freezing.layer);
}

static void need_mounts(Usage *usage, size_t user, const VmMounts *mounts, const VmDisks *disks) {
    for (size_t i = 0; i < mounts->count; i++) {
        usage_need(usage, user, USAGE_SEED, mounts->items[i].base);
        usage_need(usage, user, USAGE_VOLUME, mounts->items[i].volume);
    }
    for (size_t i = 0; i < disks->count; i++)
        need_disk(usage, user, &disks->items[i]);
}

static void link_vm(Collect *all, const VmRow *vm) {
    const VmRuntime *runtime = &vm->runtime;
    size_t user = usage_find(all->usage, USAGE_VM, vm->id);
    usage_need(all->usage, user, USAGE_IMAGE, vm->image_digest);
    need_disk(all->usage, user, &runtime->root);
    need_mounts(all->usage, user, &vm->spec.mounts, &runtime->disks);
    usage_need(all->usage, user, USAGE_KERNEL, runtime->kernel_key);
    usage_need(all->usage, user, USAGE_INITRAMFS, runtime->initramfs_key);
    need_snapshot(all->usage, user, vm->snapshot);
    need_snapshot(all->usage, user, runtime->standby);
    if (!runtime->memory_adopted)
        need_snapshot(all->usage, user, runtime->memory_owner);
    for (size_t i = 0; i < all->n_hot; i++)
        if (runtime->memory_inode && all->hot[i].inode == runtime->memory_inode)
            usage_need(all->usage, user, USAGE_HOT, all->hot[i].id);
}

static void link_snapshot(Collect *all, const SnapshotRow *row) {
    size_t user = usage_find(all->usage, kind_of(row), row->id);
    usage_need(all->usage, user, USAGE_IMAGE, row->image_digest);
    usage_need(all->usage, user, USAGE_LAYER, row->layer);
    need_mounts(all->usage, user, &row->data.spec.mounts, &row->data.disks);
    usage_need(all->usage, user, USAGE_KERNEL, row->data.kernel_key);
    usage_need(all->usage, user, USAGE_INITRAMFS, row->data.initramfs_key);
    need_snapshot(all->usage, user, row->parent);
    need_snapshot(all->usage, user, row->base);
}

/* An image needs its kernel, so that it is shown as used, and the steps that it was built of, so
 * that the next build finds them. */
static void link_image(Collect *all, const ImageRow *row) {
    size_t user = usage_find(all->usage, USAGE_IMAGE, row->digest);
    const char *base;
    const json_t *step = json_object_get(row->detail, "step");
    usage_need(all->usage, user, USAGE_KERNEL, kernel_of(row));
    usage_need(all->usage, user, USAGE_STEP, str_or_empty(json_string_value(step)));
    for (size_t i = 0; (base = seed_of_image(row, i)); i++)
        usage_need(all->usage, user, USAGE_SEED, base);
}

static void link_things(Collect *all) {
    for (size_t i = 0; i < all->n_images; i++)
        link_image(all, &all->images[i]);
    for (size_t i = 0; i < all->n_layers; i++)
        usage_need(all->usage, usage_find(all->usage, USAGE_LAYER, all->layers[i].id), USAGE_LAYER,
                   all->layers[i].parent);
    for (size_t i = 0; i < all->n_vms; i++)
        link_vm(all, &all->vms[i]);
    for (size_t i = 0; i < all->n_snapshots; i++)
        link_snapshot(all, &all->snapshots[i]);
}

int usage_collect(Home *home, Usage *usage, Error *error) {
    _cleanup_(collect_free) Collect all = {.home = home, .usage = usage};
    int r = read_rows(&all, error);
    if (r < 0)
        return r;
    add_things(&all);
    link_things(&all);
    return 0;
}
