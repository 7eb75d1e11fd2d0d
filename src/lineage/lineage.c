/* SPDX-License-Identifier: Apache-2.0 */

/* What grows from what, and what may go.
 *
 * A snapshot is needed by its children (snapshots whose VM grew from it, and diffs that stand on
 * its memory), by VMs that grew from it, and by VMs whose running memory or standby it is. All of
 * that is asked of the store each time. Who is about to make such a thing pins the snapshot first.
 *
 * Removal: row `removing` in the same transaction that found nobody needing it, files, row. A crash
 * in between is finished at the next start. */

#include "lineage/lineage.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "catalog/image_remove.h"
#include "catalog/users.h"
#include "frozen/hot_memory.h"
#include "frozen/layers.h"
#include "frozen/pins.h"
#include "frozen/snapshot_files.h"
#include "home/home.h"
#include "home/inside.h"
#include "storage/bases.h"
#include "store/disks/layers.h"
#include "store/lab/lab_snapshots.h"
#include "store/snapshots.h"
#include "store/store.h"
#include "store/vms.h"

#define COLLECT_AT_ONCE 64

/* ---- removing one ---- */

static int check_unused(Home *home, const SnapshotRow *row, Error *error) {
    _cleanup_free_ char *users = NULL;
    SnapshotUsers found = {0};
    char label[SNAPSHOT_LABEL_SIZE];
    int r = snapshots_count_users(home->store, row->id, &found, error);
    if (r < 0)
        return r;
    snapshot_label(row, label);
    r = users_check_pool(home, row->id, "snapshot", label, error);
    if (r < 0)
        return r;
    if (snapshot_is_pinned(home, row->id))
        return error_set(error, ERROR_CONFLICT, EBUSY, "snapshot %s is being forked", label);
    r = lab_snapshots_check_alone(home->store, row->id, error);
    if (r < 0)
        return error_add_context(error, "snapshot %s", label);
    if (found.snapshots + found.vms + found.mapped == 0)
        return 0;
    users = users_of_snapshot(home, row);
    error_set(error, ERROR_CONFLICT, EBUSY, "snapshot %s is needed by %s", label, users);
    error_set_hint(error, "remove those first, or all of it with --cascade");
    return -EBUSY;
}

static int mark_removing(Home *home, const SnapshotRow *row, Error *error) {
    SnapshotRow marked = *row;
    int r = store_begin(home->store, error);
    if (r < 0)
        return r;
    r = check_unused(home, row, error);
    if (r >= 0) {
        marked.state = SNAPSHOT_REMOVING;
        r = snapshots_update(home->store, &marked, error);
    }
    if (r < 0) {
        store_rollback(home->store);
        return r;
    }
    return store_commit(home->store, error);
}

int snapshot_delete(Home *home, const SnapshotRow *row, Error *error) {
    _cleanup_free_ char *path = snapshot_path(home, row->id, NULL);
    _cleanup_json_ json_t *detail = NULL;
    int r = mark_removing(home, row, error);
    if (r < 0)
        return r;
    hot_memory_drop(home, row->id);
    r = path_remove_tree(path);
    if (r < 0)
        return error_set_errno(error, -r, "cannot remove %s", path);
    r = snapshots_delete(home->store, row->id, error);
    if (r < 0)
        return r;
    detail = json_pack("{s:s, s:b}", "snapshot", row->id, "automatic", row->automatic);
    home_event(home, "snapshot.removed", NULL, *row->name ? row->name : NULL, detail);
    image_base_collect(home, row->image_digest);
    if (row->data.spec.mounts.count > 0)
        bases_collect(home);
    return 0;
}

/* ---- collecting ---- */

/* Returns how many went. */
static size_t collect_once(Home *home, json_t *names) {
    char ids[COLLECT_AT_ONCE][VM_ID_SIZE];
    size_t count = 0, gone = 0;
    if (snapshots_list_unused(home->store, ids, COLLECT_AT_ONCE, &count, NULL) < 0)
        return 0;
    for (size_t i = 0; i < count; i++) {
        _cleanup_snapshot_row_ SnapshotRow row = {0};
        _cleanup_error_ Error error = ERROR_INIT;
        if (snapshot_is_pinned(home, ids[i]) || snapshots_get(home->store, ids[i], &row, NULL) < 0)
            continue;
        if (snapshot_delete(home, &row, &error) >= 0) {
            gone++;
            snapshot_append_label(names, &row);
        } else if (error.kind != ERROR_CONFLICT) {
            log_warning("cannot remove snapshot %s: %s", ids[i], error_message(&error));
        }
    }
    return gone;
}

void lineage_collect_into(Home *home, json_t *names, size_t *layers) {
    _cleanup_error_ Error error = ERROR_INIT;
    while (collect_once(home, names) > 0) /* a parent may be free now */
        ;
    if (layers_collect(home, layers, &error) < 0)
        log_warning("cannot remove unused layers: %s", error_message(&error));
}

void lineage_collect(Home *home) {
    _cleanup_json_ json_t *names = json_array();
    lineage_collect_into(home, names, NULL);
}

int snapshot_undo(Home *home, const char *id) {
    _cleanup_free_ char *path = snapshot_path(home, id, NULL);
    _cleanup_error_ Error error = ERROR_INIT;
    int r;
    hot_memory_drop(home, id);
    r = path_remove_tree(path);
    if (r < 0) {
        log_warning("cannot remove %s: %s", path, strerror(-r));
        return r;
    }
    r = snapshots_delete(home->store, id, &error);
    if (r < 0)
        log_warning("cannot remove snapshot %s: %s", id, error_message(&error));
    return r;
}

/* ---- at the daemon's start ---- */

size_t lineage_finish_half_done(Home *home) {
    size_t count = 0, failures = 0;
    SnapshotRow *rows = NULL;
    if (snapshots_list(home->store, &rows, &count, NULL) < 0)
        return 1;
    for (size_t i = 0; i < count; i++) {
        if (rows[i].state == SNAPSHOT_READY)
            continue;
        log_info("reconcile: removing snapshot %s, which is half %s", rows[i].id,
                 rows[i].state == SNAPSHOT_CREATING ? "made" : "removed");
        failures += snapshot_undo(home, rows[i].id) < 0;
    }
    snapshot_rows_free(rows, count);
    return failures;
}

static bool has_row(Home *home, const char *folder, const char *name) {
    char id[VM_ID_SIZE];
    (void)snprintf(id, sizeof(id), "%.32s", name);
    if (str_equal(folder, "layers")) {
        _cleanup_(layer_row_free) LayerRow row = {0};
        return layers_get(home->store, id, &row, NULL) != -ENOENT;
    }
    {
        _cleanup_snapshot_row_ SnapshotRow row = {0};
        return snapshots_get(home->store, id, &row, NULL) != -ENOENT;
    }
}

static size_t remove_strays(Home *home, const char *folder) {
    int fd = openat(home->home_fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *entry;
    size_t failures = 0;
    if (!dir) {
        (void)fd_close(fd);
        return 1;
    }
    while ((entry = readdir(dir))) {
        if (entry->d_name[0] == '.' || has_row(home, folder, entry->d_name))
            continue;
        log_info("reconcile: removing %s/%s, which belongs to nothing", folder, entry->d_name);
        failures += path_remove_tree_at(dirfd(dir), entry->d_name) < 0;
    }
    (void)closedir(dir);
    return failures;
}

size_t lineage_reconcile(Home *home) {
    size_t failures = remove_strays(home, "snapshots");
    failures += remove_strays(home, "layers");
    lineage_collect(home);
    return failures;
}
