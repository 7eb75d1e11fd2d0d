/* SPDX-License-Identifier: Apache-2.0 */

/* One VM that grows from a snapshot: a row, a folder and an overlay like any VM, made in no time
 * since nothing is copied; its disk stands on the snapshot's layer and its memory on the snapshot's
 * base.
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
#include "qemu/argv.h"
#include "vm/boot_cache.h"
#include "vm/snapshot_internal.h"

#define CLONE_LEAST_BYTES (32 * MIB) /* what a clone takes for itself before it does anything */

/* --- turns -------------------------------------------------------------------------------------
 */

static pthread_once_t turns_once = PTHREAD_ONCE_INIT;
static int turns_fd = -1; /* a semaphore: its count is what is free */

long vm_turns_max(void) {
    return 2 * MAX_OF(sysconf(_SC_NPROCESSORS_ONLN), 1L);
}

static void turns_make(void) {
    turns_fd = eventfd((unsigned)vm_turns_max(), EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE);
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

int vm_grow_plan(const SnapshotRow *snapshot, const char *name, uint64_t disk_bytes, VmRow *row,
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

int vm_grow(Ramet *ramet, Operation *operation, const SnapshotRow *snapshot, const char *name,
            uint64_t disk_bytes, OpLock **lock, VmRow *row, Error *error) {
    _cleanup_error_ Error failure = ERROR_INIT;
    _cleanup_op_lock_ OpLock *taken = NULL;
    _cleanup_vm_row_ VmRow made = {0};
    int r = vm_grow_plan(snapshot, name, disk_bytes, &made, &failure);

    if (r >= 0)
        r = op_lock(ramet->locks, made.id, "being forked", operation->cancel_fd, &taken, &failure);
    if (r >= 0)
        r = vm_insert_row(ramet, &made, &failure);
    if (r < 0)
        return error_move(error, &failure);
    operation_enter(operation, "overlay");
    r = vm_make_folder(ramet, &made, false, &failure);
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
