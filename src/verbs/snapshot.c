/* SPDX-License-Identifier: Apache-2.0 */

/* `snapshot create`: what a user asks for, on top of machine/snapshot/snapshot_create.c. */

#include <errno.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/path.h"
#include "base/str.h"
#include "home/home.h"
#include "home/inside.h"
#include "home/op_lock.h"
#include "home/operation.h"
#include "home/row.h"
#include "lineage/snapshot_describe.h"
#include "machine/adopt.h"
#include "machine/snapshot/snapshot_create.h"
#include "store/snapshots.h"
#include "store/vms.h"
#include "verbs/verbs.h"

int snapshot_create(Home *home, Operation *operation, const char *vm, const char *name,
                    const char *compress, bool clone_volumes, json_t **snapshot, Error *error) {
    const SnapshotOptions options = {.name = name,
                                     .compress = compress != NULL,
                                     .adopt = home->adopt,
                                     .clone_volumes = clone_volumes};
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
    r = row_lock(home, vm, "being saved", operation->cancel_fd, &lock, &source, error);
    if (r >= 0)
        r = snapshot_create_locked(home, operation, &source, &options, &row, error);
    stages_end(&operation->stages);
    if (r >= 0)
        vm_adopt_later(home, &source, &row);
    if (r < 0 || !snapshot)
        return r;
    return snapshot_describe(home, &row, snapshot, error);
}
