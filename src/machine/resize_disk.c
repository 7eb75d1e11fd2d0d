/* SPDX-License-Identifier: Apache-2.0 */

/* A disk larger than the snapshot's. QEMU has the larger overlay from the start, but the guest
 * knows the size that it saw before the snapshot: block_resize tells it of a change, and then the
 * agent lets the file system grow. */

#include "machine/resize_disk.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "home/home.h"
#include "home/operation.h"
#include "home/row.h"
#include "proto/keeper.h"
#include "run/keeper_call.h"
#include "store/snapshots.h"
#include "store/vms.h"

#define CALL_TIMEOUT_USEC (300 * USEC_PER_SEC)

static void on_event(void *data, const json_t *event) {
    const char *message = json_string_value(json_object_get(event, "message"));
    if (message)
        operation_note(data, "%s", message);
}

/* The agent's part, which may have something to tell. */
static int resize_in_guest(Home *home, Operation *operation, const VmRow *row, Error *error) {
    _cleanup_json_ json_t *request = json_pack("{s:s}", "op", "grow"), *ok = NULL;
    _cleanup_close_ int dir_fd = -1;
    int r = vm_folder_open(home, row->id, &dir_fd, error);
    if (r < 0)
        return r;
    return keeper_call(dir_fd, request, NULL, 0, clock_monotonic_usec() + CALL_TIMEOUT_USEC, -1,
                       on_event, operation, &ok, error);
}

int vm_resize_disk(Home *home, Operation *operation, VmRow *row, const SnapshotRow *snapshot,
                   Error *error) {
    uint64_t had = snapshot->data.spec.disk_bytes;
    uint64_t wanted = row->spec.disk_bytes;
    _cleanup_json_ json_t *resize =
        json_pack("{s:s, s:i, s:I}", "op", "resize", "disk", 0, "bytes", (json_int_t)wanted);
    int r;
    if (wanted <= had)
        return 0;
    operation_enter(operation, "grow");
    r = vm_call_keeper(home, row, resize, CALL_TIMEOUT_USEC, -1, error);
    if (r >= 0)
        r = resize_in_guest(home, operation, row, error);
    stages_end(&operation->stages);
    json_replace(&row->runtime.stages, json_from_stages(&operation->stages));
    return r < 0 ? error_add_context(error, "cannot make the disk of %s larger", row->name) : 0;
}
