/* SPDX-License-Identifier: Apache-2.0 */

#include "store/disks/vm_disk.h"

#include <string.h>

#include "base/str.h"
#include "store/row_fields.h"

#define TEXT(name) ROW_TEXT_FIELD(VmMount, name)

static const char *const kinds[] = {
    [VM_MOUNT_SEED] = "seed",
    [VM_MOUNT_VOLUME] = "volume",
    [VM_MOUNT_CONFIG] = "config",
};

const char *vm_mount_kind_name(VmMountKind kind) {
    return kinds[kind];
}

void vm_mount_serial(const VmMounts *mounts, size_t index, char serial[VM_SERIAL_SIZE]) {
    (void)snprintf(serial, VM_SERIAL_SIZE, "%s-%zu", kinds[mounts->items[index].kind], index + 1);
}

bool vm_mount_has_overlay(const VmMount *mount) {
    return mount->kind == VM_MOUNT_SEED;
}

bool vm_mount_is_shared(const VmMount *mount) {
    return mount->kind == VM_MOUNT_VOLUME && !mount->read_only;
}

const VmMount *vm_mounts_find(const VmMounts *mounts, const char *path, size_t *index) {
    for (size_t i = 0; i < mounts->count; i++) {
        if (!str_equal(mounts->items[i].path, path))
            continue;
        if (index)
            *index = i;
        return &mounts->items[i];
    }
    return NULL;
}

bool vm_mounts_equal(const VmMounts *a, const VmMounts *b) {
    bool equal = a->count == b->count;
    for (size_t i = 0; equal && i < a->count; i++) {
        const VmMount *one = &a->items[i], *other = &b->items[i];
        equal = one->kind == other->kind && str_equal(one->path, other->path) &&
                str_equal(one->base, other->base) && str_equal(one->volume, other->volume) &&
                one->bytes == other->bytes && one->read_only == other->read_only;
    }
    return equal;
}

/* ---- mounts ---- */

static const RowField mount_fields[] = {
    TEXT(name),
    TEXT(path),
    TEXT(base),
    TEXT(volume),
    ROW_FIELD(ROW_U64, VmMount, bytes),
    ROW_FIELD(ROW_BOOL, VmMount, read_only),
    ROW_FIELD(ROW_BOOL, VmMount, of_image),
};

json_t *vm_mounts_to_json(const VmMounts *mounts) {
    json_t *list = json_array();
    for (size_t i = 0; i < mounts->count; i++) {
        json_t *item =
            row_fields_write(mount_fields, ARRAY_SIZE(mount_fields), &mounts->items[i], NULL);
        (void)json_object_set_new(item, "kind", json_string(kinds[mounts->items[i].kind]));
        (void)json_array_append_new(list, item);
    }
    return list;
}

static json_t *write_mounts(const void *at) {
    return vm_mounts_to_json(at);
}

static VmMountKind kind_from_name(const char *name) {
    for (size_t i = 0; name && i < ARRAY_SIZE(kinds); i++)
        if (str_equal(kinds[i], name))
            return (VmMountKind)i;
    return VM_MOUNT_SEED;
}

static void read_mounts(const json_t *json, void *at) {
    VmMounts *mounts = at;
    const json_t *item;
    size_t i;
    json_array_foreach(json, i, item) {
        if (i == ARRAY_SIZE(mounts->items))
            return;
        VmMount *mount = &mounts->items[mounts->count++];
        json_decref(row_fields_read(mount_fields, ARRAY_SIZE(mount_fields), mount, item));
        mount->kind = kind_from_name(json_string_value(json_object_get(item, "kind")));
    }
}

const RowType vm_mounts_type = {write_mounts, read_mounts, NULL};

/* ---- disks ---- */

const RowField vm_freezing_fields[] = {
    ROW_TEXT_FIELD(Freezing, layer),
    ROW_TEXT_FIELD(Freezing, file),
};

static const RowField disk_fields[] = {
    ROW_TEXT_FIELD(VmDisk, layer),
    ROW_TEXT_FIELD(VmDisk, file),
    ROW_FIELD(ROW_U64, VmDisk, number),
    ROW_STRUCT_FIELD(VmDisk, freezing, vm_freezing_fields),
    ROW_STRUCT_FIELD(VmDisk, stamp, file_stamp_fields),
};

static json_t *write_disks(const void *at) {
    const VmDisks *disks = at;
    json_t *list = json_array();
    for (size_t i = 0; i < disks->count; i++)
        (void)json_array_append_new(
            list, row_fields_write(disk_fields, ARRAY_SIZE(disk_fields), &disks->items[i], NULL));
    return list;
}

static void read_disks(const json_t *json, void *at) {
    VmDisks *disks = at;
    const json_t *item;
    size_t i;
    json_array_foreach(json, i, item) {
        if (i == ARRAY_SIZE(disks->items))
            return;
        json_decref(row_fields_read(disk_fields, ARRAY_SIZE(disk_fields),
                                    &disks->items[disks->count++], item));
    }
}

const RowType vm_disks_type = {write_disks, read_disks, NULL};
