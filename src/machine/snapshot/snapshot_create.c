/* SPDX-License-Identifier: Apache-2.0 */

/* Taking a snapshot.
 *
 *   row `creating` → the disk gets a new overlay (layers.c) → the keeper saves device state and
 *   memory into scratch files and switches the disk, the VM paused only for that → publish by
 *   rename → row `ready` → answer; the memory is hashed behind (memory_digest.c)
 *
 * A VM that does not run has no memory: its overlay is frozen, and that is all. One in standby
 * lends its memory files by hard links.
 *
 * What a failure or a crash leaves: a row `creating`, which nobody sees and which the next start
 * removes with its files; scratch below tmp/, which is emptied; and a VM that runs on. A switch of
 * the disk that was done is not undone: the frozen layer then stays as a part of the VM's chain. So
 * the keeper switches only when there is room for what comes after it, and who does not run and
 * wrote nothing since is not frozen again. */

#include "machine/snapshot/snapshot_create.h"

#include <errno.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/str.h"
#include "frozen/behind.h"
#include "frozen/disks.h"
#include "frozen/hot_memory.h"
#include "frozen/layers.h"
#include "frozen/pins.h"
#include "frozen/restore_memory.h"
#include "frozen/snapshot_files.h"
#include "frozen/snapshot_save.h"
#include "frozen/uefi_variables.h"
#include "home/admission.h"
#include "home/inside.h"
#include "lineage/lineage.h"
#include "machine/snapshot/saving.h"
#include "machine/snapshot/snapshot_memory.h"
#include "storage/bases.h"
#include "storage/volume_clone.h"
#include "store/snapshots.h"
#include "store/store.h"

/* Of one that does not run they are copied at once. */
static int begin_clones(Saving *saving, Error *error) {
    bool runs = vm_state_is_active(saving->vm->state);
    int r;
    if (saving->options->standby || saving->options->kernel_only || saving->options->root_only)
        return 0;
    r = volume_clones_check(saving->vm, saving->options->clone_volumes, error);
    if (r < 0 || !saving->options->clone_volumes)
        return r;
    bases_hold(saving->home);
    saving->holds = true;
    r = volume_clones_begin(saving->home, saving->vm, &saving->row.data.spec.mounts,
                            &saving->clones, error);
    return r < 0 || runs ? r : volume_clones_copy(saving->home, saving->vm, &saving->clones, error);
}

/* ---- all of it ---- */

static int check_state(const VmRow *vm, Error *error) {
    static const VmState fit[] = {STATE_CREATED, STATE_RUNNING, STATE_PAUSED,
                                  STATE_STOPPED, STATE_FAILED,  STATE_STANDBY};
    for (size_t i = 0; i < ARRAY_SIZE(fit); i++)
        if (vm->state == fit[i])
            return 0;
    (void)error_set(error, ERROR_CONFLICT, EBUSY, "%s is %s", vm->name, vm_state_name(vm->state));
    return vm_state_hint(vm->state, vm->name, error);
}

/* Which overlay does the VM write to now? so_far: a failure of what came before, which stays. */
static int end_freeze(Saving *saving, int so_far, Error *error) {
    bool failed = so_far < 0;
    int r = layer_freeze_recover(saving->home, saving->vm, !failed || saving->switched,
                                 failed ? NULL : error);
    saving_note_disks(saving);
    return failed ? so_far : r;
}

/* Only diffs need hot memory where QEMU maps a base's file itself. */
static void keep_hot(Home *home, const SnapshotRow *row, int hot_fd) {
    _cleanup_close_ int fd = hot_fd;
    if (fd >= 0 && (snapshot_is_diff(row) || restore_memory_seals_bases(home)))
        (void)hot_memory_keep(home, row->id, fd, row->automatic, false);
}

static int become_ready(Home *home, SnapshotRow *row, Error *error) {
    _cleanup_json_ json_t *detail = json_pack("{s:s, s:s, s:b}", "snapshot", row->id, "vm", row->vm,
                                              "automatic", row->automatic);
    int r;
    row->state = SNAPSHOT_READY;
    if (row->automatic)
        snapshot_pin_id(home, row->id);
    r = snapshots_update(home->store, row, error);
    if (r >= 0)
        r = store_sync(home->store, error);
    if (r >= 0)
        home_event(home, "snapshot.created", row->vm_id, *row->name ? row->name : NULL, detail);
    else if (row->automatic)
        snapshot_unpin(home, row->id);
    return r;
}

int snapshot_create_locked(Home *home, Operation *operation, VmRow *vm,
                           const SnapshotOptions *options, SnapshotRow *row, Error *error) {
    _cleanup_(saving_free) Saving saving = {
        .home = home, .operation = operation, .vm = vm, .options = options, .hot_fd = -1};
    SnapshotRow *made = &saving.row;
    bool with_disk = !options->standby && !options->kernel_only;
    bool freezes = with_disk && (vm_state_is_active(vm->state) || !layer_is_frozen(home, vm));
    int r = check_state(vm, error);
    if (r >= 0)
        r = admission_check_disk(home, error);
    if (r >= 0)
        r = saving_fill_row(&saving, error);
    if (r >= 0)
        r = begin_clones(&saving, error);
    if (r >= 0)
        r = vm_disks_stamp_volumes(home, vm, &made->data.disks, error);
    if (r >= 0)
        r = snapshots_insert(home->store, made, error);
    if (r < 0)
        return r;
    if (freezes)
        r = layer_freeze_begin(home, vm, error);
    if (r >= 0)
        r = snapshot_save_memory(&saving, error);
    if (r < 0)
        saving_drop_files(&saving); /* a full disk has room again for the store's own pages */
    if (freezes)
        r = end_freeze(&saving, r, error);
    if (r >= 0)
        r = volume_clones_publish(&saving.clones, error);
    if (r >= 0 && saving.files)
        r = snapshot_save_finish(operation, saving.files, options->compress, made, error);
    if (r >= 0)
        r = uefi_variables_read(home, vm->id, &saving.variables,
                                error); /* of one that stands still */
    if (r >= 0)
        r = uefi_variables_freeze(home, &saving.variables, made->id, error);
    if (r >= 0 && with_disk)
        r = snapshots_update(home->store, made, error); /* its layer is in use from here on */
    if (r >= 0 && with_disk)
        r = layer_flatten(home, operation, made, error);
    if (r >= 0)
        keep_hot(home, made, TAKE_FD(saving.hot_fd));
    if (r >= 0)
        r = become_ready(home, made, error);
    if (r < 0) {
        saving_drop_files(&saving);
        (void)snapshot_undo(home, made->id);
        lineage_collect(home);
        return error_add_context(error, "cannot take a snapshot of %s", vm->name);
    }
    snapshots_finish_later(home);
    *row = *made;
    *made = (SnapshotRow){0};
    return 0;
}
