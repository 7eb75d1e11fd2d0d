/* SPDX-License-Identifier: Apache-2.0 */

/* Forking a lab: all VMs of all copies are made by as many threads as there are start slots; a copy
 * of which one fails is given up, and the others go on.
 *
 *   names ─▶ rows, networks (which hold) of each copy ─▶ all VMs ─▶ each whole copy runs
 *
 * A copy that a pool has warm (lab_warm.c) has its rows, its switches and its VMs already; each VM
 * is told who it is, and that is all. */

#include "lab/lab_fork.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/parallel.h"
#include "base/path.h"
#include "base/str.h"
#include "frozen/snapshot_files.h"
#include "home/inside.h"
#include "lab/lab.h"
#include "lab/lab_copy.h"
#include "lab/lab_freeze.h"
#include "lab/lab_plan.h"
#include "machine/start_slots.h"
#include "pool/boot_cache.h"
#include "store/lab/lab_snapshots.h"

typedef struct Group {
    Home *home;                    /* borrowed */
    Operation *operation;          /* borrowed: the request's */
    const LabForkOptions *options; /* borrowed */
    LabSnapshotRow source;         /* owned; its snapshots are pinned */
    bool pinned;
    SnapshotRow *snapshots; /* owned: of its VMs */
    LabCopy *copies;        /* owned */
    size_t next;           /* VM of a copy that nobody works on, counted over all; with the mutex */
    pthread_mutex_t mutex; /* and for the request's events */
} Group;

static void free_group(Group *group) {
    for (unsigned i = 0; group->copies && i < group->options->count; i++)
        lab_copy_free(&group->copies[i]);
    free(group->copies);
    if (group->snapshots)
        snapshot_rows_free(group->snapshots, group->source.data.n_vms);
    if (group->pinned && *group->source.name)
        lab_unpin(group->home, &group->source.data);
    else if (group->pinned)
        lab_drop(group->home, &group->source.data);
    lab_snapshot_row_free(&group->source);
    (void)pthread_mutex_destroy(&group->mutex);
}

/* ---- the source ---- */

static int find_source(Group *group, Error *error) {
    const char *source = group->options->source;
    _cleanup_error_ Error failure = ERROR_INIT;
    int r = lab_snapshots_find(group->home->store, source, &group->source, &failure);
    if (r >= 0)
        r = lab_pin(group->home, &group->source.data, &failure);
    if (r < 0 && r != -ENOENT)
        return error_move(error, &failure);
    if (r < 0) {
        r = lab_freeze(group->home, group->operation, source, PURPOSE_FORK,
                       group->options->clone_volumes, &group->source, error);
        if (r == -ENOENT)
            error_set_hint(error, "name a lab's snapshot (ramet lab snapshot ls) or a lab (ramet "
                                  "lab ls)");
    }
    group->pinned = r >= 0;
    return r;
}

/* ---- names ---- */

static bool is_taken(Home *home, const char *name) {
    LabRow *rows = NULL;
    size_t count = 0;
    bool taken = false;
    (void)labs_list(home->store, &rows, &count, NULL);
    for (size_t i = 0; i < count; i++)
        taken |= str_equal(rows[i].name, name);
    lab_rows_free(rows, count);
    return taken;
}

/* *number: the last one that was given. */
static void make_name(const Group *group, unsigned *number, char name[64]) {
    const LabForkOptions *options = group->options;
    const char *source = *group->source.name ? group->source.name : group->source.lab;
    if (options->name && options->count == 1) {
        (void)snprintf(name, 64, "%s", options->name);
        return;
    }
    do
        (void)snprintf(name, 64, "%.52s-%u", options->name ? options->name : source, ++*number);
    while (!options->name && is_taken(group->home, name));
}

static int check_options(const LabForkOptions *options, Error *error) {
    if (options->count < 1 || options->count > LAB_FORK_COUNT_MAX)
        return error_set(error, ERROR_USAGE, EINVAL, "the count is not within 1 … %d",
                         LAB_FORK_COUNT_MAX);
    return options->name ? lab_name_check(options->name, error) : 0;
}

/* ---- the copies ---- */

static void tell_event(void *data, const json_t *event) {
    Group *group = data;
    (void)pthread_mutex_lock(&group->mutex);
    group->operation->on_event(group->operation->data, event);
    (void)pthread_mutex_unlock(&group->mutex);
}

static void init_copy(Group *group, const char *name, bool may_claim, LabCopy *copy) {
    const char *snapshot = *group->source.name ? group->source.id : "";
    lab_copy_init(group->home, &group->source.data, group->snapshots, name, snapshot, copy);
    copy->may_claim = may_claim && *snapshot;
    copy->on_event = group->operation->on_event ? tell_event : NULL;
    copy->data = group;
}

/* Where nobody chose the name, and another fork has taken it just now, the next one is tried. */
static void begin_copy(Group *group, LabCopy *copy, unsigned *number) {
    for (int r = -EEXIST; r == -EEXIST;) {
        char name[64];
        make_name(group, number, name);
        init_copy(group, name, true, copy);
        r = lab_copy_begin(copy, group->operation, &copy->error);
        if (copy->begun || group->options->name)
            return;
        if (r == -EEXIST)
            lab_copy_free(copy);
    }
}

static void begin_copies(Group *group) {
    unsigned number = 0;
    group->copies = calloc(group->options->count, sizeof(*group->copies));
    if (!group->copies)
        abort();
    for (unsigned i = 0; i < group->options->count; i++)
        begin_copy(group, &group->copies[i], &number);
}

/* The first of what went wrong. */
static Error *failure_of(LabCopy *copy) {
    if (copy->error.kind != ERROR_NONE)
        return &copy->error;
    for (size_t i = 0; i < copy->frozen->n_vms; i++)
        if (copy->vms[i].error.kind != ERROR_NONE)
            return &copy->vms[i].error;
    return NULL;
}

/* One that is there already, or of a copy of which something failed, is left out. */
static LabCopyVm *next_vm(Group *group, LabCopy **copy, size_t *index) {
    size_t n_vms = group->source.data.n_vms, total = n_vms * group->options->count;
    LabCopyVm *vm = NULL;
    (void)pthread_mutex_lock(&group->mutex);
    while (!vm && group->next < total) {
        *copy = &group->copies[group->next / n_vms];
        *index = group->next++ % n_vms;
        if (!failure_of(*copy) && !(*copy)->vms[*index].ready)
            vm = &(*copy)->vms[*index];
    }
    (void)pthread_mutex_unlock(&group->mutex);
    return vm;
}

static void make_vms(void *data) {
    Group *group = data;
    LabCopyVm *vm;
    LabCopy *copy;
    size_t index;
    while ((vm = next_vm(group, &copy, &index))) {
        Error error = ERROR_INIT;
        if (lab_copy_vm(copy, index, group->operation, &error) >= 0)
            continue;
        (void)pthread_mutex_lock(&group->mutex);
        vm->error = error;
        (void)pthread_mutex_unlock(&group->mutex);
    }
}

/* In the place of a warm copy that could not be claimed one is made, of the same name. */
static bool replace_copy(Group *group, LabCopy *copy) {
    const Error *failure = failure_of(copy);
    char name[64];
    if (!failure || !copy->claimed || !boot_cache_may_fall_back(failure))
        return false;
    operation_note(group->operation, "a warm copy could not be claimed; making one: %s",
                   error_message(failure));
    str_set(name, copy->lab.name);
    lab_copy_undo(copy);
    lab_copy_free(copy);
    init_copy(group, name, false, copy);
    (void)lab_copy_begin(copy, group->operation, &copy->error);
    return true;
}

static void make_all_vms(Group *group) {
    size_t total = group->options->count * group->source.data.n_vms;
    group->next = 0;
    parallel_run(MIN_OF(total, (size_t)start_slots_max()), make_vms, group);
}

static void make_copies(Group *group) {
    bool again = false;
    make_all_vms(group);
    for (unsigned i = 0; i < group->options->count; i++)
        again |= replace_copy(group, &group->copies[i]);
    if (again)
        make_all_vms(group);
}

static void finish_copies(Group *group) {
    for (unsigned i = 0; i < group->options->count; i++) {
        LabCopy *copy = &group->copies[i];
        if (failure_of(copy) || lab_copy_finish(copy, &copy->error) < 0)
            lab_copy_undo(copy);
    }
}

/* ---- the answer ---- */

static int describe_copy(Group *group, LabCopy *copy, json_t *labs, json_t *errors, Error *error) {
    _cleanup_json_ json_t *wrapped = NULL;
    json_t *lab;
    int r = copy->kept ? lab_inspect(group->home, copy->lab.id, &lab, error) : 0;
    if (r < 0)
        return r;
    if (copy->kept)
        return json_array_append_new(labs, lab);
    wrapped = json_from_error(failure_of(copy));
    return json_array_append_new(errors, json_pack("{s:s, s:O}", "name", copy->lab.name, "error",
                                                   json_object_get(wrapped, "error")));
}

static int describe(Group *group, json_t **answer, Error *error) {
    _cleanup_json_ json_t *labs = json_array(), *errors = json_array();
    int r = 0;
    for (unsigned i = 0; r >= 0 && i < group->options->count; i++)
        r = describe_copy(group, &group->copies[i], labs, errors, error);
    if (r < 0)
        return r;
    if (json_array_size(labs) == 0)
        return error_move(error, failure_of(&group->copies[0]));
    *answer =
        json_pack("{s:s?, s:O, s:O}", "snapshot", *group->source.name ? group->source.name : NULL,
                  "labs", labs, "errors", errors);
    return 0;
}

int lab_fork(Home *home, Operation *operation, const LabForkOptions *options, json_t **answer,
             Error *error) {
    _cleanup_(free_group) Group group = {.home = home,
                                         .operation = operation,
                                         .options = options,
                                         .mutex = PTHREAD_MUTEX_INITIALIZER};
    int r = check_options(options, error);
    if (r < 0)
        return r;
    operation_enter(operation, "plan");
    r = find_source(&group, error);
    if (r >= 0)
        r = lab_read_snapshots(home, &group.source.data, &group.snapshots, error);
    if (r < 0)
        return error_add_context(error, "cannot fork %s", options->source);
    operation_enter(operation, "networks");
    begin_copies(&group);
    operation_enter(operation, "vms");
    make_copies(&group);
    operation_enter(operation, "release");
    finish_copies(&group);
    home_sync_later(home);
    home_pools_changed(home); /* not before: it would make the copies late */
    r = describe(&group, answer, error);
    return r < 0 ? error_add_context(error, "cannot fork %s", options->source) : 0;
}
