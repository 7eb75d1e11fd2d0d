/* SPDX-License-Identifier: Apache-2.0 */

#include "store/frozen.h"

#include "store/row_fields.h"

const RowField file_stamp_fields[] = {
    ROW_FIELD(ROW_U64, FileStamp, size),
    ROW_FIELD(ROW_U64, FileStamp, mtime_ns),
    ROW_FIELD(ROW_U64, FileStamp, inode),
};

#define FACT(kind, name) ROW_FIELD(kind, SnapshotFacts, name)

const RowField snapshot_facts_fields[] = {
    FACT(ROW_U64, format),
    FACT(ROW_STRING, image_digest),
    FACT(ROW_STRING, kernel_key),
    FACT(ROW_STRING, initramfs_key),
    FACT(ROW_STRING, qemu_sha256),
    FACT(ROW_STRING, qemu_version),
    FACT(ROW_STRING, accel),
    FACT(ROW_STRING, machine),
    FACT(ROW_STRING, machine_options),
    FACT(ROW_STRING, cpu),
    FACT(ROW_STRING, host_cpu),
    FACT(ROW_U64, memory_bytes),
    FACT(ROW_U64, cpus),
    FACT(ROW_STRING, devices),
    FACT(ROW_STRING, network),
    FACT(ROW_STRING, disks),
    FACT(ROW_STRING, program),
    FACT(ROW_STRING, firmware),
};

json_t *snapshot_facts_to_json(const SnapshotFacts *facts) {
    return row_fields_write(snapshot_facts_fields, ARRAY_SIZE(snapshot_facts_fields), facts, NULL);
}

void snapshot_facts_copy(const SnapshotFacts *facts, SnapshotFacts *copy) {
    _cleanup_json_ json_t *json = snapshot_facts_to_json(facts);
    json_decref(
        row_fields_read(snapshot_facts_fields, ARRAY_SIZE(snapshot_facts_fields), copy, json));
}

void snapshot_facts_free(SnapshotFacts *facts) {
    row_fields_free(snapshot_facts_fields, ARRAY_SIZE(snapshot_facts_fields), facts);
    *facts = (SnapshotFacts){0};
}
