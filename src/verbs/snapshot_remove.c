/* SPDX-License-Identifier: Apache-2.0 */

/* `snapshot rm`: the snapshot alone, or with all that grows from it. */

#include <errno.h>

#include "base/json.h"
#include "base/str.h"
#include "catalog/users.h"
#include "home/home.h"
#include "home/inside.h"
#include "home/operation.h"
#include "lineage/lineage.h"
#include "pool/pool.h"
#include "store/lab/lab_snapshots.h"
#include "store/snapshots.h"
#include "store/vms.h"
#include "verbs/verbs.h"

typedef struct Cascade {
    Home *home;           /* borrowed */
    Operation *operation; /* borrowed */
    json_t *snapshots;    /* owned: what went */
    json_t *vms;
} Cascade;

/* One that is gone by now is no failure: a fork that was cancelled took it back itself. */
static int remove_vm(Cascade *cascade, const VmRow *vm, Error *error) {
    _cleanup_error_ Error trouble = ERROR_INIT;
    int r = vm_remove(cascade->home, cascade->operation, vm->id, true, NULL, &trouble);
    if (r < 0)
        return trouble.kind == ERROR_NOT_FOUND ? 0 : error_move(error, &trouble);
    (void)json_array_append_new(cascade->vms, json_string(vm->name));
    return 0;
}

static int remove_vms(Cascade *cascade, const char *id, Error *error) {
    size_t count = 0;
    VmRow *rows = NULL;
    int r = vms_list(cascade->home->store, &rows, &count, error);
    for (size_t i = 0; r >= 0 && i < count; i++)
        if (vm_needs_snapshot(&rows[i], id))
            r = remove_vm(cascade, &rows[i], error);
    vm_rows_free(rows, count);
    return r;
}

static int cascade_remove(Cascade *cascade, const char *id, unsigned depth, Error *error);

static int remove_children(Cascade *cascade, const char *id, unsigned depth, Error *error) {
    size_t count = 0;
    SnapshotRow *rows = NULL;
    int r = snapshots_list(cascade->home->store, &rows, &count, error);
    for (size_t i = 0; r >= 0 && i < count; i++)
        if (!str_equal(rows[i].id, id) &&
            (str_equal(rows[i].parent, id) || str_equal(rows[i].base, id)))
            r = cascade_remove(cascade, rows[i].id, depth + 1, error);
    snapshot_rows_free(rows, count);
    return r;
}

/* Children before parents, VMs before snapshots. */
static int cascade_remove(Cascade *cascade, const char *id, unsigned depth, Error *error) {
    _cleanup_snapshot_row_ SnapshotRow row = {0};
    int r;
    if (depth > 1000)
        return error_set(error, ERROR_CORRUPT, ELOOP, "snapshots grow from each other");
    r = pool_forget(cascade->home, cascade->operation, id, error);
    if (r >= 0)
        r = remove_vms(cascade, id, error);
    if (r >= 0)
        r = remove_children(cascade, id, depth, error);
    if (r < 0)
        return r;
    if (snapshots_get(cascade->home->store, id, &row, NULL) < 0)
        return 0; /* an automatic one went with its VM */
    r = snapshot_delete(cascade->home, &row, error);
    if (r >= 0)
        snapshot_append_label(cascade->snapshots, &row);
    return r;
}

static int remove_found(Cascade *all, const SnapshotRow *row, bool cascade, Error *error) {
    int r = lab_snapshots_check_alone(all->home->store, row->id, error);
    if (r >= 0 && cascade)
        return cascade_remove(all, row->id, 0, error);
    if (r >= 0)
        r = snapshot_delete(all->home, row, error);
    if (r >= 0)
        snapshot_append_label(all->snapshots, row);
    return r;
}

int snapshot_remove(Home *home, Operation *operation, const char *reference, bool cascade,
                    json_t **removed, Error *error) {
    _cleanup_json_ json_t *snapshots = json_array(), *vms = json_array();
    _cleanup_snapshot_row_ SnapshotRow row = {0};
    Cascade all = {home, operation, snapshots, vms};
    int r = snapshots_find(home->store, reference, &row, error);
    if (r < 0)
        return r;
    operation_enter(operation, "remove");
    r = remove_found(&all, &row, cascade, error);
    if (r < 0) {
        char label[SNAPSHOT_LABEL_SIZE];
        snapshot_label(&row, label);
        return error_add_context(error, "cannot remove snapshot %s", label);
    }
    lineage_collect(home);
    if (removed)
        *removed = json_pack("{s:O, s:O}", "snapshots", snapshots, "vms", vms);
    return 0;
}
