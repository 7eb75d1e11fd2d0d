/* SPDX-License-Identifier: Apache-2.0 */

/* `prune`: what nothing needs goes, and what stays is told with the reason.
 *
 * Needed is what something grows from, what a pool is made of and what somebody gave a name, unless
 * named ones are to go as well. A plan (usage.c) says what goes and in which order; each removal
 * asks the store once more in its own transaction, so what came to be needed meanwhile stays, and
 * who is being made meanwhile finds its source there, or gone before it began. */

#include "usage/prune.h"

#include <errno.h>
#include <fcntl.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "base/str.h"
#include "catalog/image_remove.h"
#include "catalog/users.h"
#include "frozen/hot_memory.h"
#include "frozen/pins.h"
#include "home/home.h"
#include "home/inside.h"
#include "home/operation.h"
#include "lineage/lineage.h"
#include "storage/seeds.h"
#include "store/disks/seeds.h"
#include "store/images.h"
#include "store/snapshots.h"
#include "usage/boot_files.h"
#include "usage/usage_collect.h"
#include "usage/usage_disk.h"

typedef struct Pruning {
    Home *home; /* borrowed */
    const PruneOptions *options;
    Usage usage;                                         /* owned */
    json_t *snapshots, *images, *seeds, *removed, *kept; /* owned */
    size_t layers, hot, fetched, boot_files, scratch;
    uint64_t freed_bytes, freed_memory_bytes;
} Pruning;

static void pruning_free(Pruning *pruning) {
    usage_free(&pruning->usage);
    json_decref(pruning->snapshots);
    json_decref(pruning->images);
    json_decref(pruning->seeds);
    json_decref(pruning->removed);
    json_decref(pruning->kept);
}

/* What people call one that has a name or an id; NULL: such are only counted. */
static const char *what_is(const UsageItem *item) {
    switch (item->kind) {
    case USAGE_SNAPSHOT:
        return "snapshot";
    case USAGE_CACHE:
        return "boot cache entry";
    case USAGE_STEP:
        return "recipe step";
    case USAGE_IMAGE:
        return "image";
    case USAGE_SEED:
        return "seed";
    default:
        return NULL;
    }
}

static void keep(Pruning *pruning, const UsageItem *item, const char *why) {
    const char *member = item->kind == USAGE_IMAGE  ? "image"
                         : item->kind == USAGE_SEED ? "seed"
                                                    : "snapshot";
    (void)json_array_append_new(pruning->kept,
                                json_pack("{s:s, s:s*, s:s, s:s}", "id", item->id, "what",
                                          what_is(item), member, item->label, "why", why));
}

/* ---- removing one ---- */

static int remove_snapshot(Pruning *pruning, const UsageItem *item, Error *error) {
    _cleanup_snapshot_row_ SnapshotRow row = {0};
    int r;
    if (snapshots_get(pruning->home->store, item->id, &row, NULL) < 0)
        return 0; /* an automatic one went by itself */
    r = snapshot_delete(pruning->home, &row, error);
    return r < 0 ? r : 1;
}

/* All of its names, and the base with the last of them. */
static int remove_image(Pruning *pruning, const UsageItem *item, Error *error) {
    ImageRow *rows = NULL;
    size_t count = 0;
    int r = images_list(pruning->home->store, &rows, &count, error);
    for (size_t i = 0; r >= 0 && i < count; i++) {
        if (!str_equal(rows[i].digest, item->id))
            continue;
        r = users_check_pool(pruning->home, rows[i].name, "image", rows[i].name, error);
        if (r >= 0)
            r = image_name_remove(pruning->home, rows[i].name, error);
    }
    image_rows_free(rows, count);
    if (r >= 0 && !item->named)
        image_base_collect(pruning->home, item->id);
    return r < 0 ? r : 1;
}

/* All of its names; the file goes once nobody has it. */
static int remove_seed(Pruning *pruning, const UsageItem *item, Error *error) {
    SeedRow *rows = NULL;
    size_t count = 0;
    int r = seeds_list(pruning->home->store, &rows, &count, error);
    for (size_t i = 0; r >= 0 && i < count; i++)
        if (str_equal(rows[i].digest, item->id))
            r = seed_remove(pruning->home, rows[i].name, error);
    seed_rows_free(rows, count);
    return r < 0 ? r : 1;
}

/* Who forks it may have read the row before the memory's file was written, and needs what is hot.
 */
static int remove_hot(Pruning *pruning, const UsageItem *item, Error *error) {
    if (snapshot_is_pinned(pruning->home, item->id))
        return error_set(error, ERROR_CONFLICT, EBUSY, "it is being forked");
    hot_memory_drop(pruning->home, item->id);
    return 1;
}

static int remove_scratch(Pruning *pruning, const UsageItem *item, Error *error) {
    _cleanup_close_ int fd =
        openat(pruning->home->home_fd, "tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = fd < 0 ? -errno : path_remove_tree_at(fd, item->id);
    return r < 0 ? error_set_errno(error, -r, "cannot remove tmp/%s", item->id) : 1;
}

/* 1: it went; 0: it was gone already. */
static int remove_item(Pruning *pruning, const UsageItem *item, Error *error) {
    switch (item->kind) {
    case USAGE_SNAPSHOT:
    case USAGE_CACHE:
    case USAGE_STEP:
        return remove_snapshot(pruning, item, error);
    case USAGE_IMAGE:
        return remove_image(pruning, item, error);
    case USAGE_FETCHED:
        return usage_remove_fetched(pruning->home->home_fd, item->id, error);
    case USAGE_SEED:
        return remove_seed(pruning, item, error);
    case USAGE_KERNEL:
    case USAGE_INITRAMFS:
        return usage_remove_boot_file(pruning->home->home_fd, item, error);
    case USAGE_SCRATCH:
        return remove_scratch(pruning, item, error);
    case USAGE_HOT:
        return remove_hot(pruning, item, error);
    default:
        return 1; /* layers: all at once, in the end */
    }
}

/* ---- telling ---- */

static bool is_snapshot(const UsageItem *item) {
    return item->kind == USAGE_SNAPSHOT || item->kind == USAGE_CACHE || item->kind == USAGE_STEP;
}

static bool is_boot_file(const UsageItem *item) {
    return item->kind == USAGE_KERNEL || item->kind == USAGE_INITRAMFS;
}

static void tell(Pruning *pruning, const UsageItem *item) {
    uint64_t *freed =
        item->kind == USAGE_HOT ? &pruning->freed_memory_bytes : &pruning->freed_bytes;
    *freed += item->bytes;
    if (what_is(item))
        (void)json_array_append_new(pruning->removed,
                                    json_pack("{s:s, s:s, s:I}", "what", what_is(item), "name",
                                              item->label, "bytes", (json_int_t)item->bytes));
    if (is_snapshot(item))
        (void)json_array_append_new(pruning->snapshots, json_string(item->label));
    else if (item->kind == USAGE_IMAGE)
        (void)json_array_append_new(pruning->images, json_string(item->label));
    else if (item->kind == USAGE_SEED)
        (void)json_array_append_new(pruning->seeds, json_string(item->label));
    pruning->layers += item->kind == USAGE_LAYER;
    pruning->hot += item->kind == USAGE_HOT;
    pruning->fetched += item->kind == USAGE_FETCHED;
    pruning->boot_files += is_boot_file(item);
    pruning->scratch += item->kind == USAGE_SCRATCH;
}

static char *find_users(const Pruning *pruning, const UsageItem *item) {
    _cleanup_snapshot_row_ SnapshotRow row = {0};
    if (item->kind == USAGE_IMAGE)
        return users_of_image(pruning->home, item->id);
    if (item->kind == USAGE_SEED)
        return str_copy("");
    return snapshots_get(pruning->home->store, item->id, &row, NULL) < 0
               ? str_copy("")
               : users_of_snapshot(pruning->home, &row);
}

/* An image is spoken of where it was asked for. */
static void tell_kept(Pruning *pruning, const UsageItem *item) {
    const UsagePlan *plan = &pruning->options->plan;
    _cleanup_free_ char *users = NULL, *needed = NULL;
    bool snapshot = is_snapshot(item);
    bool image = (item->kind == USAGE_IMAGE || item->kind == USAGE_SEED) &&
                 (plan->all || plan->by_age || plan->by_budget);
    if (item->goes || (!snapshot && !image))
        return;
    users = item->why ? str_copy("") : find_users(pruning, item);
    needed = str_format("needed by %s", *users ? users : "something that stays");
    keep(pruning, item, item->why ? item->why : needed);
}

/* ---- all of it ---- */

static int run(Pruning *pruning, Operation *operation, Error *error) {
    int r = 0;
    for (size_t i = 0; r >= 0 && i < pruning->usage.n_order; i++) {
        UsageItem *item = &pruning->usage.items[pruning->usage.order[i]];
        _cleanup_error_ Error trouble = ERROR_INIT;
        int gone = pruning->options->dry_run ? 1 : remove_item(pruning, item, &trouble);
        if (gone > 0)
            tell(pruning, item);
        else if (gone < 0 && item->kind != USAGE_HOT && item->kind != USAGE_FETCHED &&
                 !is_boot_file(item))
            keep(pruning, item, error_message(&trouble));
        r = operation_check(operation, error);
    }
    if (!pruning->options->dry_run) {
        lineage_collect_into(pruning->home, pruning->snapshots, NULL);
        bases_collect(pruning->home);
    }
    return r;
}

int home_prune(Home *home, Operation *operation, const PruneOptions *options, json_t **report,
               Error *error) {
    _cleanup_(pruning_free) Pruning pruning = {.home = home,
                                               .options = options,
                                               .snapshots = json_array(),
                                               .images = json_array(),
                                               .seeds = json_array(),
                                               .removed = json_array(),
                                               .kept = json_array()};
    int r;
    operation_enter(operation, "prune");
    r = usage_collect(home, &pruning.usage, error);
    if (r < 0)
        return r;
    usage_plan(&pruning.usage, &options->plan);
    r = run(&pruning, operation, error);
    if (r < 0)
        return r;
    for (size_t i = 0; i < pruning.usage.count; i++)
        tell_kept(&pruning, &pruning.usage.items[i]);
    *report = json_pack(
        "{s:O, s:O, s:O, s:O, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:O}", "removed",
        pruning.removed, "snapshots", pruning.snapshots, "images", pruning.images, "seeds",
        pruning.seeds, "layers", (json_int_t)pruning.layers, "hot_memory", (json_int_t)pruning.hot,
        "fetched", (json_int_t)pruning.fetched, "boot_files", (json_int_t)pruning.boot_files,
        "scratch", (json_int_t)pruning.scratch, "freed_bytes", (json_int_t)pruning.freed_bytes,
        "freed_memory_bytes", (json_int_t)pruning.freed_memory_bytes, "dry_run", options->dry_run,
        "kept", pruning.kept);
    return 0;
}
