/* SPDX-License-Identifier: Apache-2.0 */

/* A disk larger than the snapshot's. QEMU has the larger overlay from the start, but the guest
 * knows the size that it saw before the snapshot: block_resize tells it of a change, and then the
 * agent lets the file system grow. */

#include "vm/boot_cache.h"

#define CALL_TIMEOUT_USEC (300 * USEC_PER_SEC)

int vm_grow_disk(Ramet *ramet, Operation *operation, VmRow *row, const SnapshotRow *snapshot,
                 Error *error) {
    const json_t *from = json_object_get(snapshot->data, "spec");
    uint64_t had = (uint64_t)json_integer_value(json_object_get(from, "disk_bytes"));
    uint64_t wanted = (uint64_t)json_integer_value(json_object_get(row->spec, "disk_bytes"));
    _cleanup_json_ json_t *resize =
        json_pack("{s:s, s:i, s:I}", "op", "resize", "disk", 0, "bytes", (json_int_t)wanted);
    _cleanup_json_ json_t *grow = json_pack("{s:s}", "op", "grow");
    int r;

    if (wanted <= had)
        return 0;
    operation_enter(operation, "grow");
    r = vm_call_keeper(ramet, row, resize, CALL_TIMEOUT_USEC, -1, error);
    if (r >= 0)
        r = vm_call_keeper(ramet, row, grow, CALL_TIMEOUT_USEC, -1, error);
    stages_end(&operation->stages);
    row_set(row, "stages", json_from_stages(&operation->stages));
    return r < 0 ? error_add_context(error, "cannot make the disk of %s larger", row->name) : 0;
}
