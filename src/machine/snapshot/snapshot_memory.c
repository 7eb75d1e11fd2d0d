/* SPDX-License-Identifier: Apache-2.0 */

/* The memory and the device state of a snapshot. The keeper of a VM that runs copies and saves
 * them, and switches the disks, in one pause; here it is asked, met while the VM stands still, and
 * its answer is read. One in standby lends its files. */

#include "machine/snapshot/snapshot_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/str.h"
#include "frozen/disks.h"
#include "frozen/hot_memory.h"
#include "frozen/pins.h"
#include "frozen/restore_memory.h"
#include "frozen/snapshot_files.h"
#include "frozen/snapshot_save.h"
#include "home/admission.h"
#include "home/inside.h"
#include "home/row.h"
#include "image/firmware.h"
#include "machine/look/describe.h"
#include "memory/copy.h"
#include "proto/keeper.h"

#define FREEZE_TIMEOUT_USEC (60 * USEC_PER_SEC)
#define SAVE_TIMEOUT_USEC (1800 * USEC_PER_SEC)
#define DEPTH_MAX 32 /* of a chain of diffs; a longer one is cut by a new base */

static bool has_uefi(const Saving *saving) {
    return str_equal(saving->vm->runtime.kernel_key, FIRMWARE_UEFI);
}

/* Nothing is written to them now: file systems are frozen, and the VM stands still. */
static bool copy_paused(Saving *saving) {
    int r = 0;
    if (has_uefi(saving))
        r = uefi_variables_read(saving->home, saving->vm->id, &saving->variables, &saving->trouble);
    if (r >= 0 && saving->options->clone_volumes && saving->clones.count > 0)
        r = volume_clones_copy(saving->home, saving->vm, &saving->clones, &saving->trouble);
    return r >= 0;
}

/* With its keeper, while that saves. */
typedef struct Talk {
    Saving *saving; /* borrowed */
    KeeperConnection keeper;
} Talk;

/* The keeper waits for a word. Should that not reach it, its answer, or its end, says so. */
static void meet(Talk *talk, const char *where, uint64_t at_usec) {
    Meeting *meeting = talk->saving->options->meeting;
    MeetingPoint point;
    bool go_on = meeting_point_from_name(where, &point) >= 0;
    if (go_on && point == MEET_PAUSED)
        go_on = copy_paused(talk->saving);
    if (go_on && meeting)
        go_on = meeting_arrive(meeting, point, at_usec) >= 0;
    (void)keeper_tell(&talk->keeper, go_on, NULL);
}

static void on_event(void *data, const json_t *event) {
    Talk *talk = data;
    Saving *saving = talk->saving;
    const char *kind = json_string_value(json_object_get(event, "event"));
    const char *name = json_string_value(json_object_get(event, "name"));
    uint64_t at_usec = (uint64_t)json_integer_value(json_object_get(event, "at_us"));
    if (str_equal(kind, "disks_switched"))
        saving->switched = true;
    else if (str_equal(kind, "stage") && name)
        operation_enter_at(saving->operation, name, at_usec);
    else if (str_equal(kind, "meet"))
        meet(talk, json_string_value(json_object_get(event, "where")), at_usec);
    if (saving->options->meeting && str_equal(name, "write"))
        meeting_pass(saving->options->meeting, MEET_RESUMED, at_usec);
}

/* Does the row say of what the keeper made the diff? */
static bool knows_base(const Saving *saving, const json_t *ok) {
    const VmRuntime *runtime = &saving->vm->runtime;
    const char *told = str_or_empty(json_string_value(json_object_get(ok, "owner")));
    return str_equal(told, runtime->memory_adopted ? runtime->memory_owner : "");
}

static int read_answer(const json_t *ok, Saving *saving, Error *error) {
    bool diff = str_equal(json_string_value(json_object_get(ok, "kind")), "diff");
    SnapshotData *data = &saving->row.data;
    if (diff && !knows_base(saving, ok))
        return error_set(error, ERROR_CORRUPT, EBADMSG,
                         "its keeper says that it maps memory of another snapshot");
    str_set(data->kind, diff ? "diff" : "full");
    str_set(data->capture, str_or_empty(json_string_value(json_object_get(ok, "capture"))));
    str_set(data->adoption, str_or_empty(json_string_value(json_object_get(ok, "adoption"))));
    str_set(saving->row.base, diff ? saving->vm->runtime.memory_owner : saving->row.id);
    str_set(data->marker, str_or_empty(json_string_value(json_object_get(ok, "marker"))));
    str_set(data->ram_nonce, str_or_empty(json_string_value(json_object_get(ok, "ram_nonce"))));
    data->counter = (uint64_t)json_integer_value(json_object_get(ok, "counter"));
    data->mailbox = (uint64_t)json_integer_value(json_object_get(ok, "mailbox"));
    data->pause_us = (uint64_t)json_integer_value(json_object_get(ok, "pause_us"));
    data->dirty_bytes = (uint64_t)json_integer_value(json_object_get(ok, "dirty_bytes"));
    data->state_bytes = (uint64_t)json_integer_value(json_object_get(ok, "state_bytes"));
    json_replace(&data->held, json_incref(json_object_get(ok, "held")));
    return 0;
}

/* What is copied, about. */
static uint64_t private_bytes(const VmRow *vm) {
    uint64_t bytes = 0;
    (void)row_private_bytes(vm, &bytes);
    return bytes;
}

static bool has_room(const Saving *saving) {
    return hot_memory_has_room(saving->home, private_bytes(saving->vm), saving->row.automatic);
}

/* Will its clones map the copy? Not who goes into standby or is to wait long, nor where the memory,
 * by what is known of it before, has no room in the budget. An earlier snapshot whose memory the VM
 * maps gives its room to the next: what is saved every minute does not fill the budget. */
static bool wants_hot(const Saving *saving) {
    if (saving->options->standby || saving->options->compress)
        return false;
    if (has_room(saving))
        return true;
    if (!saving->vm->runtime.memory_adopted)
        return false;
    hot_memory_drop(saving->home, saving->vm->runtime.memory_owner);
    return has_room(saving);
}

/* A VM does not keep the snapshot whose memory it has adopted, so who makes a diff over it does. */
static void pin_base(Saving *saving) {
    const char *owner = saving->vm->runtime.memory_owner;
    _cleanup_snapshot_row_ SnapshotRow row = {0};
    if (*owner && snapshot_pin(saving->home, owner, &row, NULL) >= 0)
        str_set(saving->pinned, owner);
}

/* A new base is written where a diff would stand on too many others, or on one that no file has. */
static bool wants_full(const Saving *saving) {
    const char *owner = saving->vm->runtime.memory_owner;
    _cleanup_snapshot_row_ SnapshotRow row = {0};
    if (*owner && (!*saving->pinned || snapshots_get(saving->home->store, owner, &row, NULL) < 0 ||
                   row.data.unwritten))
        return true;
    return restore_memory_depth(saving->home, owner) >= DEPTH_MAX;
}

/* The new overlays, opened for the keeper. */
typedef struct NewOverlays {
    size_t count;
    int fds[2 * PLAN_DISKS_MAX]; /* owned: for reading, for writing, … */
    json_t *list;                /* owned: for the request */
} NewOverlays;

#define FDS_BEFORE 3 /* of the request: state, memory, capture */

static void new_overlays_close(NewOverlays *overlays) {
    for (size_t i = 0; i < overlays->count; i++)
        (void)fd_close(overlays->fds[i]);
    json_decref(overlays->list);
}

static int open_overlay(NewOverlays *overlays, int dir_fd, const char *name, Error *error) {
    static const int access[] = {O_RDONLY, O_RDWR};
    int first = FDS_BEFORE + (int)overlays->count;
    for (size_t i = 0; i < ARRAY_SIZE(access); i++) {
        int fd = openat(dir_fd, name, access[i] | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
            return error_set_errno(error, errno, "cannot open %s", name);
        overlays->fds[overlays->count++] = fd;
    }
    (void)json_array_append_new(overlays->list,
                                json_pack("{s:i, s:i}", "fd", first, "fd_write", first + 1));
    return 0;
}

/* An item for each disk that the keeper writes to: a volume stays as it is. */
static int open_overlays(const Saving *saving, int dir_fd, NewOverlays *overlays, Error *error) {
    const VmRow *vm = saving->vm;
    int r = 0;
    overlays->list = json_array();
    bool without = saving->options->standby || saving->options->kernel_only;
    for (size_t i = 0; r >= 0 && !without && i < vm_disk_count(vm); i++) {
        if (vm_disk_has_overlay(vm, i))
            r = open_overlay(overlays, dir_fd, vm_disk(vm, i)->freezing.file, error);
        else if (vm_mount_is_shared(vm_disk_mount(vm, i)))
            (void)json_array_append_new(overlays->list, json_null());
    }
    return r;
}

/* Does the keeper wait while it stands still? One that goes to standby stays so anyway. */
static bool is_met(const Saving *saving) {
    return saving->options->meeting != NULL || saving->clones.count > 0 ||
           (has_uefi(saving) && !saving->options->standby);
}

static json_t *save_request(const Saving *saving, json_t *disks) {
    bool whole = wants_hot(saving), for_fork = str_equal(saving->row.purpose, PURPOSE_FORK);
    return json_pack("{s:s, s:i, s:i, s:i, s:b, s:b, s:b, s:b, s:b, s:o, s:b, s:b, s:I}", "op",
                     "snapshot", "state_fd", 0, "memory_fd", 1, "capture_fd", 2, "whole", whole,
                     "unwritten", whole && for_fork, "full", wants_full(saving), "adopt",
                     whole && saving->options->adopt, "group", is_met(saving), "disks",
                     json_incref(disks), "freeze", !saving->options->kernel_only, "stay_paused",
                     saving->options->standby, "freeze_timeout_us",
                     (json_int_t)FREEZE_TIMEOUT_USEC);
}

/* The memory that clones map at once and a file gets later (frozen/behind.h), or now where it
 * cannot be kept in memory. */
static int keep_unwritten(Saving *saving, int memory, int memfd, Error *error) {
    SnapshotRow *row = &saving->row;
    int r;
    row->data.unwritten = hot_memory_keep(saving->home, row->id, memfd, true, true);
    r = row->data.unwritten ? 0 : memory_write_file(memfd, memory, row->data.memory_bytes);
    return r < 0 ? error_set_errno(error, -r, "cannot write the memory") : 0;
}

static int ask_keeper(Saving *saving, int dir_fd, const json_t *request, const int *fds,
                      size_t n_fds, json_t **ok, Error *error) {
    Talk talk = {.saving = saving, .keeper = {.fd = -1}};
    int r = keeper_connect(dir_fd, &talk.keeper, error);
    if (r >= 0)
        r = keeper_send(&talk.keeper, request, fds, n_fds, error);
    if (r >= 0)
        r = keeper_await(&talk.keeper, clock_monotonic_usec() + SAVE_TIMEOUT_USEC, -1, on_event,
                         &talk, ok, error);
    keeper_close(&talk.keeper);
    return r;
}

/* The client's leaving does not end it: the keeper would go on by itself. */
static int save_running(Saving *saving, Error *error) {
    _cleanup_(new_overlays_close) NewOverlays overlays = {0};
    _cleanup_close_ int dir_fd = -1, state = -1, memory = -1, capture = -1;
    _cleanup_json_ json_t *request = NULL, *ok = NULL;
    int fds[FDS_BEFORE + ARRAY_SIZE(overlays.fds)];
    pin_base(saving);
    int r = admission_check_memory(private_bytes(saving->vm), error);
    if (r >= 0)
        r = vm_folder_open(saving->home, saving->vm->id, &dir_fd, error);
    if (r >= 0)
        r = snapshot_save_open(saving->files, &state, &memory, error);
    if (r < 0)
        return r;
    r = open_overlays(saving, dir_fd, &overlays, error);
    if (r < 0)
        return r;
    capture = hot_memory_new(saving->row.id, saving->row.data.memory_bytes, error);
    if (capture < 0)
        return capture;
    request = save_request(saving, overlays.list);
    fds[0] = state;
    fds[1] = memory;
    fds[2] = capture;
    memcpy(fds + FDS_BEFORE, overlays.fds, sizeof(overlays.fds));
    r = ask_keeper(saving, dir_fd, request, fds, FDS_BEFORE + overlays.count, &ok, error);
    if (r < 0 && saving->trouble.kind != ERROR_NONE)
        r = error_move(error, &saving->trouble);
    if (r < 0)
        return r;
    r = read_answer(ok, saving, error);
    if (r < 0)
        return r;
    if (json_is_true(json_object_get(ok, "unwritten")))
        return keep_unwritten(saving, memory, capture, error);
    if (json_is_true(json_object_get(ok, "whole")) && !saving->options->standby)
        saving->hot_fd = TAKE_FD(capture);
    return 0;
}

/* The memory of a VM in standby was saved already: the same files under another name, and all that
 * was said of them. The disk is frozen anew. */
static int borrow_standby(Saving *saving, Error *error) {
    _cleanup_snapshot_row_ SnapshotRow from = {0};
    SnapshotRow *row = &saving->row;
    SnapshotData own = row->data;
    int r = snapshots_get(saving->home->store, saving->vm->runtime.standby, &from, error);
    if (r >= 0)
        r = snapshot_save_link(saving->home, saving->files, &from, error);
    if (r < 0)
        return r;
    row->data = from.data;
    from.data = own;
    from.data.spec = row->data.spec;
    row->data.spec = own.spec;
    row->data.disks = own.disks;
    str_replace(&row->data.base_path, own.base_path);
    str_set(row->data.kernel_key, own.kernel_key);
    str_set(row->data.initramfs_key, own.initramfs_key);
    str_set(row->key, from.key);
    str_set(row->base, str_equal(from.base, from.id) ? row->id : from.base);
    return 0;
}

int snapshot_save_memory(Saving *saving, Error *error) {
    bool runs = vm_state_is_active(saving->vm->state);
    int r = 0;
    if (runs || saving->vm->state == STATE_STANDBY)
        r = snapshot_save_begin(saving->home, saving->row.id, saving->operation->cancel_fd,
                                &saving->files, error);
    if (r < 0 || !saving->files)
        return r;
    return runs ? save_running(saving, error) : borrow_standby(saving, error);
}
