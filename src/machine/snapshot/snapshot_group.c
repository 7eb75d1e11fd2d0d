/* SPDX-License-Identifier: Apache-2.0 */

/* Each VM is saved by a thread of its own, by the recipe that saves a single one
 * (snapshot_create.c), which waits for the others where all must have come as far:
 *
 *   VM      copy ─▶│ freeze ─▶│ stop ─▶│ state, pages, disks, cont ─▶ thaw ─▶│ write
 *   leader        hold       open     open                              release
 *
 * All stand still at once, between the last stop and the first cont, so the states fit each other
 * whatever the networks do. That switches hold frames meanwhile keeps what was under way from being
 * lost in the source, where TCP would take a loss for congestion. In the clones it is lost, as a
 * cable may lose it.
 *
 * Memory is copied before and written after that, so that no VM stands still for another's. */

#include "machine/snapshot/snapshot_group.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "frozen/pins.h"
#include "lineage/lineage.h"
#include "machine/snapshot/meeting.h"
#include "machine/snapshot/snapshot_create.h"
#include "network/hold.h"
#include "run/nice.h"

#define COPY_TIMEOUT_USEC (900 * USEC_PER_SEC)
#define FREEZE_TIMEOUT_USEC (40 * USEC_PER_SEC) /* less than a switch holds frames */

typedef struct Group Group;

typedef struct Member {
    Group *group; /* borrowed */
    VmRow *vm;    /* borrowed */
    Operation operation;
    SnapshotRow *row; /* borrowed: filled on success */
    Error error;
    int result;
    pthread_t thread;
} Member;

struct Group {
    Home *home;           /* borrowed */
    Operation *operation; /* borrowed: the request's */
    const char *purpose;  /* borrowed */
    bool clone_volumes;
    VmRow *vms; /* borrowed */
    size_t count;
    Member *members; /* owned */
    size_t started;
    Meeting meeting;
    pthread_mutex_t mutex;
    Member *failed; /* borrowed: the first one, which the others only follow; with the mutex */
};

/* ---- one VM ---- */

static void note_failure(Member *member) {
    Group *group = member->group;
    (void)pthread_mutex_lock(&group->mutex);
    if (!group->failed)
        group->failed = member;
    (void)pthread_mutex_unlock(&group->mutex);
    meeting_break(&group->meeting);
}

static void *save_member(void *data) {
    Member *member = data;
    Group *group = member->group;
    const SnapshotOptions options = {.purpose = group->purpose,
                                     .meeting = &group->meeting,
                                     .clone_volumes = group->clone_volumes};
    member->result = snapshot_create_locked(group->home, &member->operation, member->vm, &options,
                                            member->row, &member->error);
    if (member->result < 0)
        note_failure(member);
    return NULL;
}

/* ---- all of them ---- */

static int check_states(const VmRow *vms, size_t count, Error *error) {
    for (size_t i = 0; i < count; i++) {
        if (vms[i].state == STATE_RUNNING)
            continue;
        error_set(error, ERROR_CONFLICT, EBUSY, "%s is %s", vms[i].name,
                  vm_state_name(vms[i].state));
        error_set_hint(error, "all of them have to run");
        return -EBUSY;
    }
    if (count >= 1 && count <= SNAPSHOT_GROUP_MAX)
        return 0;
    return error_set(error, ERROR_USAGE, EINVAL,
                     "%zu VMs cannot be saved at one moment (at most %d)", count,
                     SNAPSHOT_GROUP_MAX);
}

static int start(Group *group, SnapshotRow *rows, Error *error) {
    for (size_t i = 0; i < group->count; i++) {
        Member *member = &group->members[i];
        int r;
        *member = (Member){.group = group, .vm = &group->vms[i], .row = &rows[i]};
        operation_init(&member->operation, group->operation->origin_usec, -1);
        r = -pthread_create(&member->thread, NULL, save_member, member);
        if (r < 0)
            return error_set_errno(error, -r, "cannot start a thread");
        group->started++;
    }
    return 0;
}

static int gather(Group *group, MeetingPoint point, uint64_t timeout_usec, Error *error) {
    int r = meeting_gather(&group->meeting, point, clock_monotonic_usec() + timeout_usec);
    if (r == -ETIMEDOUT)
        return error_set(error, ERROR_TIMEOUT, ETIMEDOUT,
                         "not all of the VMs could be frozen in time");
    return r; /* -ECANCELED: the one that failed says why */
}

static int lead_to(Group *group, MeetingPoint point, uint64_t timeout_usec, const char *stage,
                   Error *error) {
    int r = gather(group, point, timeout_usec, error);
    if (r < 0)
        return r;
    operation_enter(group->operation, stage);
    meeting_open(&group->meeting, point);
    return 0;
}

/* Who stands still waits for the last one, and so do those that wait for them. A guest that is
 * frozen spins, and all of them together would keep the processors from who is to stop them. */
static void hurry(const Group *group, bool on) {
    for (size_t i = 0; i < group->count; i++) {
        const VmRow *vm = &group->vms[i];
        vm_set_nice(vm, &vm->runtime.keeper, on ? NICE_STARTING : NICE_RUNNING);
        vm_set_hasty(vm, on);
    }
}

/* While the networks hold frames. */
static int lead_through(Group *group, Error *error) {
    int r = lead_to(group, MEET_COPIED, FREEZE_TIMEOUT_USEC, "freeze", error);
    if (r >= 0)
        r = lead_to(group, MEET_FROZEN, FREEZE_TIMEOUT_USEC, "pause", error);
    if (r >= 0)
        r = lead_to(group, MEET_PAUSED, FREEZE_TIMEOUT_USEC, "state", error);
    return r < 0 ? r : gather(group, MEET_RESUMED, FREEZE_TIMEOUT_USEC, error);
}

static int lead(Group *group, SnapshotGroupTimes *times, Error *error) {
    _cleanup_(network_holds_end) NetworkHolds holds = {0};
    uint64_t began;
    int r = gather(group, MEET_COPIED, COPY_TIMEOUT_USEC, error);
    if (r < 0)
        return r;
    began = clock_monotonic_usec();
    r = network_holds_begin(group->home, group->vms, group->count, &holds, error);
    hurry(group, true);
    if (r >= 0)
        r = lead_through(group, error);
    network_holds_end(&holds);
    hurry(group, false);
    *times = (SnapshotGroupTimes){.spread_us = meeting_spread_usec(&group->meeting, MEET_PAUSED),
                                  .held_us = clock_monotonic_usec() - began};
    operation_enter(group->operation, "write");
    return r;
}

/* Each thread comes to its end, whatever became of the others. */
static void join(Group *group, int led) {
    if (led < 0)
        meeting_break(&group->meeting);
    for (size_t i = 0; i < group->started; i++)
        (void)pthread_join(group->members[i].thread, NULL);
}

static int first_failure(Group *group, int led, Error *error) {
    if (led < 0 && led != -ECANCELED)
        return led;
    return group->failed ? error_move(error, &group->failed->error) : led;
}

static void undo(Group *group) {
    for (size_t i = 0; i < group->started; i++) {
        Member *member = &group->members[i];
        if (member->result < 0)
            continue;
        snapshot_unpin(group->home, member->row->id);
        snapshot_row_free(member->row);
        *member->row = (SnapshotRow){0};
    }
    lineage_collect(group->home);
}

static void free_group(Group *group) {
    for (size_t i = 0; i < group->started; i++)
        error_clear(&group->members[i].error);
    free(group->members);
    meeting_destroy(&group->meeting);
    (void)pthread_mutex_destroy(&group->mutex);
}

int snapshot_group_create(Home *home, Operation *operation, VmRow *vms, size_t count,
                          const char *purpose, bool clone_volumes, SnapshotRow *rows,
                          SnapshotGroupTimes *times, Error *error) {
    SnapshotGroupTimes taken = {0};
    int r = check_states(vms, count, error);
    if (r < 0)
        return r;
    _cleanup_(free_group) Group group = {.home = home,
                                         .operation = operation,
                                         .purpose = purpose,
                                         .clone_volumes = clone_volumes,
                                         .vms = vms,
                                         .count = count,
                                         .members = calloc(count, sizeof(*group.members)),
                                         .mutex = PTHREAD_MUTEX_INITIALIZER};
    if (!group.members)
        abort();
    meeting_init(&group.meeting, count);
    operation_enter(operation, "copy");
    r = start(&group, rows, error);
    if (r >= 0)
        r = lead(&group, &taken, error);
    join(&group, r);
    r = first_failure(&group, r, error);
    if (r < 0)
        undo(&group);
    else
        *times = taken;
    return r;
}
