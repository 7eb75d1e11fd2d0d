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
 * home_sync_later sees to it right after the answer. */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "base/parallel.h"
#include "base/path.h"
#include "frozen/pins.h"
#include "frozen/snapshot_files.h"
#include "home/home.h"
#include "home/identity.h"
#include "home/inside.h"
#include "home/op_lock.h"
#include "home/operation.h"
#include "home/row.h"
#include "limits/enforce.h"
#include "lineage/lineage.h"
#include "machine/clone.h"
#include "machine/create.h"
#include "machine/look/describe.h"
#include "machine/remove.h"
#include "machine/snapshot/snapshot_create.h"
#include "machine/start.h"
#include "machine/start_slots.h"
#include "pool/pool.h"
#include "pool/pool_claim.h"
#include "run/nice.h"
#include "run/restore.h"
#include "run/watcher.h"
#include "storage/config_disk.h"
#include "store/snapshots.h"
#include "store/store.h"
#include "store/vms.h"
#include "verbs/verbs.h"

typedef struct Clone {
    char name[NAME_SIZE];
    VmRow row;    /* owned */
    OpLock *lock; /* owned */
    Operation operation;
    Error error;
    bool ready;
    struct Group *group; /* borrowed */
} Clone;

typedef struct Group {
    Home *home;                 /* borrowed */
    Operation *operation;       /* borrowed: the request's */
    const ForkOptions *options; /* borrowed */
    SnapshotRow snapshot;       /* owned, pinned */
    CloneShape shape;           /* that of the options, with a config disk */
    VmMount config;
    bool has_pool; /* warm clones of the snapshot may be claimed */
    Clone *clones; /* owned */
    unsigned next; /* the first that nobody works on */
    unsigned ready;
    bool failed;
    bool kept;             /* some of them stay */
    pthread_mutex_t mutex; /* guards next, ready, failed and the request's events */
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

/* A snapshot of the VM, pinned, which goes when nothing grows from it. */
static int freeze_vm(Home *home, Operation *operation, const char *reference, bool clone_volumes,
                     SnapshotRow *snapshot, Error *error) {
    const SnapshotOptions options = {.purpose = PURPOSE_FORK, .clone_volumes = clone_volumes};
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_vm_row_ VmRow row = {0};
    int r = row_lock(home, reference, "being forked", operation->cancel_fd, &lock, &row, error);
    if (r == -ENOENT)
        error_set_hint(error, "name a snapshot (ramet snapshot ls) or a VM (ramet ps -a)");
    if (r < 0)
        return r;
    return snapshot_create_locked(home, operation, &row, &options, snapshot, error);
}

static int find_source(Home *home, Operation *operation, const char *source, bool clone_volumes,
                       SnapshotRow *snapshot, Error *error) {
    _cleanup_snapshot_row_ SnapshotRow found = {0};
    _cleanup_error_ Error failure = ERROR_INIT;
    int r = snapshots_find(home->store, source, &found, &failure);
    if (r == -ENOENT)
        return freeze_vm(home, operation, source, clone_volumes, snapshot, error);
    if (r < 0)
        return error_move(error, &failure);
    return snapshot_pin(home, found.id, snapshot, error);
}

static bool has_fixed_port(const json_t *forwards) {
    const json_t *forward;
    size_t i;
    json_array_foreach(forwards, i, forward) {
        if (json_integer_value(json_object_get(forward, "host_port")) != 0)
            return true;
    }
    return false;
}

static int check_options(const ForkOptions *options, Error *error) {
    if (options->count < 1 || options->count > FORK_COUNT_MAX)
        return error_set(error, ERROR_USAGE, EINVAL, "the count is not within 1 … %d",
                         FORK_COUNT_MAX);
    if (options->count > 1 && options->shape.hostname)
        return error_set(
            error, ERROR_USAGE, EINVAL,
            "several clones cannot have one host name; theirs are made of their names");
    if (options->count > 1 && has_fixed_port(options->shape.forwards)) {
        error_set(error, ERROR_USAGE, EINVAL, "a host port leads to one clone only");
        error_set_hint(error, "-p 0:GUEST gives each of them a free one; ramet ps shows it");
        return -EINVAL;
    }
    return options->name ? name_check("VM", options->name, error) : 0;
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

/* What was made of a clone that is not to be. */
static void undo_clone(Home *home, Clone *clone) {
    _cleanup_error_ Error error = ERROR_INIT;
    if (*clone->row.id && vm_remove_locked(home, &clone->row, &error) < 0)
        log_warning("cannot undo the fork of %s: %s", clone->name, error_message(&error));
    clone->ready = false;
    clone->row.id[0] = '\0';
}

static void free_group(Group *group) {
    for (unsigned i = 0; group->clones && i < group->options->count; i++) {
        (void)op_unlock(group->clones[i].lock);
        vm_row_free(&group->clones[i].row);
        error_clear(&group->clones[i].error);
    }
    if (*group->snapshot.id)
        snapshot_unpin(group->home, group->snapshot.id);
    if (group->snapshot.automatic && !group->kept)
        lineage_collect(group->home);
    snapshot_row_free(&group->snapshot);
    free(group->clones);
    (void)pthread_mutex_destroy(&group->mutex);
}

/* Said once, though each clone lacks them. */
static void note_lost_ports(const Group *group) {
    if (!group->options->shape.forwards && group->snapshot.data.spec.forwards.count > 0)
        operation_note(group->operation, "the ports of %s are not forwarded to its clones",
                       group->snapshot.vm);
}

/* --- one clone, in a thread of its own --- */

/* A snapshot without memory: the clone boots, and says so. */
static int boot(Group *group, Clone *clone) {
    int r = vm_prepare_boot(group->home, &clone->operation, &clone->row, &clone->error);
    if (r < 0)
        return r;
    r = vm_boot(group->home, &clone->operation, clone->lock, &clone->row, &clone->error);
    return r < 0 ? error_add_context(&clone->error, "cannot start %s", clone->name) : 0;
}

/* Row, lock, folder and overlay, and then the snapshot's memory. */
static int make_and_restore(Group *group, Clone *clone, VmRow *planned) {
    const Restore restore = {.snapshot = &group->snapshot,
                             .boot = "forked",
                             .clone = true,
                             .in_group = group->options->count > 1};
    int r = vm_create_planned(group->home, &clone->operation, planned, CREATE_TO_RUN, &clone->lock,
                              &clone->row, &clone->error);
    if (r < 0)
        return r;
    if (!snapshot_has_memory(&group->snapshot))
        return boot(group, clone);
    return clone_restore(group->home, &clone->operation, &clone->row, &restore,
                         clone->operation.cancel_fd, &clone->error);
}

static int make_clone(Group *group, Clone *clone) {
    _cleanup_json_ json_t *failure = NULL;
    _cleanup_vm_row_ VmRow planned = {0};
    int r = clone_plan(&group->snapshot, clone->name, &group->shape, &planned, &clone->error);
    planned.remove = group->options->remove || group->options->owned;
    planned.attached = group->options->owned;
    if (r >= 0)
        r = limits_check(group->home, &planned.spec.limits, &clone->error);
    if (r >= 0 && group->has_pool)
        r = pool_claim(group->home, &clone->operation, &group->snapshot, &planned, &clone->lock,
                       &clone->row, &failure, &clone->error);
    if (r == 0) /* no warm one */
        r = make_and_restore(group, clone, &planned);
    if (r >= 0 && failure)
        json_replace(&clone->row.runtime.fallback, json_incref(failure));
    return MIN_OF(r, 0);
}

static Clone *next_clone(Group *group) {
    Clone *clone = NULL;
    (void)pthread_mutex_lock(&group->mutex);
    if (group->next < group->options->count && (!group->failed || group->options->keep_going))
        clone = &group->clones[group->next++];
    (void)pthread_mutex_unlock(&group->mutex);
    return clone;
}

static void make_clones(void *data) {
    Group *group = data;
    Clone *clone;
    while ((clone = next_clone(group))) {
        clone->ready = make_clone(group, clone) >= 0;
        (void)pthread_mutex_lock(&group->mutex);
        group->ready += clone->ready;
        group->failed |= !clone->ready;
        (void)pthread_mutex_unlock(&group->mutex);
    }
}

/* --- all of them --- */

static int record_running(Group *group, Error *error) {
    Store *store = group->home->store;
    int r = store_begin(store, error);
    if (r < 0)
        return r;
    for (unsigned i = 0; r >= 0 && i < group->options->count; i++)
        if (group->clones[i].ready)
            r = row_write_state(group->home, &group->clones[i].row, STATE_RUNNING, error);
    if (r < 0) {
        store_rollback(store);
        return r;
    }
    return store_commit(store, error);
}

/* Their rows are `running` already: everybody may know. */
static void announce(const Group *group) {
    for (unsigned i = 0; i < group->options->count; i++) {
        const Clone *clone = &group->clones[i];
        if (!clone->ready)
            continue;
        row_tell_state(group->home, &clone->row, clone->row.runtime.stages);
        vm_watch(group->home, &clone->row);
        vm_set_nice(&clone->row, &clone->row.runtime.keeper, NICE_RUNNING);
    }
}

static Error *first_error(const Group *group) {
    for (unsigned i = 0; i < group->options->count; i++)
        if (group->clones[i].error.kind != ERROR_NONE)
            return &group->clones[i].error;
    return NULL;
}

static void undo(Group *group, bool all) {
    for (unsigned i = 0; i < group->options->count; i++)
        if (all || !group->clones[i].ready)
            undo_clone(group->home, &group->clones[i]);
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
        r = vm_describe(group->home, &group->clones[i].row, &vm, error);
        if (r >= 0)
            (void)json_array_append_new(vms, vm);
    }
    if (r < 0)
        return r;
    *answer = json_pack("{s:s, s:O, s:o}", "snapshot", group->snapshot.id, "vms", vms, "errors",
                        describe_errors(group));
    return 0;
}

/* One for all of them, made once it is known that they can have it. */
static int make_config_disk(Group *group, Error *error) {
    VmMounts mounts = group->snapshot.data.spec.mounts;
    int r;
    if (!group->options->config_disk)
        return 0;
    r = config_disk_replace(&mounts, &group->config, error);
    if (r >= 0)
        r = config_disk_make(group->home, group->operation, group->options->config_disk,
                             &group->config, error);
    group->shape.config = &group->config;
    return r;
}

int vm_fork(Home *home, Operation *operation, const ForkOptions *options, json_t **answer,
            Error *error) {
    _cleanup_config_disk_ Home *held = config_disk_hold(home, options->config_disk);
    _cleanup_(free_group) Group group = {.home = home,
                                         .operation = operation,
                                         .options = options,
                                         .shape = options->shape,
                                         .mutex = PTHREAD_MUTEX_INITIALIZER};
    int r = check_options(options, error);
    if (r < 0)
        return r;
    operation_enter(operation, "plan");
    r = find_source(home, operation, options->source, options->clone_volumes, &group.snapshot,
                    error);
    if (r >= 0)
        r = make_config_disk(&group, error);
    if (r >= 0)
        r = make_group(&group, error);
    if (r < 0)
        return r;
    note_lost_ports(&group);
    group.has_pool = pool_exists(home);

    parallel_run((size_t)MIN_OF((long)options->count, start_slots_max()), make_clones, &group);
    group.kept = group.ready == options->count || (options->keep_going && group.ready > 0);
    if (group.kept) {
        undo(&group, false);
        r = record_running(&group, error); /* all of them, or none */
        group.kept = r >= 0;
    } else {
        (void)error_move(error, first_error(&group));
        r = -EIO;
    }
    if (group.kept) {
        announce(&group);
        home_sync_later(home);
    } else {
        undo(&group, true);
    }
    home_pools_changed(home); /* not before: it would make the clones late */

    if (r < 0)
        return error_add_context(error, "cannot fork %s", options->source);
    return describe_group(&group, answer, error);
}
