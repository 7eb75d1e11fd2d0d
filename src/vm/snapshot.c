/* SPDX-License-Identifier: Apache-2.0 */

/* `snapshot create`: what a user asks for, on top of take.c. */

#include <errno.h>

#include "vm/snapshot_internal.h"

int snapshot_create(Ramet *ramet, Operation *operation, const char *vm, const char *name,
                    const char *compress, json_t **snapshot, Error *error) {
    const TakeOptions options = {.name = name, .compress = compress != NULL};
    _cleanup_snapshot_row_ SnapshotRow row = {0};
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_vm_row_ VmRow source = {0};
    int r = name ? name_check("snapshot", name, error) : 0;

    if (r >= 0 && compress && !str_equal(compress, "zstd"))
        r = error_set(error, ERROR_USAGE, EINVAL, "memory is compressed with zstd, not with %s",
                      compress);
    if (r < 0)
        return r;
    operation_enter(operation, "plan");
    r = row_lock(ramet, vm, "being saved", operation->cancel_fd, &lock, &source, error);
    if (r >= 0)
        r = snapshot_take(ramet, operation, &source, &options, &row, error);
    stages_end(&operation->stages);
    if (r < 0 || !snapshot)
        return r;
    return snapshot_describe(ramet, &row, snapshot, error);
}
