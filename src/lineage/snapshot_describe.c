/* SPDX-License-Identifier: Apache-2.0 */

/* Snapshots as JSON: one, all, and as the tree that they and their VMs form. */

#include "lineage/snapshot_describe.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/path.h"
#include "base/str.h"
#include "disk/base_file.h"
#include "frozen/disks.h"
#include "frozen/hot_memory.h"
#include "frozen/layers.h"
#include "frozen/memory_digest.h"
#include "frozen/restore_memory.h"
#include "frozen/snapshot_files.h"
#include "home/home.h"
#include "home/host.h"
#include "home/inside.h"
#include "home/operation.h"
#include "home/row.h"
#include "qemu/features.h"
#include "store/disks/layers.h"
#include "store/snapshots.h"
#include "store/vms.h"

/* Everything that is there, read once. */
typedef struct World {
    Home *home; /* borrowed */
    size_t n_snapshots, n_vms;
    SnapshotRow *snapshots; /* owned */
    VmRow *vms;             /* owned */
} World;

static void world_free(World *world) {
    snapshot_rows_free(world->snapshots, world->n_snapshots);
    vm_rows_free(world->vms, world->n_vms);
}

static int world_read(Home *home, World *world, Error *error) {
    int r;
    world->home = home;
    r = snapshots_list(home->store, &world->snapshots, &world->n_snapshots, error);
    return r < 0 ? r : vms_list(home->store, &world->vms, &world->n_vms, error);
}

static const SnapshotRow *world_find(const World *world, const char *id) {
    for (size_t i = 0; i < world->n_snapshots; i++)
        if (str_equal(world->snapshots[i].id, id))
            return &world->snapshots[i];
    return NULL;
}

static json_t *text_or_null(const char *text) {
    return text && *text ? json_string(text) : json_null();
}

static json_t *number_or_null(uint64_t number) {
    return number ? json_integer((json_int_t)number) : json_null();
}

/* Of the saved state; null where there is none. */
static json_t *saved_number(const SnapshotRow *row, uint64_t number) {
    return snapshot_has_memory(row) ? json_integer((json_int_t)number) : json_null();
}

static uint64_t allocated_bytes(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 ? (uint64_t)info.st_blocks * 512 : 0;
}

/* NULL: it has none. */
static char *file_path(const World *world, const SnapshotRow *row, const SnapshotFile *file) {
    return *file->name ? snapshot_path(world->home, row->id, file->name) : NULL;
}

static json_t *describe_memory(const World *world, const SnapshotRow *row) {
    const SnapshotRow *owner = world_find(world, row->base);
    const SnapshotFile *file = &row->data.files.memory;
    const SnapshotFile *base_file = owner ? &owner->data.files.memory : NULL;
    _cleanup_free_ char *path = file_path(world, row, file);
    _cleanup_free_ char *base = owner ? file_path(world, owner, base_file) : NULL;
    bool rom = !snapshot_is_diff(row) && !snapshot_file_is_packed(file);
    struct stat info = {0};
    if (!path)
        return json_null();
    rom = rom && !restore_memory_seals_bases(world->home);
    if (stat(path, &info) < 0)
        info = (struct stat){0};
    return json_pack(
        "{s:o, s:s, s:o, s:I, s:I, s:I, s:I, s:o, s:o, s:s, s:o, s:n}", "kind",
        text_or_null(row->data.kind), "path", path, "base", text_or_null(base), "inode",
        (json_int_t)info.st_ino, "bytes",
        snapshot_file_is_packed(file) ? (json_int_t)file->bytes : (json_int_t)info.st_size,
        "stored_bytes", (json_int_t)info.st_size, "allocated_bytes",
        (json_int_t)info.st_blocks * 512, "sha256", text_or_null(file->sha256), "compressed",
        text_or_null(file->compressed), "protection", rom ? "read-only file" : "sealed memfd",
        "hot_inode", number_or_null(hot_memory_inode(world->home, row->id)), "problem");
}

static json_t *describe_disk(const World *world, const SnapshotRow *row) {
    _cleanup_(layer_row_free) LayerRow layer = {0};
    _cleanup_free_ char *path = NULL;
    const char *base = str_or_empty(row->data.base_path);
    if (!*row->layer || layers_get(world->home->store, row->layer, &layer, NULL) < 0)
        return json_pack("{s:s, s:n, s:s, s:i, s:n, s:n, s:n}", "path", base, "sha256", "base",
                         base, "depth", 0, "virtual_bytes", "allocated_bytes", "inode");
    path = layer_path(world->home, layer.id);
    return json_pack("{s:s, s:o, s:s, s:I, s:I, s:I, s:o}", "path", path, "sha256",
                     text_or_null(layer.sha256), "base", base, "depth", (json_int_t)layer.depth,
                     "virtual_bytes", (json_int_t)layer.virtual_bytes, "allocated_bytes",
                     (json_int_t)allocated_bytes(path), "inode", number_or_null(layer.stamp.inode));
}

static json_t *list_children(const World *world, const SnapshotRow *row) {
    json_t *list = json_array();
    for (size_t i = 0; i < world->n_snapshots; i++)
        if (str_equal(world->snapshots[i].parent, row->id) &&
            world->snapshots[i].state == SNAPSHOT_READY)
            (void)json_array_append_new(list, json_string(world->snapshots[i].id));
    return list;
}

static json_t *list_vms(const World *world, const SnapshotRow *row) {
    json_t *list = json_array();
    for (size_t i = 0; i < world->n_vms; i++)
        if (str_equal(world->vms[i].snapshot, row->id) && !row_is_hidden(&world->vms[i]))
            (void)json_array_append_new(list, json_string(world->vms[i].name));
    return list;
}

static json_t *describe_lineage(const World *world, const SnapshotRow *row) {
    _cleanup_free_ char *created = clock_format_realtime(row->created_at_usec);
    return json_pack("{s:s, s:o, s:o, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:s, s:b, s:o}", "id",
                     row->id, "name", text_or_null(row->name), "key", text_or_null(row->key), "vm",
                     row->vm, "vm_id", row->vm_id, "image", row->image, "image_digest",
                     row->image_digest, "parent", text_or_null(row->parent), "children",
                     list_children(world, row), "vms", list_vms(world, row), "created_at", created,
                     "automatic", row->automatic, "purpose", text_or_null(row->purpose));
}

static json_t *time_or_null(uint64_t usec) {
    _cleanup_free_ char *text = usec ? clock_format_realtime(usec) : NULL;
    return text_or_null(text);
}

static json_t *describe_made(const World *world, const SnapshotRow *row) {
    const SnapshotFacts *facts = &row->data.facts;
    return json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
        "memory", describe_memory(world, row), "disk", describe_disk(world, row), "state_bytes",
        saved_number(row, row->data.state_bytes), "pause_us", saved_number(row, row->data.pause_us),
        "dirty_bytes", saved_number(row, row->data.dirty_bytes), "qemu",
        text_or_null(facts->qemu_version), "machine", text_or_null(facts->machine), "cpu",
        text_or_null(facts->cpu), "accel", text_or_null(facts->accel), "memory_bytes",
        number_or_null(facts->memory_bytes), "cpus", number_or_null(facts->cpus), "held",
        row->data.held ? json_incref(row->data.held) : json_null(), "ram_nonce",
        text_or_null(row->data.ram_nonce), "counter", saved_number(row, row->data.counter),
        "verified_at", time_or_null(row->data.verified_at_usec), "capture",
        text_or_null(row->data.capture), "adoption", text_or_null(row->data.adoption));
}

static int describe(const World *world, const SnapshotRow *row, json_t **snapshot, Error *error) {
    _cleanup_json_ json_t *whole = describe_lineage(world, row), *made = describe_made(world, row);
    if (!whole || !made || json_object_update(whole, made) < 0)
        return error_set(error, ERROR_FAILED, ENOMEM, "cannot describe snapshot %s", row->id);
    *snapshot = TAKE_PTR(whole);
    return 0;
}

int snapshot_describe(Home *home, const SnapshotRow *row, json_t **snapshot, Error *error) {
    _cleanup_(world_free) World world = {0};
    int r = world_read(home, &world, error);
    return r < 0 ? r : describe(&world, row, snapshot, error);
}

/* What is left of a damaged snapshot can be looked at; sha256 is null then. */
int snapshot_inspect(Home *home, Operation *operation, const char *reference, json_t **snapshot,
                     Error *error) {
    _cleanup_snapshot_row_ SnapshotRow row = {0};
    _cleanup_error_ Error problem = ERROR_INIT;
    int r = snapshots_find(home->store, reference, &row, error), known;
    if (r < 0)
        return r;
    known = snapshot_await_sha256(home, operation->cancel_fd, &row, &problem);
    if (known < 0 && problem.kind == ERROR_CANCELLED)
        return error_move(error, &problem);
    r = snapshot_describe(home, &row, snapshot, error);
    if (r >= 0 && known < 0)
        (void)json_object_set_new(json_object_get(*snapshot, "memory"), "problem",
                                  json_string(error_message(&problem)));
    return r;
}

static bool is_listed(const SnapshotRow *row, bool all) {
    if (row->state != SNAPSHOT_READY)
        return false;
    return all || !row->automatic || str_equal(row->purpose, PURPOSE_FORK);
}

int snapshot_list(Home *home, bool all, json_t **list, Error *error) {
    _cleanup_json_ json_t *array = json_array();
    _cleanup_(world_free) World world = {0};
    int r = world_read(home, &world, error);
    for (size_t i = 0; r >= 0 && i < world.n_snapshots; i++) {
        json_t *snapshot = NULL;
        if (!is_listed(&world.snapshots[i], all))
            continue;
        r = describe(&world, &world.snapshots[i], &snapshot, error);
        if (r >= 0)
            (void)json_array_append_new(array, snapshot);
    }
    if (r < 0)
        return r;
    *list = TAKE_PTR(array);
    return 0;
}

/* ---- the tree ---- */

/* What a chain of layers takes, without the image's base. */
static uint64_t chain_bytes(const World *world, const char *layer) {
    uint64_t sum = 0;
    char id[VM_ID_SIZE];
    (void)snprintf(id, sizeof(id), "%s", layer);
    while (*id) {
        _cleanup_(layer_row_free) LayerRow row = {0};
        _cleanup_free_ char *path = layer_path(world->home, id);
        sum += allocated_bytes(path);
        if (layers_get(world->home->store, id, &row, NULL) < 0)
            break;
        (void)snprintf(id, sizeof(id), "%s", row.parent);
    }
    return sum;
}

static uint64_t file_bytes(const World *world, const SnapshotRow *row, const SnapshotFile *file) {
    _cleanup_free_ char *path = file_path(world, row, file);
    return path ? allocated_bytes(path) : 0;
}

static uint64_t own_memory_bytes(const World *world, const SnapshotRow *row) {
    return file_bytes(world, row, &row->data.files.memory) +
           file_bytes(world, row, &row->data.files.state);
}

static json_t *snapshot_node(const World *world, const SnapshotRow *row, unsigned depth);

/* What snapshots alone have is null of a VM, and its state is null of a snapshot. */
static json_t *vm_node(const World *world, const VmRow *row) {
    _cleanup_free_ char *path = path_join(world->home->path, "vms", row->id, vm_disk_file(row, 0));
    const SnapshotRow *owner = world_find(world, row->runtime.memory_owner);
    uint64_t shared = chain_bytes(world, row->runtime.root.layer) +
                      allocated_bytes(str_or_empty(row->runtime.base)) +
                      (owner ? own_memory_bytes(world, owner) : 0);
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:n, s:n, s:n, s:n, s:I, s:I, s:I, s:[]}", "kind", "vm", "id",
        row->id, "name", row->name, "state", vm_state_name(row->state), "vm", "automatic", "memory",
        "memory_bytes", "disk_bytes", (json_int_t)allocated_bytes(path), "own_bytes",
        (json_int_t)allocated_bytes(path), "shared_bytes", (json_int_t)shared, "children");
}

static void add_children(const World *world, const char *id, unsigned depth, json_t *list) {
    for (size_t i = 0; i < world->n_snapshots; i++)
        if (str_equal(world->snapshots[i].parent, id) &&
            world->snapshots[i].state == SNAPSHOT_READY && depth < 1000)
            (void)json_array_append_new(list,
                                        snapshot_node(world, &world->snapshots[i], depth + 1));
    for (size_t i = 0; i < world->n_vms; i++)
        if (str_equal(world->vms[i].snapshot, id) && !row_is_hidden(&world->vms[i]))
            (void)json_array_append_new(list, vm_node(world, &world->vms[i]));
}

static json_t *snapshot_node(const World *world, const SnapshotRow *row, unsigned depth) {
    const SnapshotRow *owner = world_find(world, row->base);
    _cleanup_free_ char *top = *row->layer ? layer_path(world->home, row->layer) : str_copy("");
    uint64_t own = own_memory_bytes(world, row) + allocated_bytes(top);
    uint64_t shared = chain_bytes(world, row->layer) - allocated_bytes(top) +
                      allocated_bytes(str_or_empty(row->data.base_path));
    json_t *children = json_array();
    if (owner && owner != row)
        shared += own_memory_bytes(world, owner);
    add_children(world, row->id, depth, children);
    return json_pack("{s:s, s:s, s:o, s:n, s:s, s:b, s:o, s:I, s:I, s:I, s:I, s:o}", "kind",
                     "snapshot", "id", row->id, "name", text_or_null(row->name), "state", "vm",
                     row->vm, "automatic", row->automatic, "memory", text_or_null(row->data.kind),
                     "memory_bytes", (json_int_t)file_bytes(world, row, &row->data.files.memory),
                     "disk_bytes", (json_int_t)allocated_bytes(top), "own_bytes", (json_int_t)own,
                     "shared_bytes", (json_int_t)shared, "children", children);
}

/* Snapshots whose parent is gone or never was, and VMs that grew from none. */
int snapshot_tree(Home *home, json_t **tree, Error *error) {
    _cleanup_(world_free) World world = {0};
    json_t *list;
    int r = world_read(home, &world, error);
    if (r < 0)
        return r;
    list = json_array();
    add_children(&world, "", 0, list);
    *tree = list;
    return 0;
}
