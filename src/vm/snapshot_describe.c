/* SPDX-License-Identifier: Apache-2.0 */

/* Snapshots as JSON: one, all, and as the tree that they and their VMs form. */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "vm/snapshot_internal.h"

/* Everything that is there, read once. */
typedef struct World {
    Ramet *ramet; /* borrowed */
    size_t n_snapshots, n_vms;
    SnapshotRow *snapshots; /* owned */
    VmRow *vms;             /* owned */
} World;

static void world_free(World *world) {
    snapshot_rows_free(world->snapshots, world->n_snapshots);
    vm_rows_free(world->vms, world->n_vms);
}

static int world_read(Ramet *ramet, World *world, Error *error) {
    int r;

    world->ramet = ramet;
    r = snapshots_list(ramet->store, &world->snapshots, &world->n_snapshots, error);
    return r < 0 ? r : vms_list(ramet->store, &world->vms, &world->n_vms, error);
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

static json_t *member(const json_t *object, const char *key) {
    json_t *value = json_object_get(object, key);

    return value ? json_incref(value) : json_null();
}

static uint64_t allocated_bytes(const char *path) {
    struct stat info;

    return stat(path, &info) == 0 ? (uint64_t)info.st_blocks * 512 : 0;
}

static char *file_path(const World *world, const SnapshotRow *row, const char *which) {
    const char *name = json_string_value(json_object_get(snapshot_file(row, which), "name"));

    return name ? snapshot_path(world->ramet, row->id, name) : NULL;
}

static bool uses_rom(Ramet *ramet) {
    QemuFeatures features = {0};
    const char *accel;
    bool rom = false;

    if (host_probe(ramet, &features, &accel, NULL) >= 0)
        rom = features.memory_rom;
    qemu_features_free(&features);
    return rom;
}

static json_t *describe_memory(const World *world, const SnapshotRow *row) {
    const SnapshotRow *owner = world_find(world, row->base);
    _cleanup_free_ char *path = file_path(world, row, "memory");
    _cleanup_free_ char *base = owner ? file_path(world, owner, "memory") : NULL;
    const json_t *file = snapshot_file(row, "memory");
    bool rom = !owner || !snapshot_file_is_packed(snapshot_file(owner, "memory"));
    json_t *content = json_object_get(file, "bytes"); /* of a compressed one */
    struct stat info = {0};
    uint64_t hot;

    if (!path)
        return json_null();
    rom = rom && uses_rom(world->ramet);
    if (stat(path, &info) < 0)
        info = (struct stat){0};
    hot = hot_memory_inode(world->ramet, row->base);
    return json_pack("{s:o, s:s, s:o, s:I, s:I, s:I, s:I, s:o, s:o, s:s, s:o, s:n}", "kind",
                     member(row->data, "kind"), "path", path, "base", text_or_null(base), "inode",
                     (json_int_t)info.st_ino, "bytes",
                     content ? json_integer_value(content) : (json_int_t)info.st_size,
                     "stored_bytes", (json_int_t)info.st_size, "allocated_bytes",
                     (json_int_t)info.st_blocks * 512, "sha256", member(file, "sha256"),
                     "compressed", member(file, "compressed"), "protection",
                     rom ? "read-only file" : "sealed memfd", "hot_inode",
                     hot ? json_integer((json_int_t)hot) : json_null(), "problem");
}

static json_t *describe_disk(const World *world, const SnapshotRow *row) {
    _cleanup_(layer_row_free) LayerRow layer = {0};
    _cleanup_free_ char *path = NULL;
    const char *base = snapshot_text(row, "base_path");

    if (!*row->layer || layers_get(world->ramet->store, row->layer, &layer, NULL) < 0)
        return json_pack("{s:s, s:n, s:s, s:i}", "path", base, "sha256", "base", base, "depth", 0);
    path = layer_path(world->ramet, layer.id);
    return json_pack("{s:s, s:o, s:s, s:I, s:I, s:I, s:o}", "path", path, "sha256",
                     text_or_null(layer.sha256), "base", base, "depth", (json_int_t)layer.depth,
                     "virtual_bytes", (json_int_t)layer.virtual_bytes, "allocated_bytes",
                     (json_int_t)allocated_bytes(path), "inode", member(layer.stamp, "inode"));
}

static json_t *list_children(const World *world, const SnapshotRow *row) {
    json_t *list = json_array();

    for (size_t i = 0; i < world->n_snapshots; i++)
        if (str_equal(world->snapshots[i].parent, row->id) &&
            str_equal(world->snapshots[i].state, SNAPSHOT_READY))
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

static json_t *describe_made(const World *world, const SnapshotRow *row) {
    const json_t *facts = json_object_get(row->data, "facts");

    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "memory",
                     describe_memory(world, row), "disk", describe_disk(world, row), "state_bytes",
                     member(row->data, "state_bytes"), "pause_us", member(row->data, "pause_us"),
                     "dirty_bytes", member(row->data, "dirty_bytes"), "qemu",
                     member(facts, "qemu_version"), "machine", member(facts, "machine"), "cpu",
                     member(facts, "cpu"), "accel", member(facts, "accel"), "memory_bytes",
                     member(facts, "memory_bytes"), "cpus", member(facts, "cpus"));
}

static int describe(const World *world, const SnapshotRow *row, json_t **snapshot, Error *error) {
    _cleanup_json_ json_t *whole = describe_lineage(world, row), *made = describe_made(world, row);

    if (!whole || !made || json_object_update(whole, made) < 0)
        return error_set(error, ERROR_FAILED, ENOMEM, "cannot describe snapshot %s", row->id);
    *snapshot = TAKE_PTR(whole);
    return 0;
}

int snapshot_describe(Ramet *ramet, const SnapshotRow *row, json_t **snapshot, Error *error) {
    _cleanup_(world_free) World world = {0};
    int r = world_read(ramet, &world, error);

    return r < 0 ? r : describe(&world, row, snapshot, error);
}

/* What is left of a damaged snapshot can be looked at; sha256 is null then. */
int snapshot_inspect(Ramet *ramet, Operation *operation, const char *reference, json_t **snapshot,
                     Error *error) {
    _cleanup_snapshot_row_ SnapshotRow row = {0};
    _cleanup_error_ Error problem = ERROR_INIT;
    int r = snapshots_find(ramet->store, reference, &row, error), known;

    if (r < 0)
        return r;
    known = snapshot_await_sha256(ramet, operation->cancel_fd, &row, &problem);
    if (known < 0 && problem.kind == ERROR_CANCELLED)
        return error_move(error, &problem);
    r = snapshot_describe(ramet, &row, snapshot, error);
    if (r >= 0 && known < 0)
        (void)json_object_set_new(json_object_get(*snapshot, "memory"), "problem",
                                  json_string(error_message(&problem)));
    return r;
}

static bool is_listed(const SnapshotRow *row, bool all) {
    if (!str_equal(row->state, SNAPSHOT_READY))
        return false;
    return all || !row->automatic || str_equal(row->purpose, PURPOSE_FORK);
}

int snapshot_list(Ramet *ramet, bool all, json_t **list, Error *error) {
    _cleanup_json_ json_t *array = json_array();
    _cleanup_(world_free) World world = {0};
    int r = world_read(ramet, &world, error);

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

/* --- the tree ----------------------------------------------------------------------------------
 */

/* What a chain of layers takes, without the image's base. */
static uint64_t chain_bytes(const World *world, const char *layer) {
    uint64_t sum = 0;
    char id[VM_ID_SIZE];

    (void)snprintf(id, sizeof(id), "%s", layer);
    while (*id) {
        _cleanup_(layer_row_free) LayerRow row = {0};
        _cleanup_free_ char *path = layer_path(world->ramet, id);

        sum += allocated_bytes(path);
        if (layers_get(world->ramet->store, id, &row, NULL) < 0)
            break;
        (void)snprintf(id, sizeof(id), "%s", row.parent);
    }
    return sum;
}

static uint64_t own_memory_bytes(const World *world, const SnapshotRow *row) {
    _cleanup_free_ char *memory = file_path(world, row, "memory");
    _cleanup_free_ char *state = file_path(world, row, "state");

    return (memory ? allocated_bytes(memory) : 0) + (state ? allocated_bytes(state) : 0);
}

static json_t *snapshot_node(const World *world, const SnapshotRow *row, unsigned depth);

static json_t *vm_node(const World *world, const VmRow *row) {
    _cleanup_free_ char *path = path_join(world->ramet->home, "vms", row->id, vm_disk_file(row));
    const SnapshotRow *owner = world_find(world, row_text(row, "memory_owner"));
    uint64_t shared = chain_bytes(world, row_text(row, "layer")) +
                      allocated_bytes(row_text(row, "base")) +
                      (owner ? own_memory_bytes(world, owner) : 0);

    return json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:[]}", "kind", "vm", "id", row->id, "name",
                     row->name, "state", row->state, "own_bytes", (json_int_t)allocated_bytes(path),
                     "shared_bytes", (json_int_t)shared, "children");
}

static void add_children(const World *world, const char *id, unsigned depth, json_t *list) {
    for (size_t i = 0; i < world->n_snapshots; i++)
        if (str_equal(world->snapshots[i].parent, id) &&
            str_equal(world->snapshots[i].state, SNAPSHOT_READY) && depth < 1000)
            (void)json_array_append_new(list,
                                        snapshot_node(world, &world->snapshots[i], depth + 1));
    for (size_t i = 0; i < world->n_vms; i++)
        if (str_equal(world->vms[i].snapshot, id) && !row_is_hidden(&world->vms[i]))
            (void)json_array_append_new(list, vm_node(world, &world->vms[i]));
}

static json_t *snapshot_node(const World *world, const SnapshotRow *row, unsigned depth) {
    const SnapshotRow *owner = world_find(world, row->base);
    _cleanup_free_ char *top = *row->layer ? layer_path(world->ramet, row->layer) : str_copy("");
    uint64_t own = own_memory_bytes(world, row) + allocated_bytes(top);
    uint64_t shared = chain_bytes(world, row->layer) - allocated_bytes(top) +
                      allocated_bytes(snapshot_text(row, "base_path"));
    json_t *children = json_array();

    if (owner && owner != row)
        shared += own_memory_bytes(world, owner);
    add_children(world, row->id, depth, children);
    return json_pack("{s:s, s:s, s:o, s:s, s:b, s:o, s:I, s:I, s:o}", "kind", "snapshot", "id",
                     row->id, "name", text_or_null(row->name), "vm", row->vm, "automatic",
                     row->automatic, "memory", member(row->data, "kind"), "own_bytes",
                     (json_int_t)own, "shared_bytes", (json_int_t)shared, "children", children);
}

/* Snapshots whose parent is gone or never was, and VMs that grew from none. */
int snapshot_tree(Ramet *ramet, json_t **tree, Error *error) {
    _cleanup_(world_free) World world = {0};
    json_t *list;
    int r = world_read(ramet, &world, error);

    if (r < 0)
        return r;
    list = json_array();
    add_children(&world, "", 0, list);
    *tree = list;
    return 0;
}
