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
 * sync_later sees to it right after the answer.
 *
 * As many clones start at a time as there are cores, in all requests together: starting QEMU is
 * work for a processor, and more of them at once only make all of them late. */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/log.h"
#include "qemu/argv.h"
#include "vm/boot_cache.h"
#include "vm/pool_internal.h"
#include "vm/snapshot_internal.h"
#include "vm/vm.h"

#define CLONE_LEAST_BYTES (32 * MIB) /* what a clone takes for itself before it does anything */

/* --- turns -------------------------------------------------------------------------------------
 */

static pthread_once_t turns_once = PTHREAD_ONCE_INIT;
static int turns_fd = -1; /* a semaphore: its count is what is free */

static long turns_max(void) {
    return MAX_OF(sysconf(_SC_NPROCESSORS_ONLN), 1L);
}

static void turns_make(void) {
    turns_fd = eventfd((unsigned)turns_max(), EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE);
}

/* Waits as long as the client does. */
static int turn_take(int cancel_fd, Error *error) {
    struct pollfd fds[2] = {{.events = POLLIN}, {.fd = cancel_fd, .events = POLLIN}};
    eventfd_t one;

    (void)pthread_once(&turns_once, turns_make);
    fds[0].fd = turns_fd;
    while (eventfd_read(turns_fd, &one) < 0) {
        if (errno != EAGAIN && errno != EINTR)
            return error_set_errno(error, errno, "cannot wait for a turn");
        if (poll(fds, 2, -1) > 0 && fds[1].revents)
            return error_set(error, ERROR_CANCELLED, ECANCELED, "the client went away");
    }
    return 0;
}

static void turn_give(void) {
    (void)eventfd_write(turns_fd, 1);
}

/* --- growing one -------------------------------------------------------------------------------
 */

static int fill_row(const SnapshotRow *snapshot, const char *name, uint64_t disk_bytes, VmRow *row,
                    Error *error) {
    const json_t *spec = json_object_get(snapshot->data, "spec");
    uint64_t bytes = (uint64_t)json_integer_value(json_object_get(spec, "disk_bytes"));
    _cleanup_free_ char *id = random_hex(16), *hostname = identity_hostname(name, id);
    bool user = str_equal(json_string_value(json_object_get(spec, "network")), "user");

    if (disk_bytes && disk_bytes < bytes)
        return error_set(error, ERROR_USAGE, EINVAL, "a disk only grows: it has %llu MiB already",
                         (unsigned long long)(bytes / MIB));
    *row = (VmRow){.created_at_usec = clock_realtime_usec(),
                   .state = STATE_CREATING,
                   .spec = json_deep_copy(spec)};
    (void)json_object_set_new(row->spec, "name", json_string(name));
    (void)json_object_set_new(row->spec, "forwards", json_array());
    (void)json_object_set_new(row->spec, "remove", json_false());
    if (disk_bytes)
        (void)json_object_set_new(row->spec, "disk_bytes",
                                  json_integer((json_int_t)(disk_bytes + 511) / 512 * 512));
    (void)snprintf(row->id, sizeof(row->id), "%s", id);
    (void)snprintf(row->name, sizeof(row->name), "%s", name);
    (void)snprintf(row->image, sizeof(row->image), "%s", snapshot->image);
    (void)snprintf(row->image_digest, sizeof(row->image_digest), "%s", snapshot->image_digest);
    (void)snprintf(row->snapshot, sizeof(row->snapshot), "%s", snapshot->id);
    row_set(row, "hostname", json_string(hostname));
    row_set(row, "ip", user ? json_string(QEMU_USER_GUEST) : NULL);
    row_set(row, "base", json_string(snapshot_text(snapshot, "base_path")));
    row_set(row, "kernel_key", json_string(snapshot_text(snapshot, "kernel_key")));
    row_set(row, "initramfs_key", json_string(snapshot_text(snapshot, "initramfs_key")));
    if (*snapshot->layer)
        row_set(row, "layer", json_string(snapshot->layer));
    return 0;
}

static int make_folder(Ramet *ramet, const VmRow *row, Error *error) {
    uint64_t bytes = (uint64_t)json_integer_value(json_object_get(row->spec, "disk_bytes"));
    _cleanup_close_ int dir_fd = -1;
    int r;

    if (mkdirat(ramet->vms_fd, row->id, 0700) < 0)
        return error_set_errno(error, errno, "cannot make %s/vms/%s", ramet->home, row->id);
    r = vm_folder_open(ramet, row->id, &dir_fd, error);
    if (r >= 0)
        r = layer_make_overlay(ramet, row, dir_fd, vm_disk_file(row), row_text(row, "layer"),
                               row_text(row, "base"), bytes, false, error);
    if (r >= 0 && row->uid && fchown(dir_fd, row->uid, row->uid) < 0)
        r = error_set_errno(error, errno, "cannot give the VM's folder to user %u", row->uid);
    return r;
}

int vm_grow(Ramet *ramet, Operation *operation, const SnapshotRow *snapshot, const char *name,
            uint64_t disk_bytes, OpLock **lock, VmRow *row, Error *error) {
    _cleanup_error_ Error failure = ERROR_INIT;
    _cleanup_op_lock_ OpLock *taken = NULL;
    _cleanup_vm_row_ VmRow made = {0};
    int r = fill_row(snapshot, name, disk_bytes, &made, &failure);

    if (r >= 0)
        r = op_lock(ramet->locks, made.id, "being forked", operation->cancel_fd, &taken, &failure);
    if (r >= 0)
        r = vm_insert_row(ramet, &made, &failure);
    if (r < 0)
        return error_move(error, &failure);
    operation_enter(operation, "overlay");
    r = make_folder(ramet, &made, &failure);
    if (r < 0) {
        (void)vm_remove_locked(ramet, &made, NULL);
        return error_move(error, &failure);
    }
    *row = made;
    made = (VmRow){0};
    *lock = TAKE_PTR(taken);
    return 0;
}

int vm_restore(Ramet *ramet, Operation *operation, VmRow *row, const Restore *restore,
               int cancel_fd, Error *error) {
    bool silent;
    int r;

    r = turn_take(cancel_fd, error);
    if (r < 0)
        return r;
    r = operation_check(operation, error);
    if (r >= 0)
        r = admission_check_memory(CLONE_LEAST_BYTES, error);
    if (r >= 0)
        r = vm_launch_from(ramet, operation, row, restore, cancel_fd, &silent, error);
    turn_give();
    if (r < 0)
        return r;
    r = vm_grow_disk(ramet, operation, row, restore->snapshot, error);
    if (r < 0)
        (void)vm_end_processes(ramet, row, NULL);
    return r;
}

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
    int r =
        fill_row(group->snapshot, clone->name, group->options->disk_bytes, &planned, &clone->error);

    if (r < 0)
        return r;
    return pool_claim(group->ramet, &clone->operation, group->snapshot, &planned, &clone->lock,
                      &clone->row, failure, &clone->error);
}

static int fork_clone(Group *group, Clone *clone) {
    const Restore restore = {.snapshot = group->snapshot, .boot = "forked", .clone = true};
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
    long most = MIN_OF(turns_max(), 64L);
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
    snapshot_unpin(ramet, snapshot.id);
    if (r < 0 && snapshot.automatic)
        lineage_collect(ramet);
    return r;
}
