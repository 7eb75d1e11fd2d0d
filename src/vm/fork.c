/* SPDX-License-Identifier: Apache-2.0 */

/* Forking: VMs that grow from a snapshot.
 *
 * Each clone has a row, a folder and an overlay like any VM, made in no time since nothing is
 * copied; its disk stands on the snapshot's layer and its memory on the snapshot's base. The rows
 * are `creating`, which nobody sees, until all clones are ready; then all of them become `running`
 * together. So a crash in between, or one clone's failure, leaves none of them.
 *
 * Durability: the overlay of a clone is not synced here, since that would cost more than the fork.
 * After a power cut the row, which is written last, may name an overlay that the disk has not seen;
 * sync_later sees to it right after the answer. */

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/log.h"
#include "vm/pool_internal.h"
#include "vm/snapshot_internal.h"
#include "vm/vm.h"

/* --- a group of them ---------------------------------------------------------------------------
 */

typedef struct Clone {
    char name[64];
    VmRow row;    /* owned */
    OpLock *lock; /* owned */
    Operation operation;
    Error error;
    bool ready;
    struct Group *group; /* borrowed */
} Clone;

typedef struct Group {
    Ramet *ramet;                /* borrowed */
    Operation *operation;        /* borrowed: the request's */
    const ForkOptions *options;  /* borrowed */
    const SnapshotRow *snapshot; /* borrowed, pinned */
    Clone *clones;               /* owned */
    unsigned next;               /* the first that nobody works on */
    bool failed;
    pthread_mutex_t mutex; /* guards next, failed and the request's events */
} Group;

/* Events of all clones go to the one request, each with its clone's name. */
static void tell_event(void *data, const json_t *event) {
    Clone *clone = data;
    Group *group = clone->group;
    _cleanup_json_ json_t *named = json_copy((json_t *)event);

    if (!group->operation->on_event)
        return;
    (void)json_object_set_new(named, "vm", json_string(clone->name));
    (void)pthread_mutex_lock(&group->mutex);
    group->operation->on_event(group->operation->data, named);
    (void)pthread_mutex_unlock(&group->mutex);
}

/* A snapshot without memory: the clone boots, and says so. */
static int boot_clone(Group *group, Clone *clone) {
    int r = row_set_state(group->ramet, &clone->row, STATE_CREATED, NULL, &clone->error);

    if (r >= 0)
        r = vm_start_locked(group->ramet, &clone->operation, clone->lock, &clone->row,
                            &clone->error);
    return r;
}

/* 1: a warm clone of the snapshot's pool became this one. */
static int claim_clone(Group *group, Clone *clone, json_t **failure) {
    _cleanup_vm_row_ VmRow planned = {0};
    int r = vm_grow_plan(group->snapshot, clone->name, group->options->disk_bytes, &planned,
                         &clone->error);

    if (r < 0)
        return r;
    return pool_claim(group->ramet, &clone->operation, group->snapshot, &planned, &clone->lock,
                      &clone->row, failure, &clone->error);
}

static int fork_clone(Group *group, Clone *clone) {
    const Restore restore = {.snapshot = group->snapshot,
                             .boot = "forked",
                             .clone = true,
                             .in_group = group->options->count > 1};
    int r = vm_grow(group->ramet, &clone->operation, group->snapshot, clone->name,
                    group->options->disk_bytes, &clone->lock, &clone->row, &clone->error);

    if (r < 0)
        return r;
    clone->row.remove = clone->row.attached = group->options->owned;
    if (!snapshot_has_memory(group->snapshot))
        return boot_clone(group, clone);
    return vm_restore(group->ramet, &clone->operation, &clone->row, &restore,
                      clone->operation.cancel_fd, &clone->error);
}

static int make_clone(Group *group, Clone *clone) {
    _cleanup_json_ json_t *failure = NULL;
    int r = claim_clone(group, clone, &failure);

    if (r == 0)
        r = fork_clone(group, clone);
    if (r >= 0 && failure)
        row_set(&clone->row, "fallback", json_incref(failure));
    return MIN_OF(r, 0);
}

static bool take_next(Group *group, Clone **clone) {
    bool taken = false;

    (void)pthread_mutex_lock(&group->mutex);
    if (group->next < group->options->count && (!group->failed || group->options->keep_going)) {
        *clone = &group->clones[group->next++];
        taken = true;
    }
    (void)pthread_mutex_unlock(&group->mutex);
    return taken;
}

static void *work(void *data) {
    Group *group = data;
    Clone *clone;

    while (take_next(group, &clone)) {
        clone->ready = make_clone(group, clone) >= 0;
        if (clone->ready)
            continue;
        (void)pthread_mutex_lock(&group->mutex);
        group->failed = true;
        (void)pthread_mutex_unlock(&group->mutex);
    }
    return NULL;
}

/* This thread works too. */
static void work_together(Group *group) {
    pthread_t threads[64];
    long most = MIN_OF(vm_turns_max(), 64L);
    size_t wanted = (size_t)MIN_OF((long)group->options->count, most) - 1, n = 0;

    while (n < wanted && pthread_create(&threads[n], NULL, work, group) == 0)
        n++;
    (void)work(group);
    while (n > 0)
        (void)pthread_join(threads[--n], NULL);
}

static int make_group(Group *group, Error *error) {
    const ForkOptions *options = group->options;

    group->clones = calloc(options->count, sizeof(*group->clones));
    if (!group->clones)
        return error_set_errno(error, ENOMEM, "cannot fork");
    for (unsigned i = 0; i < options->count; i++) {
        Clone *clone = &group->clones[i];
        _cleanup_free_ char *made_up = identity_name();

        clone->group = group;
        if (options->name && options->count == 1)
            (void)snprintf(clone->name, sizeof(clone->name), "%s", options->name);
        else if (options->name)
            (void)snprintf(clone->name, sizeof(clone->name), "%.52s-%u", options->name, i + 1);
        else
            (void)snprintf(clone->name, sizeof(clone->name), "%s", made_up);
        operation_init(&clone->operation, group->operation->origin_usec,
                       group->operation->cancel_fd);
        clone->operation.on_event = tell_event;
        clone->operation.data = clone;
        operation_enter(&clone->operation, "plan");
    }
    return 0;
}

static void free_group(Group *group) {
    for (unsigned i = 0; group->clones && i < group->options->count; i++) {
        (void)op_unlock(group->clones[i].lock);
        vm_row_free(&group->clones[i].row);
        error_clear(&group->clones[i].error);
    }
    free(group->clones);
    (void)pthread_mutex_destroy(&group->mutex);
}

/* --- the end of a group ------------------------------------------------------------------------
 */

static void undo_clone(Ramet *ramet, Clone *clone) {
    _cleanup_error_ Error error = ERROR_INIT;

    if (*clone->row.id && vm_remove_locked(ramet, &clone->row, &error) < 0)
        log_warning("cannot undo the fork of %s: %s", clone->name, error_message(&error));
    clone->ready = false;
}

/* They are made durable once the client has its answer. */
static void *sync_thread(void *data) {
    int fd = (int)(intptr_t)data;

    (void)syncfs(fd);
    (void)fd_close(fd);
    return NULL;
}

void vm_sync_later(Ramet *ramet) {
    int fd = fcntl(ramet->home_fd, F_DUPFD_CLOEXEC, 3);
    pthread_t thread;

    if (fd < 0)
        return;
    if (pthread_create(&thread, NULL, sync_thread, (void *)(intptr_t)fd) == 0)
        (void)pthread_detach(thread);
    else
        (void)fd_close(fd);
}

static void let_run(const Clone *clone) {
    ProcessIdentity keeper = row_process(&clone->row, "keeper");

    vm_set_nice(&clone->row, &keeper, NICE_RUNNING);
}

static int show_all(Group *group, Error *error) {
    Ramet *ramet = group->ramet;
    int r = 0;

    for (unsigned i = 0; r >= 0 && i < group->options->count; i++) {
        Clone *clone = &group->clones[i];

        if (!clone->ready || !snapshot_has_memory(group->snapshot))
            continue;
        r = row_set_state(ramet, &clone->row, STATE_RUNNING,
                          json_object_get(clone->row.runtime, "stages"), error);
        if (r >= 0)
            vm_watch(ramet, &clone->row);
        let_run(clone);
    }
    vm_sync_later(ramet);
    return r;
}

static json_t *describe_errors(const Group *group) {
    json_t *list = json_array();

    for (unsigned i = 0; i < group->options->count; i++) {
        const Clone *clone = &group->clones[i];
        _cleanup_json_ json_t *wrapped = NULL;

        if (clone->ready || clone->error.kind == ERROR_NONE)
            continue;
        wrapped = json_from_error(&clone->error);
        (void)json_array_append_new(list, json_pack("{s:s, s:O}", "name", clone->name, "error",
                                                    json_object_get(wrapped, "error")));
    }
    return list;
}

static int describe_group(const Group *group, json_t **answer, Error *error) {
    _cleanup_json_ json_t *vms = json_array();
    int r = 0;

    for (unsigned i = 0; r >= 0 && i < group->options->count; i++) {
        json_t *vm = NULL;

        if (!group->clones[i].ready)
            continue;
        r = vm_describe(group->ramet, &group->clones[i].row, &vm, error);
        if (r >= 0)
            (void)json_array_append_new(vms, vm);
    }
    if (r < 0)
        return r;
    *answer = json_pack("{s:s, s:O, s:o}", "snapshot", group->snapshot->id, "vms", vms, "errors",
                        describe_errors(group));
    return 0;
}

static int finish_group(Group *group, json_t **answer, Error *error) {
    const ForkOptions *options = group->options;
    unsigned ready = 0, first = options->count;
    int r;

    for (unsigned i = 0; i < options->count; i++) {
        ready += group->clones[i].ready;
        if (group->clones[i].error.kind != ERROR_NONE && first == options->count)
            first = i;
    }
    for (unsigned i = 0; i < options->count; i++)
        if (!group->clones[i].ready || (ready < options->count && !options->keep_going))
            undo_clone(group->ramet, &group->clones[i]);
    if (ready < options->count && (!options->keep_going || ready == 0)) {
        r = error_move(error, &group->clones[first].error);
        return r < 0 ? r : -EIO;
    }
    r = show_all(group, error);
    return r < 0 ? r : describe_group(group, answer, error);
}

static int fork_snapshot(Ramet *ramet, Operation *operation, const ForkOptions *options,
                         const SnapshotRow *snapshot, json_t **answer, Error *error) {
    _cleanup_(free_group) Group group = {.ramet = ramet,
                                         .operation = operation,
                                         .options = options,
                                         .snapshot = snapshot,
                                         .mutex = PTHREAD_MUTEX_INITIALIZER};
    int r = make_group(&group, error);

    if (r < 0)
        return r;
    if (json_array_size(json_object_get(json_object_get(snapshot->data, "spec"), "forwards")) > 0)
        operation_note(operation, "the ports of %s are not forwarded to its clones", snapshot->vm);
    work_together(&group);
    r = finish_group(&group, answer, error);
    return r < 0 ? error_add_context(error, "cannot fork %s", options->source) : 0;
}

/* --- where from --------------------------------------------------------------------------------
 */

/* A snapshot of the VM, pinned, which goes when nothing grows from it. */
static int freeze_vm(Ramet *ramet, Operation *operation, const char *reference,
                     SnapshotRow *snapshot, Error *error) {
    const TakeOptions options = {.purpose = PURPOSE_FORK};
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_vm_row_ VmRow row = {0};
    int r = row_lock(ramet, reference, "being forked", operation->cancel_fd, &lock, &row, error);

    if (r == -ENOENT)
        error_set_hint(error, "name a snapshot (ramet snapshot ls) or a VM (ramet ps -a)");
    if (r < 0)
        return r;
    return snapshot_take(ramet, operation, &row, &options, snapshot, error);
}

static int find_source(Ramet *ramet, Operation *operation, const char *source,
                       SnapshotRow *snapshot, Error *error) {
    _cleanup_snapshot_row_ SnapshotRow found = {0};
    _cleanup_error_ Error failure = ERROR_INIT;
    int r = snapshots_find(ramet->store, source, &found, &failure);

    if (r == -ENOENT)
        return freeze_vm(ramet, operation, source, snapshot, error);
    if (r < 0)
        return error_move(error, &failure);
    return snapshot_pin(ramet, found.id, snapshot, error);
}

static int check_options(const ForkOptions *options, Error *error) {
    if (options->count < 1 || options->count > FORK_COUNT_MAX)
        return error_set(error, ERROR_USAGE, EINVAL, "the count is not within 1 … %d",
                         FORK_COUNT_MAX);
    return options->name ? name_check("VM", options->name, error) : 0;
}

int vm_fork(Ramet *ramet, Operation *operation, const ForkOptions *options, json_t **answer,
            Error *error) {
    _cleanup_snapshot_row_ SnapshotRow snapshot = {0};
    int r = check_options(options, error);

    if (r < 0)
        return r;
    operation_enter(operation, "plan");
    r = find_source(ramet, operation, options->source, &snapshot, error);
    if (r < 0)
        return r;
    r = fork_snapshot(ramet, operation, options, &snapshot, answer, error);
    pools_kick(ramet);
    snapshot_unpin(ramet, snapshot.id);
    if (r < 0 && snapshot.automatic)
        lineage_collect(ramet);
    return r;
}
