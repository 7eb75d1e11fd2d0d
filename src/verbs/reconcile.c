/* SPDX-License-Identifier: Apache-2.0 */

/* Making the store and the world agree after the daemon was away, in two parts.
 *
 * Before anybody is served: scratch goes, half made and half removed snapshots and bases for which
 * nothing stands go, and each VM that may run or is to go gets locked. That is quick. From here on
 * requests are served: a VM that is still locked is shown as `unknown`, and operations on it wait
 * for the lock as for any other.
 *
 * Then (requests wait for a few seconds, within which all of it is done as a rule), a few at a
 * time, since a keeper may take long to answer: half made and half removed VMs go; each VM that may
 * run is refreshed (its keeper is asked, see machine/refresh.c); --rm VMs whose client is gone, or
 * that do not run, go. In the end folders that belong to no VM go, and what nothing needs
 * (lineage.c). Every failure is logged and counted, and none stops the rest: the VMs that can be
 * taken over are taken over. When the daemon ends before that, the next one begins anew. */

#include "verbs/reconcile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/log.h"
#include "base/parallel.h"
#include "base/path.h"
#include "base/str.h"
#include "catalog/image_remove.h"
#include "disk/base_file.h"
#include "frozen/behind.h"
#include "frozen/layers.h"
#include "home/home.h"
#include "home/inside.h"
#include "home/op_lock.h"
#include "home/row.h"
#include "lineage/lineage.h"
#include "machine/refresh.h"
#include "machine/remove.h"
#include "machine/standby.h"
#include "machine/stop.h"
#include "pool/boot_cache.h"
#include "pool/pool_fill.h"
#include "proto/keeper.h"
#include "run/run_end.h"
#include "storage/bases.h"
#include "storage/volumes.h"
#include "store/images.h"
#include "store/vms.h"

#define ASK_TIMEOUT_USEC (30 * USEC_PER_SEC)
#define RECONCILE_THREADS 8 /* each waits for a keeper, mostly */

typedef struct Reconcile Reconcile;

static size_t complain(int r, const char *what, const char *name, Error *error) {
    if (r >= 0)
        return 0;
    log_warning("reconcile: %s %s: %s", what, name, error_message(error));
    return 1;
}

/* --- folders
 * ------------------------------------------------------------------------------------------ */

/* Calls for each name below dir_fd. */
static size_t for_each_name(Home *home, int dir_fd,
                            size_t (*call)(Home *home, int dir_fd, const char *name)) {
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
            failures += call(home, dir_fd, entry->d_name);
    (void)closedir(dir);
    return failures;
}

static size_t remove_name(Home *home, int dir_fd, const char *name) {
    _cleanup_error_ Error error = ERROR_INIT;
    int r = path_remove_tree_at(dir_fd, name);
    if (r < 0)
        (void)error_set_errno(&error, -r, "cannot remove it");
    return complain(r, "leftover", name, &error);
}

static size_t empty_tmp(Home *home) {
    _cleanup_close_ int fd = openat(home->home_fd, "tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? 1 : for_each_name(home, fd, remove_name);
}

/* A keeper may still sit in the folder of a VM that the store lost. Its QEMU ends by its hand. */
static void kill_stray(int dir_fd, const char *name) {
    _cleanup_json_ json_t *request = json_pack("{s:s}", "op", "kill"), *ok = NULL;
    _cleanup_close_ int vm_fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (vm_fd >= 0)
        (void)keeper_call(vm_fd, request, NULL, 0, clock_monotonic_usec() + ASK_TIMEOUT_USEC, -1,
                          NULL, NULL, &ok, NULL);
}

static size_t remove_stray_folder(Home *home, int dir_fd, const char *name) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_vm_row_ VmRow row = {0};
    int r = vms_get(home->store, name, &row, &error);
    if (r >= 0)
        return 0;
    if (r != -ENOENT)
        return complain(r, "folder", name, &error);
    log_info("reconcile: removing vms/%s, which belongs to no VM", name);
    kill_stray(dir_fd, name);
    return remove_name(home, dir_fd, name);
}

/* --- bases
 * ------------------------------------------------------------------------------------------------
 */

/* Those that are used get the name that this version knows them by. */
static size_t migrate_base(Home *home, int dir_fd, const char *name) {
    _cleanup_error_ Error error = ERROR_INIT;
    char id[BASE_ID_SIZE];
    size_t uses;
    (void)dir_fd;
    if (base_id_from_name(name, id) < 0)
        return 0;
    int r = images_count_uses(home->store, id, &uses, &error);
    if (r >= 0 && uses > 0)
        r = image_base_migrate(home, id, &error);
    return complain(r, "base", name, &error);
}

/* A daemon died before the image had its row, or after it had none any more. What disks of earlier
 * versions name goes with the name that is known (docs/image-digest.md). */
static size_t collect_base(Home *home, int dir_fd, const char *name) {
    char id[BASE_ID_SIZE];
    struct stat info;
    if (base_id_from_name(name, id) >= 0 &&
        fstatat(dir_fd, name, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
        (info.st_nlink == 1 || !str_has_prefix(id, BASE_SOURCE_PREFIX)))
        image_base_collect(home, id);
    return 0;
}

static size_t reconcile_bases(Home *home) {
    _cleanup_close_ int fd = openat(home->home_fd, "images", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? 0
                  : for_each_name(home, fd, migrate_base) + for_each_name(home, fd, collect_base);
}

/* --- VMs
 * ------------------------------------------------------------------------------------------------
 */

/* Has the client of an attached --rm VM gone? Only a keeper that says so counts. */
static bool owner_is_gone(Home *home, const VmRow *row) {
    _cleanup_json_ json_t *request = json_pack("{s:s}", "op", "status"), *status = NULL;
    _cleanup_close_ int dir_fd = -1;
    if (!row->remove || !row->attached || row->state == STATE_UNKNOWN)
        return false;
    if (vm_folder_open(home, row->id, &dir_fd, NULL) < 0 ||
        keeper_call(dir_fd, request, NULL, 0, clock_monotonic_usec() + ASK_TIMEOUT_USEC, -1, NULL,
                    NULL, &status, NULL) < 0)
        return false;
    return json_is_true(json_object_get(status, "owner_gone"));
}

/* Warm clones stay when their keepers say so; what was booted for the boot cache does not. */
static int reconcile_hidden(Home *home, VmRow *row, Error *error) {
    RunEnd end = RUN_GOES_ON;
    int r = 0;
    if (row->state == STATE_WARM)
        r = vm_refresh_locked(home, row, &end, error);
    if (r < 0 || end == RUN_REMOVED || row->state == STATE_WARM)
        return r;
    return vm_remove_locked(home, row, error);
}

static int reconcile_row(Home *home, OpLock *lock, VmRow *row, Error *error) {
    RunEnd end = RUN_GOES_ON;
    int r;
    if (vm_state_is_hidden(row->state))
        return vm_remove_locked(home, row, error);
    if (*row->runtime.hidden)
        return reconcile_hidden(home, row, error);
    if (!vm_state_is_active(row->state) && layer_is_freezing(row)) {
        r = layer_freeze_recover(home, row, false, error); /* nobody has written to either */
        if (r < 0)
            return r;
    }
    if (row->state == STATE_STANDBY)
        return vm_reconcile_standby(home, row, error);
    r = vm_refresh_locked(home, row, &end, error);
    if (r < 0 || end == RUN_REMOVED)
        return r;
    if (end == RUN_REBOOTS)
        return vm_start_after_reboot(home, lock, row, error);
    if (!vm_state_is_active(row->state))
        return row->remove ? vm_remove_locked(home, row, error) : 0;
    if (owner_is_gone(home, row))
        return vm_stop_locked(home, row, "abandon", 0, -1, NULL, error);
    return 0;
}

/* --- those that nobody has looked at yet
 * ------------------------------------------------------------
 */

typedef struct Pending {
    char id[VM_ID_SIZE];
    char name[NAME_SIZE];
    OpLock *lock; /* owned until it is reconciled; NULL: it is */
} Pending;

struct Reconcile {
    Home *home; /* borrowed */
    size_t count;
    Pending *vms; /* owned */
    size_t next;  /* the first that nobody works on; this and failures: with the mutex */
    size_t failures;
};

/* What refreshing would find nothing to do for. */
static bool is_consistent(const VmRow *row) {
    return !row->remove && !vm_state_is_active(row->state) && !row_is_hidden(row) &&
           row->state != STATE_STANDBY && !layer_is_freezing(row);
}

/* Nobody else has locks yet. */
static size_t lock_vm(Reconcile *reconcile, const VmRow *row) {
    Pending *vm = &reconcile->vms[reconcile->count];
    _cleanup_error_ Error error = ERROR_INIT;
    int r;
    if (is_consistent(row))
        return 0;
    (void)snprintf(vm->id, sizeof(vm->id), "%s", row->id);
    (void)snprintf(vm->name, sizeof(vm->name), "%s", row->name);
    r = op_lock(reconcile->home->locks, row->id, OP_TAKING_OVER, -1, &vm->lock, &error);
    reconcile->count += r >= 0;
    return complain(r, "VM", row->name, &error);
}

static size_t lock_vms(Reconcile *reconcile) {
    _cleanup_error_ Error error = ERROR_INIT;
    size_t count = 0, failures = 0;
    VmRow *rows = NULL;
    int r = vms_list(reconcile->home->store, &rows, &count, &error);
    if (r < 0)
        return complain(r, "the", "VMs", &error);
    reconcile->vms = calloc(count + 1, sizeof(*reconcile->vms));
    if (!reconcile->vms)
        abort();
    for (size_t i = 0; i < count; i++)
        failures += lock_vm(reconcile, &rows[i]);
    vm_rows_free(rows, count);
    return failures;
}

static size_t reconcile_pending(Home *home, const Pending *vm) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_vm_row_ VmRow row = {0};
    int r = vms_get(home->store, vm->id, &row, &error);
    if (r >= 0)
        r = reconcile_row(home, vm->lock, &row, &error);
    return r == -ENOENT || r == -ECANCELED ? 0 : complain(r, "VM", vm->name, &error);
}

static Pending *next_pending(Reconcile *reconcile) {
    Home *home = reconcile->home;
    Pending *vm = NULL;
    (void)pthread_mutex_lock(&home->mutex);
    if (reconcile->next < reconcile->count)
        vm = &reconcile->vms[reconcile->next++];
    (void)pthread_mutex_unlock(&home->mutex);
    return vm;
}

static void release_pending(Reconcile *reconcile, Pending *vm, size_t failures) {
    OpLock *lock;
    (void)pthread_mutex_lock(&reconcile->home->mutex);
    reconcile->failures += failures;
    lock = TAKE_PTR(vm->lock);
    (void)pthread_mutex_unlock(&reconcile->home->mutex);
    (void)op_unlock(lock);
}

static void reconcile_thread(void *data) {
    Reconcile *reconcile = data;
    Pending *vm;
    while ((vm = next_pending(reconcile)))
        release_pending(reconcile, vm,
                        home_is_closing(reconcile->home) ? 0
                                                         : reconcile_pending(reconcile->home, vm));
}

/* --- the two parts -----------------------------------------------------------------------------
 */

void home_reconcile_begin(Home *home) {
    Reconcile *reconcile = calloc(1, sizeof(*reconcile));
    if (!reconcile)
        abort();
    reconcile->home = home;
    reconcile->failures = empty_tmp(home) + lineage_finish_half_done(home);
    reconcile->failures += reconcile_bases(home);
    reconcile->failures += lock_vms(reconcile);
    (void)pthread_mutex_lock(&home->mutex);
    home->reconcile = reconcile;
    (void)pthread_mutex_unlock(&home->mutex);
    pools_start(home);
}

static Reconcile *forget(Home *home) {
    Reconcile *reconcile;
    (void)pthread_mutex_lock(&home->mutex);
    reconcile = TAKE_PTR(home->reconcile);
    (void)pthread_mutex_unlock(&home->mutex);
    return reconcile;
}

size_t home_reconcile_finish(Home *home) {
    Reconcile *reconcile = home->reconcile;
    _cleanup_json_ json_t *detail = NULL;
    size_t failures;
    parallel_run(MIN_OF(reconcile->count, (size_t)RECONCILE_THREADS), reconcile_thread, reconcile);
    (void)forget(home);
    failures = reconcile->failures;
    free(reconcile->vms);
    free(reconcile);
    if (home_is_closing(home))
        return failures;
    failures += for_each_name(home, home->vms_fd, remove_stray_folder);
    failures += lineage_reconcile(home);
    bases_collect(home);
    volumes_collect(home);
    boot_cache_reconcile(home);
    snapshots_finish_later(home);
    home_pools_changed(home);
    detail = json_pack("{s:i, s:I}", "pid", (int)getpid(), "failures", (json_int_t)failures);
    home_event(home, "daemon.started", NULL, NULL, detail);
    (void)eventfd_write(home->reconciled_fd, 1);
    return failures;
}

static void finish_later(Home *home, void *data) {
    (void)data;
    (void)home_reconcile_finish(home);
}

void home_reconcile_later(Home *home) {
    if (home_work(home, finish_later, NULL) < 0)
        (void)home_reconcile_finish(home);
}

void home_await_reconciled(Home *home, uint64_t timeout_usec) {
    struct pollfd item = {.fd = home->reconciled_fd, .events = POLLIN};
    uint64_t end_usec = clock_monotonic_usec() + timeout_usec;
    while (poll(&item, 1, clock_poll_timeout(end_usec)) < 0 && errno == EINTR)
        ;
}

size_t home_reconcile(Home *home) {
    home_reconcile_begin(home);
    return home_reconcile_finish(home);
}
