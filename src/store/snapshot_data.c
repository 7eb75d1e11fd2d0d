/* SPDX-License-Identifier: Apache-2.0 */

#include "store/snapshot_data.h"

#include "store/row_fields.h"

#define FIELD(kind, name) ROW_FIELD(kind, SnapshotData, name)
#define TEXT(name) ROW_TEXT_FIELD(SnapshotData, name)

static const RowField file_fields[] = {
    ROW_TEXT_FIELD(SnapshotFile, name),
    ROW_TEXT_FIELD(SnapshotFile, sha256),
    ROW_TEXT_FIELD(SnapshotFile, tree),
    ROW_STRUCT_FIELD(SnapshotFile, stamp, file_stamp_fields),
    ROW_TEXT_FIELD(SnapshotFile, compressed),
    ROW_TEXT_FIELD(SnapshotFile, stored_sha256),
    ROW_FIELD(ROW_U64, SnapshotFile, bytes),
    ROW_FIELD(ROW_U64, SnapshotFile, data_bytes),
};

static const RowField files_fields[] = {
    ROW_STRUCT_FIELD(SnapshotFiles, memory, file_fields),
    ROW_STRUCT_FIELD(SnapshotFiles, state, file_fields),
};

static const RowField fields[] = {
    ROW_STRUCT_FIELD(SnapshotData, spec, vm_spec_fields),
    ROW_TYPE_FIELD(SnapshotData, disks, vm_disks_type),
    TEXT(guest_macs),
    TEXT(kernel_key),
    TEXT(initramfs_key),
    TEXT(ssh_host_key),
    FIELD(ROW_STRING, base_path),
    FIELD(ROW_U64, memory_bytes),
    ROW_STRUCT_FIELD(SnapshotData, facts, snapshot_facts_fields),
    ROW_STRUCT_FIELD(SnapshotData, files, files_fields),
    FIELD(ROW_BOOL, unwritten),
    TEXT(kind),
    FIELD(ROW_BOOL, scheduled),
    FIELD(ROW_JSON, held),
    TEXT(marker),
    TEXT(ram_nonce),
    FIELD(ROW_U64, counter),
    FIELD(ROW_U64, mailbox),
    TEXT(capture),
    TEXT(adoption),
    FIELD(ROW_U64, pause_us),
    FIELD(ROW_U64, dirty_bytes),
    FIELD(ROW_U64, state_bytes),
    FIELD(ROW_U64, verified_at_usec),
    ROW_UNKNOWN_FIELD(SnapshotData, unknown),
};

json_t *snapshot_data_to_json(const SnapshotData *data) {
    return row_fields_write(fields, ARRAY_SIZE(fields), data, NULL);
}

void snapshot_data_from_json(const json_t *json, SnapshotData *data) {
    (void)row_fields_read(fields, ARRAY_SIZE(fields), data, json);
}

void snapshot_data_free(SnapshotData *data) {
    row_fields_free(fields, ARRAY_SIZE(fields), data);
    *data = (SnapshotData){0};
}
