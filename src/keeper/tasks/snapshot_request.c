/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/tasks/snapshot_request.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/fd.h"

#define FREEZE_TIMEOUT_USEC (60 * USEC_PER_SEC)

/* Each descriptor is moved once, so that nothing is closed twice. */
static int read_fd(const json_t *object, const char *key, int *fds, size_t n_fds, int *fd,
                   Error *error) {
    uint64_t index = 0;
    int r = json_get_u64("snapshot", object, key, &index, error);
    if (r == 0 && (index >= n_fds || fds[index] < 0))
        r = error_set(error, ERROR_USAGE, 0, "%s names a descriptor that is not there", key);
    if (r == 0)
        *fd = TAKE_FD(fds[index]);
    return r;
}

static int read_disk(Snapshot *snapshot, size_t index, const json_t *item, int *fds, size_t n_fds,
                     Error *error) {
    SnapshotDisk *disk = &snapshot->disks[snapshot->n_disks++];
    *disk = (SnapshotDisk){.index = index, .fd = -1, .fd_write = -1};
    int r = read_fd(item, "fd", fds, n_fds, &disk->fd, error);
    return r < 0 ? r : read_fd(item, "fd_write", fds, n_fds, &disk->fd_write, error);
}

/* One item for each disk that is written to, or none at all; null for one that stays as it is. */
static int read_disks(Snapshot *snapshot, const json_t *list, int *fds, size_t n_fds,
                      Error *error) {
    const Plan *plan = &snapshot->vm->plan;
    size_t n_items = json_array_size(list), n_written = 0;
    int r = 0;
    for (size_t i = 0; r == 0 && i < plan->n_disks && n_items > 0; i++) {
        if (plan->disks[i].read_only)
            continue;
        const json_t *item = json_array_get(list, n_written++);
        if (!json_is_null(item))
            r = read_disk(snapshot, i, item, fds, n_fds, error);
    }
    if (r == 0 && n_items != n_written)
        r = error_set(error, ERROR_USAGE, 0, "overlays came for %zu disks, the VM has %zu", n_items,
                      n_written);
    return r;
}

static int check_capture_fd(const Snapshot *snapshot, Error *error) {
    struct stat file;
    if (fstat(snapshot->capture_fd, &file) == 0 && S_ISREG(file.st_mode) &&
        (uint64_t)file.st_size == snapshot->vm->plan.memory_bytes && file.st_blocks == 0)
        return 0;
    return error_set(error, ERROR_USAGE, 0, "capture_fd is no empty file of the memory's size");
}

int snapshot_request_read(Snapshot *snapshot, const json_t *request, int *fds, size_t n_fds,
                          Error *error) {
    bool freeze = true;
    int r = json_opt_bool("snapshot", request, "freeze", &freeze, error);
    snapshot->freeze_timeout_usec = FREEZE_TIMEOUT_USEC;
    if (r == 0)
        r = json_opt_u64("snapshot", request, "freeze_timeout_us", &snapshot->freeze_timeout_usec,
                         error);
    if (r == 0)
        r = json_opt_bool("snapshot", request, "stay_paused", &snapshot->stay_paused, error);
    if (r == 0)
        r = read_fd(request, "state_fd", fds, n_fds, &snapshot->state_fd, error);
    if (r == 0 && (fcntl(snapshot->state_fd, F_GETFL) & O_ACCMODE) != O_WRONLY)
        r = error_set(error, ERROR_USAGE, 0, "state_fd is not open for writing only");
    if (r == 0)
        r = read_fd(request, "memory_fd", fds, n_fds, &snapshot->memory_fd, error);
    if (r == 0)
        r = read_fd(request, "capture_fd", fds, n_fds, &snapshot->capture_fd, error);
    if (r == 0)
        r = check_capture_fd(snapshot, error);
    if (r == 0)
        r = json_opt_bool("snapshot", request, "whole", &snapshot->whole, error);
    if (r == 0)
        r = json_opt_bool("snapshot", request, "full", &snapshot->wants_full, error);
    if (r == 0)
        r = json_opt_bool("snapshot", request, "unwritten", &snapshot->unwritten, error);
    if (r == 0)
        r = json_opt_bool("snapshot", request, "adopt", &snapshot->wants_adoption, error);
    if (r == 0)
        r = json_opt_bool("snapshot", request, "group", &snapshot->in_group, error);
    if (r == 0)
        r = read_disks(snapshot, json_object_get(request, "disks"), fds, n_fds, error);
    snapshot->wants_freeze = freeze;
    snapshot->for_fork = freeze && !snapshot->stay_paused;
    return r;
}
