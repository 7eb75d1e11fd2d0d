/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/tasks/pause.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/str.h"
#include "keeper/qemu/batch.h"

/* The length of the pause is what users feel, so all that can be done before is (overlays are
 * opened, most pages are copied), and commands go out together: QEMU runs them in order, and while
 * it saves its devices, the pages that the guest wrote last are copied. Nothing writes to the
 * guest's memory once QEMU has answered `stop`.
 *
 *     stop, device state ─────▶│ answers ─▶ disks switch, cont ─▶│ answers
 *           └─ copy of the last pages ┘
 *
 * The disks switch only when state and pages are there and the host has room for them, and all in
 * one transaction, since that cannot be undone. Where several VMs are saved together, each stops
 * first, and the rest comes once all stand still. QEMU reads its monitor byte by byte, so commands
 * and names are short. */

/* Preparing */

static json_t *set_path(unsigned fdset) {
    char path[32];
    (void)snprintf(path, sizeof(path), "/dev/fdset/%u", fdset);
    return json_string(path);
}

/* As qemu/argv.c makes it, but without what is below: that is what blockdev-snapshot is for. */
static json_t *overlay_node(const SnapshotDisk *disk) {
    return json_pack("{s:s, s:s, s:b, s:s, s:s, s:n, s:{s:s, s:o, s:s, s:s}}", "driver", "qcow2",
                     "node-name", disk->node, "read-only", false, "discard", "unmap",
                     "detect-zeroes", "unmap", "backing", "file", "driver", "file", "filename",
                     set_path(disk->fdset), "locking", "auto", "discard", "unmap");
}

static int add_to_set(Batch *batch, unsigned fdset, int fd, Error *error) {
    return batch_add(batch, "add-fd", json_pack("{s:I}", "fdset-id", (json_int_t)fdset), fd, error);
}

static int add_disk(Batch *batch, Machine *machine, SnapshotDisk *disk, Error *error) {
    disk->fdset = QEMU_FDSET_FREE + machine->last_fdset++;
    (void)snprintf(disk->node, sizeof(disk->node), "g%u", ++machine->last_node);
    int r = add_to_set(batch, disk->fdset, disk->fd, error);
    if (r == 0)
        r = add_to_set(batch, disk->fdset, disk->fd_write, error);
    return r == 0 ? batch_add(batch, "blockdev-add", overlay_node(disk), -1, error) : r;
}

int pause_prepare(Snapshot *snapshot, Error *error) {
    Machine *machine = &snapshot->vm->machine;
    Batch batch = {.qmp = machine->qmp};
    snapshot->state_fdset = QEMU_FDSET_FREE + machine->last_fdset++;
    int r = add_to_set(&batch, snapshot->state_fdset, snapshot->state_fd, error);
    for (size_t i = 0; r == 0 && i < snapshot->n_disks; i++)
        r = add_disk(&batch, machine, &snapshot->disks[i], error);
    int waited = batch_wait_all(&batch, r == 0 ? error : NULL);
    machine_process_events(&snapshot->vm->machine);
    return r < 0 ? r : waited;
}

/* Errors are of no interest: what was never added cannot be removed. */
void pause_undo(Snapshot *snapshot) {
    Machine *machine = &snapshot->vm->machine;
    Batch batch = {.qmp = machine->qmp};
    for (size_t i = 0; i < snapshot->n_disks && !snapshot->switched; i++) {
        const SnapshotDisk *disk = &snapshot->disks[i];
        if (!disk->fdset)
            continue;
        (void)batch_add(&batch, "blockdev-del", json_pack("{s:s}", "node-name", disk->node), -1,
                        NULL);
        (void)batch_add(&batch, "remove-fd",
                        json_pack("{s:I}", "fdset-id", (json_int_t)disk->fdset), -1, NULL);
    }
    if (snapshot->state_fdset)
        (void)batch_add(&batch, "remove-fd",
                        json_pack("{s:I}", "fdset-id", (json_int_t)snapshot->state_fdset), -1,
                        NULL);
    (void)batch_wait_all(&batch, NULL);
    machine_process_events(&snapshot->vm->machine);
}

/* The pause */

static int add_save(Batch *batch, const Snapshot *snapshot, Error *error) {
    return batch_add(
        batch, "xen-save-devices-state",
        json_pack("{s:o, s:b}", "filename", set_path(snapshot->state_fdset), "live", false), -1,
        error);
}

/* The agent closes its mailbox when others have run. */
static int check_exclusive(Snapshot *snapshot, Error *error) {
    AgentResult *freeze = &snapshot->freeze;
    if (!freeze->exclusive || !freeze->value ||
        mailbox_is_open(&snapshot->ram, vm_memory_offset(snapshot->vm, freeze->value),
                        snapshot->vm->channel.link.marker))
        return 0;
    freeze->exclusive = false;
    (void)snprintf(freeze->why_not, sizeof(freeze->why_not), "it could not be stopped in time");
    if (!snapshot->for_fork)
        return 0;
    (void)error_set(error, ERROR_TIMEOUT, ETIMEDOUT,
                    "the guest's agent kept all other programs waiting, and its time was over "
                    "before the VM could be stopped");
    error_set_hint(error, "try again; the host is very busy");
    return -ETIMEDOUT;
}

/* Stop, state and pages. `stop` comes first, or, in a VM that is paused, is harmless. */
static int freeze_machine(Snapshot *snapshot, Error *error) {
    Batch batch = {.qmp = snapshot->vm->machine.qmp};
    int r = batch_add(&batch, "stop", NULL, -1, error);
    if (r == 0)
        r = add_save(&batch, snapshot, error);
    int waited = batch_wait(&batch, 1, r == 0 ? error : NULL);
    if (r == 0)
        r = waited;
    if (r == 0)
        r = check_exclusive(snapshot, error);
    reply_stage(snapshot->reply, "memory");
    if (r == 0)
        r = memory_capture_finish(&snapshot->capture, error);
    reply_stage(snapshot->reply, "state");
    waited = batch_wait_all(&batch, r == 0 ? error : NULL);
    return r < 0 ? r : waited;
}

static json_t *switch_action(const Machine *machine, const SnapshotDisk *disk) {
    return json_pack("{s:s, s:{s:s, s:s}}", "type", "blockdev-snapshot", "data", "node",
                     machine->disks[disk->index].node, "overlay", disk->node);
}

static int add_switch(Batch *batch, const Snapshot *snapshot, Error *error) {
    json_t *actions = json_array();
    for (size_t i = 0; i < snapshot->n_disks; i++)
        json_array_append_new(actions, switch_action(&snapshot->vm->machine, &snapshot->disks[i]));
    return batch_add(batch, "transaction", json_pack("{s:o}", "actions", actions), -1, error);
}

/* From now on the VM writes to its new overlays. */
static void note_switch(Snapshot *snapshot) {
    Machine *machine = &snapshot->vm->machine;
    snapshot->switched = true;
    for (size_t i = 0; i < snapshot->n_disks; i++) {
        const SnapshotDisk *disk = &snapshot->disks[i];
        struct stat file;
        MachineDisk *written = &machine->disks[disk->index];
        memcpy(written->node, disk->node, sizeof(disk->node));
        if (fstat(disk->fd_write, &file) == 0) {
            written->device = file.st_dev;
            written->inode = file.st_ino;
        }
    }
    reply_event(snapshot->reply, json_pack("{s:s}", "event", "disks_switched"));
}

/* What is written after the switch must find room: a layer whose snapshot fails stays as a part of
 * the VM's chain. */
static int require_room(const Snapshot *snapshot, Error *error) {
    uint64_t bytes = memory_capture_content_bytes(&snapshot->capture);
    struct statvfs host;
    if (snapshot->n_disks == 0 || snapshot->unwritten || fstatvfs(snapshot->memory_fd, &host) < 0 ||
        (uint64_t)host.f_bavail * host.f_frsize >= bytes)
        return 0;
    _cleanup_free_ char *wanted = format_size(bytes);
    _cleanup_free_ char *left = format_size((uint64_t)host.f_bavail * host.f_frsize);
    error_set(error, ERROR_NO_SPACE, ENOSPC,
              "the host has no room for its memory: %s are to be written, and %s are left", wanted,
              left);
    error_set_hint(error, "free some: ramet df tells what takes it, ramet prune removes what "
                          "nothing uses");
    return -ENOSPC;
}

/* with_switch: all went well so far. The guest goes on in any case, unless it is to stay paused. */
static int thaw_machine(Snapshot *snapshot, bool with_switch, bool stays, Error *error) {
    Batch batch = {.qmp = snapshot->vm->machine.qmp};
    bool disks = with_switch && snapshot->n_disks > 0;
    int switched = 0, went_on = 0;
    if (disks)
        switched = add_switch(&batch, snapshot, error);
    disks = disks && switched == 0;
    if (!stays && !snapshot->was_paused)
        went_on = batch_add(&batch, "cont", NULL, -1, NULL);
    if (disks)
        switched = batch_wait(&batch, 1, error);
    if (disks && switched == 0)
        note_switch(snapshot);
    int waited = batch_wait_all(&batch, NULL);
    if (went_on == -ECONNRESET || waited == -ECONNRESET)
        return -ECONNRESET; /* it has ended, and its exit says why */
    if (went_on < 0 || waited < 0) {
        (void)error_set(error, ERROR_FAILED, EIO, "the VM could not go on after its pause");
        machine_kill(&snapshot->vm->machine, "internal-error");
        return -EIO;
    }
    return switched;
}

static void enter(Snapshot *snapshot) {
    if (snapshot->paused_at_usec)
        return;
    snapshot->paused_at_usec = clock_monotonic_usec();
    reply_stage(snapshot->reply, "pause");
}

/* To all others it runs on: what they ask of its guest waits for a moment. */
int pause_begin(Snapshot *snapshot, Error *error) {
    Vm *vm = snapshot->vm;
    VmState state = vm->state;
    enter(snapshot);
    vm->state = VM_PAUSED; /* before the STOP event comes */
    int r = machine_call(&vm->machine, "stop", NULL, NULL, error);
    machine_process_events(&vm->machine);
    vm->state = state;
    return r;
}

void pause_give_up(Snapshot *snapshot) {
    Machine *machine = &snapshot->vm->machine;
    if (!snapshot->was_paused && machine_call(machine, "cont", NULL, NULL, NULL) < 0)
        machine_kill(machine, "internal-error");
}

int pause_run(Snapshot *snapshot, Error *error) {
    Vm *vm = snapshot->vm;
    VmState state = vm->state;
    enter(snapshot);
    vm->state = VM_PAUSED; /* before the STOP event comes */
    int r = freeze_machine(snapshot, error);
    if (r == 0)
        r = require_room(snapshot, error);
    if (r != -ECONNRESET) {
        bool stays = r == 0 && (snapshot->stay_paused || snapshot->runs_to_freeze);
        reply_stage(snapshot->reply, "disks");
        int thawed = thaw_machine(snapshot, r == 0, stays, r == 0 ? error : NULL);
        if (r == 0)
            r = thawed;
        if (stays && r == 0) {
            snapshot->runs_to_freeze = false; /* it was paused, and is again */
            vm->left_frozen = true;
            vm->freeze = snapshot->freeze;
            state = VM_PAUSED;
        }
    }
    snapshot->captured = r == 0;
    if (!snapshot->was_paused)
        snapshot->pause_usec = clock_monotonic_usec() - snapshot->paused_at_usec;
    machine_process_events(&vm->machine); /* STOP among them, which is ours */
    vm->state = state;
    return r;
}
