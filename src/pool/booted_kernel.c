/* SPDX-License-Identifier: Apache-2.0 */

/* Until its agent looks for its disks, a VM does the same whatever its image is. So that part is
 * done once: a hidden VM boots until there ("ramet.wait=disks", proto/agent.h) and is frozen,
 * memory and devices alone. What is booted later restores that, with disks of its own behind the
 * same devices, and goes on.
 *
 * It is an entry of the boot cache (df, prune and whoever discards entries take it for one) that
 * belongs to no image. Its key is that of a VM's entry without what comes with the disks: image,
 * program, what the further disks hold. Who finds none takes locks/kernel-KEY.lock, looks again,
 * and makes it.
 *
 * Where it cannot be made or restored the VM boots cold, and says so. When the cold boot works
 * where the booted kernel did not, that one is given up. */

#include "pool/booted_kernel.h"

#include <errno.h>
#include <string.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "frozen/pins.h"
#include "frozen/snapshot_files.h"
#include "home/admission.h"
#include "home/inside.h"
#include "home/op_lock.h"
#include "home/operation.h"
#include "home/row.h"
#include "home/turn.h"
#include "image/firmware.h"
#include "lineage/lineage.h"
#include "machine/create.h"
#include "machine/remove.h"
#include "machine/snapshot/snapshot_create.h"
#include "machine/start.h"
#include "run/launch.h"
#include "run/restore.h"

bool snapshot_is_booted_kernel(const SnapshotRow *row) {
    return str_equal(row->purpose, PURPOSE_CACHE) && !*row->image_digest;
}

/* ---- the key ---- */

/* How many further disks there are counts, and not what they hold. */
static char *count_disks(const char *disks) {
    StrBuf text = {0};
    for (const char *end = disks; end && (end = strchr(end, '\n')); end++)
        strbuf_add_text(&text, "disk\n");
    return text.size ? strbuf_steal(&text) : NULL;
}

static void take_facts(const SnapshotFacts *of_vm, SnapshotFacts *facts) {
    _cleanup_free_ char *disks = count_disks(of_vm->disks);
    snapshot_facts_copy(of_vm, facts);
    str_replace(&facts->image_digest, "");
    str_replace(&facts->program, NULL);
    str_replace(&facts->disks, disks);
}

static void give_up(Home *home, SnapshotRow *snapshot) {
    _cleanup_error_ Error error = ERROR_INIT;
    snapshot_unpin(home, snapshot->id);
    if (snapshot_delete(home, snapshot, &error) < 0)
        log_warning("cannot remove booted kernel %s: %s", snapshot->id, error_message(&error));
}

/* Those of that kernel which can never be restored again: of another QEMU or agent. */
static void prune_stale(Home *home, const SnapshotRow *now) {
    SnapshotRow *rows = NULL;
    size_t count = 0;
    const SnapshotFacts *facts = &now->data.facts;
    if (snapshots_list(home->store, &rows, &count, NULL) < 0)
        return;
    for (size_t i = 0; i < count; i++) {
        const SnapshotFacts *then = &rows[i].data.facts;
        bool ours = snapshot_is_booted_kernel(&rows[i]) && rows[i].state == SNAPSHOT_READY &&
                    str_equal(then->kernel_key, facts->kernel_key);
        if (ours && (!str_equal(then->initramfs_key, facts->initramfs_key) ||
                     !str_equal(then->qemu_sha256, facts->qemu_sha256)))
            (void)snapshot_delete(home, &rows[i], NULL);
    }
    snapshot_rows_free(rows, count);
}

/* ---- making ---- */

/* It is never looked into, so the disks of the VM that is waited for do as well as any. */
static int make_hidden(Home *home, const Operation *outer, const VmRow *row, Operation *operation,
                       OpLock **lock, VmRow *hidden, Error *error) {
    _cleanup_vm_row_ VmRow planned = {0};
    _cleanup_vm_spec_ VmSpec spec;
    int r;
    operation_init(operation, 0, outer->cancel_fd);
    operation_enter(operation, "plan");
    vm_spec_copy(&row->spec, &spec);
    (void)snprintf(spec.name, sizeof(spec.name), "kernel-%.16s", row->id);
    r = vm_plan_row(home, operation, &spec, CREATE_TO_RUN, &planned, error);
    if (r >= 0)
        r = admission_check_memory(spec.memory_bytes, error);
    if (r < 0)
        return r;
    str_set(planned.runtime.hidden, "kernel");
    return vm_create_planned(home, operation, &planned, CREATE_TO_RUN, lock, hidden, error);
}

static int boot_and_save(Home *home, Operation *operation, OpLock *lock, VmRow *hidden,
                         const SnapshotFacts *facts, const char *key, SnapshotRow *snapshot,
                         Error *error) {
    const SnapshotOptions options = {.purpose = PURPOSE_CACHE, .key = key, .kernel_only = true};
    int r = vm_boot(home, operation, lock, hidden, error);
    if (r >= 0)
        r = operation_check(operation, error);
    if (r < 0)
        return r;
    hidden->state = STATE_RUNNING; /* for snapshot_create_locked; nobody sees it */
    snapshot_facts_free(&hidden->runtime.facts);
    snapshot_facts_copy(facts, &hidden->runtime.facts);
    return snapshot_create_locked(home, operation, hidden, &options, snapshot, error);
}

static int make(Home *home, const Operation *outer, const VmRow *row, const SnapshotFacts *facts,
                const char *key, SnapshotRow *snapshot, Error *error) {
    _cleanup_error_ Error undo = ERROR_INIT;
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_vm_row_ VmRow hidden = {0};
    Operation operation;
    int r = make_hidden(home, outer, row, &operation, &lock, &hidden, error);
    if (r < 0)
        return r;
    r = boot_and_save(home, &operation, lock, &hidden, facts, key, snapshot, error);
    if (vm_remove_locked(home, &hidden, &undo) < 0)
        log_warning("cannot remove %s: %s", hidden.name, error_message(&undo));
    if (r >= 0)
        prune_stale(home, snapshot);
    return r;
}

static int find_or_make(Home *home, const Operation *operation, const VmRow *row,
                        const SnapshotFacts *of_vm, SnapshotRow *snapshot, Error *error) {
    _cleanup_(snapshot_facts_free) SnapshotFacts facts = {0};
    _cleanup_close_ int lock_fd = -1;
    char key[65];
    int r;
    take_facts(of_vm, &facts);
    snapshot_key(&facts, key);
    r = snapshot_pin_key(home, key, PURPOSE_CACHE, snapshot, error);
    if (r != 0)
        return r;
    r = home_wait_for_turn(home, "kernel", key, operation->cancel_fd, &lock_fd, error);
    if (r >= 0)
        r = snapshot_pin_key(home, key, PURPOSE_CACHE, snapshot, error);
    return r != 0 ? r : make(home, operation, row, &facts, key, snapshot, error);
}

/* ---- going on from it ---- */

static int restore(Home *home, Operation *operation, const OpLock *lock, VmRow *row,
                   const SnapshotRow *snapshot, Error *error) {
    const Restore how = {.snapshot = snapshot, .boot = "restored", .kernel_only = true};
    _cleanup_close_ int cancel_fd = operation_join_cancel(operation, op_lock_abort_fd(lock), error);
    bool silent;
    if (cancel_fd < 0)
        return cancel_fd;
    str_set(row->runtime.initramfs_key, snapshot->data.initramfs_key);
    return vm_launch_from(home, operation, row, &how, cancel_fd, &silent, error);
}

bool booted_kernel_may_boot_cold(const Error *trouble) {
    return trouble->kind != ERROR_CANCELLED && trouble->kind != ERROR_NO_SPACE &&
           trouble->kind != ERROR_NO_MEMORY;
}

static void tell(Operation *operation, const VmRow *row, const char *what, const Error *trouble) {
    operation_note(operation, "%s; booting cold: %s", what, error_message(trouble));
    log_warning("%s: %s; booting cold: %s", row->name, what, error_message(trouble));
}

int booted_kernel_boot(Home *home, Operation *operation, OpLock *lock, VmRow *row,
                       const SnapshotFacts *facts, Error *error) {
    _cleanup_snapshot_row_ SnapshotRow snapshot = {0};
    _cleanup_error_ Error trouble = ERROR_INIT;
    int r;
    if (firmware_is(row->runtime.kernel_key))
        return vm_boot(home, operation, lock, row, error);
    r = find_or_make(home, operation, row, facts, &snapshot, &trouble);
    if (r < 0) {
        if (!booted_kernel_may_boot_cold(&trouble))
            return error_move(error, &trouble);
        tell(operation, row, "its kernel could not be booted ahead", &trouble);
        return vm_boot(home, operation, lock, row, error);
    }
    r = restore(home, operation, lock, row, &snapshot, &trouble);
    if (r >= 0 || !booted_kernel_may_boot_cold(&trouble)) {
        snapshot_unpin(home, snapshot.id);
        return r >= 0 ? 0 : error_move(error, &trouble);
    }
    tell(operation, row, "a booted kernel could not go on", &trouble);
    row_clear_run(row);
    r = vm_boot(home, operation, lock, row, error);
    if (r >= 0)
        give_up(home, &snapshot);
    else
        snapshot_unpin(home, snapshot.id);
    return r;
}
