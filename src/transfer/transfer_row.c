/* SPDX-License-Identifier: Apache-2.0 */

#include "transfer/transfer_row.h"

#include <errno.h>
#include <string.h>

#include "archive/archive_member.h"
#include "base/clock.h"
#include "base/path.h"
#include "base/str.h"
#include "frozen/snapshot_key.h"
#include "home/mount.h"
#include "home/spec.h"
#include "transfer/transfer_config.h"

static const char *text_of(const json_t *json, const char *key) {
    return str_or_empty(json_string_value(json_object_get(json, key)));
}

static bool is_id(const char *text) {
    uint8_t bytes[16];
    return hex_decode(text, bytes, sizeof(bytes)) == 0;
}

static bool is_hex_or_empty(const char *text) {
    return strspn(text, "0123456789abcdef") == strlen(text);
}

static int check_env(const VmSpec *spec, Error *error) {
    _cleanup_json_ json_t *env = vm_spec_env_to_json(spec);
    const json_t *one;
    size_t i;
    if (json_array_size(env) > SPEC_ENV_MAX)
        return archive_manifest_damaged(error, "its environment");
    json_array_foreach(env, i, one) if (vm_env_check(one, NULL) <
                                        0) return archive_manifest_damaged(error,
                                                                           "its environment");
    return 0;
}

/* Labels are checked as if they were added to a specification. */
static int check_labels(const VmSpec *spec, Error *error) {
    _cleanup_vm_spec_ VmSpec empty = {0};
    vm_spec_init(&empty);
    return spec->labels && vm_spec_add_labels(&empty, spec->labels, NULL) < 0
               ? archive_manifest_damaged(error, "its labels")
               : 0;
}

/* Which bases they have, the importer finds out. */
static int check_mounts(VmMounts *mounts, Error *error) {
    _cleanup_free_ VmMounts *seen = calloc(1, sizeof(*seen));
    if (!seen)
        abort();
    for (size_t i = 0; i < mounts->count; i++) {
        VmMount *mount = &mounts->items[i];
        if (mount->kind == VM_MOUNT_VOLUME || vm_mount_path_check(mount->path, NULL) < 0 ||
            (*mount->name && !name_is_valid(mount->name)) ||
            (mount->kind == VM_MOUNT_SEED && mount->bytes % 512 != 0) || mount->bytes == 0 ||
            mount->bytes > (uint64_t)1 << 50 || vm_mounts_add(seen, mount, NULL) < 0)
            return archive_manifest_damaged(error, "a disk beside its root");
        mount->base[0] = mount->volume[0] = '\0';
    }
    return 0;
}

static int check_spec(VmSpec *spec, Error *error) {
    int r = check_env(spec, error);
    if (r >= 0)
        r = check_labels(spec, error);
    if (r >= 0 && *spec->hostname && vm_hostname_check(spec->hostname, NULL) < 0)
        r = archive_manifest_damaged(error, "its host name");
    if (r >= 0)
        r = check_mounts(&spec->mounts, error);
    if (r >= 0)
        r = transfer_config_check(&spec->config, error);
    if (r >= 0 && (spec->cpus == 0 || vm_spec_check(spec, NULL) < 0))
        r = archive_manifest_damaged(error, "its memory, CPUs, disk or networks");
    return r;
}

static int check_data(SnapshotData *data, bool has_memory, Error *error) {
    int r = check_spec(&data->spec, error);
    if (r < 0)
        return r;
    if (!is_hex_or_empty(data->marker) || !is_hex_or_empty(data->ram_nonce))
        return archive_manifest_damaged(error, "what its agent is greeted with");
    if (has_memory && (data->memory_bytes != data->spec.memory_bytes ||
                       data->memory_bytes != data->facts.memory_bytes ||
                       data->memory_bytes % 4096 != 0 || data->facts.cpus != data->spec.cpus))
        return archive_manifest_damaged(error, "the size of its memory");
    return 0;
}

/* All that names files, or what only this home can know. */
static void forget(SnapshotData *data) {
    data->files = (SnapshotFiles){0};
    data->disks = (VmDisks){0};
    str_replace(&data->facts.disks, NULL);
    data->kernel_key[0] = data->initramfs_key[0] = data->kind[0] = data->adoption[0] = '\0';
    str_replace(&data->base_path, "");
    data->unwritten = false;
    data->verified_at_usec = clock_realtime_usec();
    json_decref(data->unknown);
    data->unknown = NULL;
}

static int read_names(const json_t *json, const char *name, SnapshotRow *row, Error *error) {
    const char *id = text_of(json, "id"), *vm = text_of(json, "vm"),
               *image = text_of(json, "image");
    uint64_t created = 0;
    if (!is_id(id) || name_check_existing("VM", vm, NULL) < 0 ||
        (*text_of(json, "vm_id") && !is_id(text_of(json, "vm_id"))) || strlen(image) > 63 ||
        json_get_u64("snapshot", json, "created_at_usec", &created, NULL) < 0)
        return archive_manifest_damaged(error, "what the snapshot is called");
    name = name ? name : text_of(json, "name");
    if (*name && name_check("snapshot", name, error) < 0)
        return -EINVAL;
    str_set(row->id, id);
    str_set(row->name, name);
    str_set(row->vm, vm);
    str_set(row->vm_id, text_of(json, "vm_id"));
    str_set(row->image, name_is_valid(image) ? image : "imported");
    row->created_at_usec = created;
    return 0;
}

int transfer_row_read(ArchiveReader *reader, const char *name, SnapshotRow *row, Error *error) {
    const json_t *json = json_object_get(reader->manifest, "snapshot");
    bool memory = archive_members_find(&reader->members, "memory") != NULL;
    _cleanup_snapshot_row_ SnapshotRow made = {.state = SNAPSHOT_CREATING};
    int r = read_names(json, name, &made, error);
    if (r < 0)
        return r;
    if (memory != (archive_members_find(&reader->members, "state") != NULL))
        return archive_manifest_damaged(error, "memory without a state, or a state without memory");
    snapshot_data_from_json(json_object_get(json, "data"), &made.data);
    r = check_data(&made.data, memory, error);
    if (r < 0)
        return r;
    forget(&made.data);
    if (memory)
        snapshot_key(&made.data.facts, made.key); /* until its disks are known */
    *row = made;
    made = (SnapshotRow){0};
    return 0;
}
