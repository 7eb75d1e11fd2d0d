/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/snapshot.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/str.h"

/* The part of a snapshot in which the guest stands still. Its length is what users feel, so all
 * that can be done before is (overlays are opened, the memory for the copy is there), and commands
 * go out together: QEMU runs them in order, and while it saves its devices, the dirty pages are
 * copied. Nothing writes to the guest's memory once QEMU has answered `stop`.
 *
 *     stop, device state ─────▶│ answers ─▶ disks switch, cont ─▶│ answers
 *           └─ copy of dirty pages ───┘
 *
 * The disks switch only when state and pages are there, and all in one transaction, since that
 * cannot be undone. QEMU reads its monitor byte by byte, so commands and names are short. */

#define QMP_TIMEOUT_USEC (60 * USEC_PER_SEC)
#define BATCH_MAX (3 * PLAN_DISKS_MAX + 8)

typedef struct Batch {
    Qmp *qmp; /* borrowed */
    uint64_t ids[BATCH_MAX];
    size_t count;
    size_t received;
} Batch;

static uint64_t far(void) {
    return clock_monotonic_usec() + QMP_TIMEOUT_USEC;
}

/* Steals the arguments. */
static int batch_add(Batch *batch, const char *command, json_t *arguments, int fd, Error *error) {
    _cleanup_json_ json_t *owned = arguments;
    int r = qmp_send(batch->qmp, command, owned, fd, far(), &batch->ids[batch->count], error);
    if (r == 0)
        batch->count++;
    return r;
}

/* Waits for the next `count` replies, all of them, and returns the first error. */
static int batch_wait(Batch *batch, size_t count, Error *error) {
    int first = 0;
    for (; count > 0 && batch->received < batch->count; count--) {
        Error *to = first == 0 ? error : NULL;
        int r = qmp_receive(batch->qmp, batch->ids[batch->received++], far(), NULL, to);
        if (first == 0)
            first = r;
    }
    return first;
}

static int batch_wait_all(Batch *batch, Error *error) {
    return batch_wait(batch, BATCH_MAX, error);
}

/* Preparing */

static json_t *set_path(unsigned fdset) {
    char path[32];
    (void)snprintf(path, sizeof path, "/dev/fdset/%u", fdset);
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
    (void)snprintf(disk->node, sizeof disk->node, "g%u", ++machine->last_node);
    int r = add_to_set(batch, disk->fdset, disk->fd, error);
    if (r == 0)
        r = add_to_set(batch, disk->fdset, disk->fd_write, error);
    return r == 0 ? batch_add(batch, "blockdev-add", overlay_node(disk), -1, error) : r;
}

int pause_prepare(Snapshot *snapshot, Error *error) {
    Machine *machine = &snapshot->keeper->machine;
    Batch batch = {.qmp = machine->qmp};
    snapshot->state_fdset = QEMU_FDSET_FREE + machine->last_fdset++;
    int r = add_to_set(&batch, snapshot->state_fdset, snapshot->state_fd, error);
    for (size_t i = 0; r == 0 && i < snapshot->n_disks; i++)
        r = add_disk(&batch, machine, &snapshot->disks[i], error);
    int waited = batch_wait_all(&batch, r == 0 ? error : NULL);
    machine_take_events(snapshot->keeper);
    if (r == 0)
        r = waited;
    return r == 0 ? memory_capture_prepare(&snapshot->ram, &snapshot->capture, error) : r;
}

/* Errors are of no interest: what was never added cannot be removed. */
void pause_undo(Snapshot *snapshot) {
    Machine *machine = &snapshot->keeper->machine;
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
    machine_take_events(snapshot->keeper);
}

/* The pause */

static int add_save(Batch *batch, const Snapshot *snapshot, Error *error) {
    return batch_add(
        batch, "xen-save-devices-state",
        json_pack("{s:o, s:b}", "filename", set_path(snapshot->state_fdset), "live", false), -1,
        error);
}

/* Stop, state and pages. `stop` comes first, or, in a VM that is paused, is harmless. */
static int freeze_machine(Snapshot *snapshot, Error *error) {
    Batch batch = {.qmp = snapshot->keeper->machine.qmp};
    int r = batch_add(&batch, "stop", NULL, -1, error);
    if (r == 0)
        r = add_save(&batch, snapshot, error);
    int waited = batch_wait(&batch, 1, r == 0 ? error : NULL);
    if (r == 0)
        r = waited;
    snapshot_stage(snapshot, "memory");
    if (r == 0)
        r = memory_capture_take(snapshot->capture, &snapshot->ram, error);
    snapshot_stage(snapshot, "state");
    waited = batch_wait_all(&batch, r == 0 ? error : NULL);
    return r < 0 ? r : waited;
}

static json_t *switch_action(const Machine *machine, const SnapshotDisk *disk) {
    return json_pack("{s:s, s:{s:s, s:s}}", "type", "blockdev-snapshot", "data", "node",
                     machine->disk_nodes[disk->index], "overlay", disk->node);
}

static int add_switch(Batch *batch, const Snapshot *snapshot, Error *error) {
    json_t *actions = json_array();
    for (size_t i = 0; i < snapshot->n_disks; i++)
        json_array_append_new(actions,
                              switch_action(&snapshot->keeper->machine, &snapshot->disks[i]));
    return batch_add(batch, "transaction", json_pack("{s:o}", "actions", actions), -1, error);
}

/* From now on the VM writes to its new overlays. */
static void note_switch(Snapshot *snapshot) {
    Machine *machine = &snapshot->keeper->machine;
    snapshot->switched = true;
    for (size_t i = 0; i < snapshot->n_disks; i++) {
        const SnapshotDisk *disk = &snapshot->disks[i];
        struct stat file;
        memcpy(machine->disk_nodes[disk->index], disk->node, sizeof disk->node);
        if (fstat(disk->fd_write, &file) == 0) {
            machine->disk_devices[disk->index] = file.st_dev;
            machine->disk_inodes[disk->index] = file.st_ino;
        }
    }
    request_event(snapshot->connection, json_pack("{s:s}", "event", "disks_switched"));
}

/* with_switch: all went well so far. The guest goes on in any case, unless it is to be held. */
static int thaw_machine(Snapshot *snapshot, bool with_switch, bool hold, Error *error) {
    Batch batch = {.qmp = snapshot->keeper->machine.qmp};
    bool disks = with_switch && snapshot->n_disks > 0;
    int switched = 0, went_on = 0;
    if (disks)
        switched = add_switch(&batch, snapshot, error);
    disks = disks && switched == 0;
    if (!hold && !snapshot->was_paused)
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
        machine_kill(snapshot->keeper, "internal-error");
        return -EIO;
    }
    return switched;
}

int pause_run(Snapshot *snapshot, Error *error) {
    Keeper *keeper = snapshot->keeper;
    KeeperState state = keeper->state;
    uint64_t begin = clock_monotonic_usec();
    snapshot_stage(snapshot, "pause");
    keeper->state = KEEPER_PAUSED; /* before the STOP event comes */
    int r = freeze_machine(snapshot, error);
    if (r != -ECONNRESET) {
        bool hold = r == 0 && snapshot->stay_paused;
        snapshot_stage(snapshot, "disks");
        int thawed = thaw_machine(snapshot, r == 0, hold, r == 0 ? error : NULL);
        if (r == 0)
            r = thawed;
        keeper->machine.held |= hold && r == 0;
        state = hold && r == 0 ? KEEPER_PAUSED : state;
    }
    if (!snapshot->was_paused)
        snapshot->pause_usec = clock_monotonic_usec() - begin;
    machine_take_events(keeper); /* STOP among them, which is ours */
    keeper->state = state;
    return r;
}
