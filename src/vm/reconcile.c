/* SPDX-License-Identifier: Apache-2.0 */

/* Making the store and the world agree after the daemon was away.
 *
 * In this order: scratch goes; half made and half removed VMs go; each VM that may run is settled
 * (its keeper is asked, see settle.c); --rm VMs whose client is gone, or that do not run, go;
 * folders that belong to no VM go; half made and half removed snapshots go, and what nothing needs
 * (lineage.c), and bases for which nothing stands. Digests of images that are not known yet are
 * computed. Every failure is logged and counted, and none stops the rest: the VMs that can be taken
 * over are taken over. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "disk/base_file.h"
#include "proto/keeper.h"
#include "vm/boot_cache.h"
#include "vm/image_digest.h"
#include "vm/pool_internal.h"
#include "vm/vm.h"

#define ASK_TIMEOUT_USEC (30 * USEC_PER_SEC)

static size_t complain(int r, const char *what, const char *name, Error *error) {
    if (r >= 0)
        return 0;
    log_warning("reconcile: %s %s: %s", what, name, error_message(error));
    return 1;
}

/* --- folders
 * ------------------------------------------------------------------------------------------ */

/* Calls for each name below dir_fd. */
static size_t for_each_name(Ramet *ramet, int dir_fd,
                            size_t (*call)(Ramet *ramet, int dir_fd, const char *name)) {
    int copy = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
    struct dirent *entry;
    size_t failures = 0;

    if (!dir) {
        (void)fd_close(copy);
        return 1;
    }
    while ((entry = readdir(dir)))
        if (!str_equal(entry->d_name, ".") && !str_equal(entry->d_name, ".."))
            failures += call(ramet, dir_fd, entry->d_name);
    (void)closedir(dir);
    return failures;
}

static size_t remove_name(Ramet *ramet, int dir_fd, const char *name) {
    _cleanup_error_ Error error = ERROR_INIT;
    int r = path_remove_tree_at(dir_fd, name);

    if (r < 0)
        (void)error_set_errno(&error, -r, "cannot remove it");
    return complain(r, "leftover", name, &error);
}

static size_t empty_tmp(Ramet *ramet) {
    _cleanup_close_ int fd = openat(ramet->home_fd, "tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 ? 1 : for_each_name(ramet, fd, remove_name);
}

/* A keeper may still sit in the folder of a VM that the store lost. Its QEMU ends by its hand. */
static void kill_stray(int dir_fd, const char *name) {
    _cleanup_json_ json_t *request = json_pack("{s:s}", "op", "kill"), *ok = NULL;
    _cleanup_close_ int vm_fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (vm_fd >= 0)
        (void)keeper_call(vm_fd, request, NULL, 0, clock_monotonic_usec() + ASK_TIMEOUT_USEC, -1,
                          NULL, NULL, &ok, NULL);
}

static size_t remove_stray_folder(Ramet *ramet, int dir_fd, const char *name) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_vm_row_ VmRow row = {0};
    int r = vms_get(ramet->store, name, &row, &error);

    if (r >= 0)
        return 0;
    if (r != -ENOENT)
        return complain(r, "folder", name, &error);
    log_info("reconcile: removing vms/%s, which belongs to no VM", name);
    kill_stray(dir_fd, name);
    return remove_name(ramet, dir_fd, name);
}

/* --- bases
 * ------------------------------------------------------------------------------------------------
 */

static int count_uses(Ramet *ramet, const char *id, size_t *uses, Error *error) {
    size_t images = 0, vms = 0, snapshots = 0;
    int r = images_count_digest(ramet->store, id, &images, error);

    if (r >= 0)
        r = vms_count_digest(ramet->store, id, &vms, error);
    if (r >= 0)
        r = snapshots_count_digest(ramet->store, id, &snapshots, error);
    *uses = images + vms + snapshots;
    return r;
}

/* A base that was published by a daemon that died before the image had its row. One with another
 * name beside this is left: that name may be the one that is used (docs/image-digest.md). */
static size_t remove_stray_base(Ramet *ramet, int dir_fd, const char *name) {
    _cleanup_error_ Error error = ERROR_INIT;
    char id[BASE_ID_SIZE];
    struct stat info;
    size_t uses;
    int r;

    if (base_id_from_name(name, id) < 0 || fstatat(dir_fd, name, &info, AT_SYMLINK_NOFOLLOW) < 0 ||
        info.st_nlink > 1)
        return 0;
    r = count_uses(ramet, id, &uses, &error);
    if (r < 0 || uses > 0)
        return complain(r, "base", name, &error);
    log_info("reconcile: removing images/%s, for which no image stands", name);
    return remove_name(ramet, dir_fd, name);
}

static size_t remove_stray_bases(Ramet *ramet) {
    _cleanup_close_ int fd = openat(ramet->home_fd, "images", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 ? 0 : for_each_name(ramet, fd, remove_stray_base);
}

/* --- VMs
 * ------------------------------------------------------------------------------------------------
 */

/* Has the client of an attached --rm VM gone? Only a keeper that says so counts. */
static bool owner_is_gone(Ramet *ramet, const VmRow *row) {
    _cleanup_json_ json_t *request = json_pack("{s:s}", "op", "status"), *status = NULL;
    _cleanup_close_ int dir_fd = -1;

    if (!row->remove || !row->attached || str_equal(row->state, STATE_UNKNOWN))
        return false;
    if (vm_folder_open(ramet, row->id, &dir_fd, NULL) < 0 ||
        keeper_call(dir_fd, request, NULL, 0, clock_monotonic_usec() + ASK_TIMEOUT_USEC, -1, NULL,
                    NULL, &status, NULL) < 0)
        return false;
    return json_is_true(json_object_get(status, "owner_gone"));
}

/* Warm clones stay when their keepers say so; what was booted for the boot cache does not. */
static int reconcile_hidden(Ramet *ramet, VmRow *row, Error *error) {
    RunEnd end = RUN_GOES_ON;
    int r = 0;

    if (str_equal(row->state, STATE_WARM))
        r = vm_settle_locked(ramet, row, &end, error);
    if (r < 0 || end == RUN_REMOVED || str_equal(row->state, STATE_WARM))
        return r;
    return vm_remove_locked(ramet, row, error);
}

static int reconcile_row(Ramet *ramet, OpLock *lock, VmRow *row, Error *error) {
    RunEnd end = RUN_GOES_ON;
    int r;

    if (state_is_hidden(row->state))
        return vm_remove_locked(ramet, row, error);
    if (*row_text(row, "hidden"))
        return reconcile_hidden(ramet, row, error);
    if (!state_is_active(row->state) && *layer_freezing_file(row)) {
        r = layer_freeze_settle(ramet, row, false, error); /* nobody has written to either */
        if (r < 0)
            return r;
    }
    if (str_equal(row->state, STATE_STANDBY))
        return vm_reconcile_standby(ramet, row, error);
    r = vm_settle_locked(ramet, row, &end, error);
    if (r < 0 || end == RUN_REMOVED)
        return r;
    if (end == RUN_REBOOTS)
        return vm_start_again(ramet, lock, row, error);
    if (!state_is_active(row->state))
        return row->remove ? vm_remove_locked(ramet, row, error) : 0;
    if (owner_is_gone(ramet, row))
        return vm_stop_locked(ramet, row, "kill", 0, -1, NULL, error);
    return 0;
}

static size_t reconcile_vm(Ramet *ramet, const VmRow *found) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_vm_row_ VmRow row = {0};
    int r = row_lock(ramet, found->id, "being taken over", -1, &lock, &row, &error);

    if (r >= 0)
        r = reconcile_row(ramet, lock, &row, &error);
    return complain(r, "VM", found->name, &error);
}

static size_t reconcile_vms(Ramet *ramet) {
    _cleanup_error_ Error error = ERROR_INIT;
    size_t count = 0, failures = 0;
    VmRow *rows = NULL;
    int r = vms_list(ramet->store, &rows, &count, &error);

    if (r < 0)
        return complain(r, "the", "VMs", &error);
    for (size_t i = 0; i < count; i++)
        failures += reconcile_vm(ramet, &rows[i]);
    vm_rows_free(rows, count);
    return failures;
}

size_t ramet_reconcile(Ramet *ramet) {
    _cleanup_json_ json_t *detail = NULL;
    size_t failures = 0;

    failures += empty_tmp(ramet);
    failures += reconcile_vms(ramet);
    failures += for_each_name(ramet, ramet->vms_fd, remove_stray_folder);
    failures += lineage_reconcile(ramet);
    failures += remove_stray_bases(ramet);
    boot_cache_reconcile(ramet);
    image_digests_reconcile(ramet);
    pools_start(ramet);
    detail = json_pack("{s:i, s:I}", "pid", (int)getpid(), "failures", (json_int_t)failures);
    ramet_event(ramet, "daemon.started", NULL, NULL, detail);
    return failures;
}
