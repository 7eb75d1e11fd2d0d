/* SPDX-License-Identifier: Apache-2.0 */

/* After a snapshot its memory is there twice: in hot memory, or a file that is mapped, and in the
 * pages that its VM wrote. The VM's keeper can lay the former under the VM (keeper/tasks/adopt.c),
 * which then has only what it wrote since.
 *
 * The row says whose memory the VM maps, since its next snapshot is a diff over that. The keeper
 * tells it in each status, so that a daemon that dies in between costs nothing. The VM does not
 * need the snapshot for it: when that is removed, the kernel keeps the memory for as long as it is
 * mapped, and the next snapshot is a base of its own. */

#include "machine/adopt.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "frozen/hot_memory.h"
#include "frozen/restore_memory.h"
#include "frozen/snapshot_files.h"
#include "home/inside.h"
#include "home/op_lock.h"
#include "home/row.h"
#include "lineage/lineage.h"
#include "machine/refresh.h"
#include "proto/keeper.h"
#include "run/keeper_status.h"

#define GRACE_MSEC 200 /* who asked for the snapshot has the processors first */
#define CALL_TIMEOUT_USEC (120 * USEC_PER_SEC)

typedef struct Adopting {
    char vm[VM_ID_SIZE], snapshot[VM_ID_SIZE];
} Adopting;

/* What clones map, if it is there; it is not made for this. */
static int open_memory(Home *home, const SnapshotRow *snapshot, int *fd, Error *error) {
    bool whole = !snapshot_is_diff(snapshot) && !snapshot->data.unwritten;
    if (whole && !restore_memory_seals_bases(home))
        return snapshot_open_file(home, snapshot, &snapshot->data.files.memory, fd, NULL, error);
    *fd = hot_memory_find(home, snapshot->id);
    return *fd < 0 ? error_set(error, ERROR_CONFLICT, ENOENT, "its memory is not hot any more") : 0;
}

static int ask_keeper(Home *home, const VmRow *vm, const SnapshotRow *snapshot, json_t **ok,
                      Error *error) {
    _cleanup_json_ json_t *request =
        json_pack("{s:s, s:i, s:s}", "op", "adopt", "memory_fd", 0, "owner", snapshot->id);
    _cleanup_close_ int fd = -1, dir_fd = -1;
    int r = open_memory(home, snapshot, &fd, error);
    if (r >= 0)
        r = vm_folder_open(home, vm->id, &dir_fd, error);
    if (r < 0)
        return r;
    return keeper_call(dir_fd, request, &fd, 1, clock_monotonic_usec() + CALL_TIMEOUT_USEC,
                       home->closing_fd, NULL, NULL, ok, error);
}

/* A keeper that was not understood is asked what it did. */
static int adopt_locked(Home *home, VmRow *vm, const SnapshotRow *snapshot, Error *error) {
    _cleanup_json_ json_t *ok = NULL;
    int r = vm_state_is_active(vm->state) ? ask_keeper(home, vm, snapshot, &ok, error) : -ENOENT;
    if (r < 0) {
        if (error->kind != ERROR_CONFLICT && error->kind != ERROR_CANCELLED)
            vm_refresh_later(home, vm->id);
        return r;
    }
    row_read_memory(home, vm, ok);
    log_debug("%s maps the memory of snapshot %s; it was paused for %lld us", vm->name,
              snapshot->id, json_integer_value(json_object_get(ok, "pause_us")));
    r = vms_update(home->store, vm, error);
    if (r >= 0)
        lineage_collect(home);
    return r;
}

static void adopt(Home *home, void *data) {
    _cleanup_free_ Adopting *adopting = data;
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_vm_row_ VmRow vm = {0};
    _cleanup_snapshot_row_ SnapshotRow snapshot = {0};
    struct pollfd closing = {.fd = home->closing_fd, .events = POLLIN};
    if (poll(&closing, 1, GRACE_MSEC) != 0)
        return;
    int r = row_lock(home, adopting->vm, "taking its snapshot's memory over", home->closing_fd,
                     &lock, &vm, &error);
    if (r >= 0)
        r = snapshots_get(home->store, adopting->snapshot, &snapshot, &error);
    if (r < 0)
        return;
    r = adopt_locked(home, &vm, &snapshot, &error);
    if (r < 0)
        log_debug("%s keeps its own memory: %s", vm.name, error_message(&error));
}

void vm_adopt_later(Home *home, const VmRow *vm, const SnapshotRow *snapshot) {
    if (!str_equal(snapshot->data.adoption, "offered"))
        return;
    Adopting *adopting = calloc(1, sizeof(*adopting));
    if (!adopting)
        abort();
    str_set(adopting->vm, vm->id);
    str_set(adopting->snapshot, snapshot->id);
    if (home_work(home, adopt, adopting) < 0)
        free(adopting);
}
