/* SPDX-License-Identifier: Apache-2.0 */

#include "lab/lab_snapshot.h"

#include <errno.h>

#include "base/clock.h"
#include "base/path.h"
#include "base/str.h"
#include "catalog/users.h"
#include "frozen/snapshot_files.h"
#include "home/inside.h"
#include "lab/lab_freeze.h"
#include "lineage/lineage.h"
#include "store/lab/lab_snapshots.h"
#include "store/lab/labs.h"
#include "store/snapshots.h"

/* ---- as JSON ---- */

static json_t *describe_network(const NetworkRow *network) {
    const NetworkData *data = &network->data;
    _cleanup_free_ char *subnet = str_format("%s/%u", data->subnet, data->prefix);
    _cleanup_free_ char *subnet6 = str_format("%s/%u", data->subnet6, data->prefix6);
    return json_pack("{s:s, s:s, s:s, s:s, s:b, s:b}", "name", network->name, "subnet", subnet,
                     "subnet6", subnet6, "gateway", data->gateway, "isolated", data->isolated,
                     "uplink", !data->no_uplink);
}

static json_t *describe_cards(const VmCards *cards) {
    json_t *list = json_array();
    for (size_t i = 0; i < cards->count; i++) {
        const VmCard *card = &cards->items[i];
        (void)json_array_append_new(list,
                                    json_pack("{s:s, s:i, s:s, s:s}", "name", card->network, "card",
                                              (int)i, "ip", card->ip, "mac", card->mac));
    }
    return list;
}

static json_t *describe_vm(Home *home, const FrozenVm *vm) {
    _cleanup_snapshot_row_ SnapshotRow row = {0};
    (void)snapshots_get(home->store, vm->snapshot, &row, NULL);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:o}", "name", vm->name, "state",
                     vm->stopped ? "stopped" : "running", "snapshot", vm->snapshot, "hostname",
                     vm->hostname, "image", row.image, "pause_us", (json_int_t)row.data.pause_us,
                     "networks", describe_cards(&vm->cards));
}

static int describe_copies(Home *home, const char *id, json_t **list, Error *error) {
    LabRow *rows = NULL;
    size_t count = 0;
    int r = labs_list(home->store, &rows, &count, error);
    if (r < 0)
        return r;
    *list = json_array();
    for (size_t i = 0; i < count; i++)
        if (rows[i].state == LAB_READY && str_equal(rows[i].snapshot, id))
            (void)json_array_append_new(*list, json_string(rows[i].name));
    lab_rows_free(rows, count);
    return 0;
}

static int describe(Home *home, const LabSnapshotRow *row, json_t **snapshot, Error *error) {
    _cleanup_free_ char *created = clock_format_realtime(row->created_at_usec);
    json_t *networks, *vms, *copies;
    int r = describe_copies(home, row->id, &copies, error);
    if (r < 0)
        return r;
    networks = json_array();
    vms = json_array();
    for (size_t i = 0; i < row->data.n_networks; i++)
        (void)json_array_append_new(networks, describe_network(&row->data.networks[i]));
    for (size_t i = 0; i < row->data.n_vms; i++)
        (void)json_array_append_new(vms, describe_vm(home, &row->data.vms[i]));
    *snapshot = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:o, s:o, s:o}", "id", row->id, "name",
                          row->name, "lab", row->lab, "created_at", created, "spread_us",
                          (json_int_t)row->data.spread_us, "held_us", (json_int_t)row->data.held_us,
                          "networks", networks, "vms", vms, "copies", copies);
    return 0;
}

/* ---- the operations ---- */

static int check_free(Home *home, const char *name, Error *error) {
    _cleanup_lab_snapshot_row_ LabSnapshotRow taken = {0};
    int r = name_check("snapshot", name, error);
    if (r < 0 || lab_snapshots_find(home->store, name, &taken, NULL) < 0 ||
        !str_equal(taken.name, name))
        return r;
    error_set(error, ERROR_CONFLICT, EEXIST, "there is a lab's snapshot %s already", name);
    error_set_hint(error, "choose another name, or remove it with ramet lab snapshot rm %s", name);
    return -EEXIST;
}

static int keep(Home *home, const LabSnapshotRow *row, Error *error) {
    int r = lab_snapshots_insert(home->store, row, error);
    if (r >= 0)
        r = store_sync(home->store, error);
    lab_unpin(home, &row->data);
    if (r < 0)
        lineage_collect(home);
    else
        home_event(home, "lab.snapshot", NULL, row->name, NULL);
    return r;
}

int lab_snapshot_create(Home *home, Operation *operation, const char *lab, const char *name,
                        bool clone_volumes, json_t **snapshot, Error *error) {
    _cleanup_lab_snapshot_row_ LabSnapshotRow row = {0};
    int r;
    operation_enter(operation, "plan");
    r = check_free(home, name, error);
    if (r >= 0)
        r = lab_freeze(home, operation, lab, PURPOSE_LAB, clone_volumes, &row, error);
    if (r >= 0) {
        operation_enter(operation, "publish");
        str_set(row.name, name);
        r = keep(home, &row, error);
    }
    stages_end(&operation->stages);
    if (r < 0)
        return error_add_context(error, "cannot take a snapshot of lab %s", lab);
    return describe(home, &row, snapshot, error);
}

int lab_snapshot_list(Home *home, json_t **list, Error *error) {
    _cleanup_json_ json_t *snapshots = json_array();
    LabSnapshotRow *rows = NULL;
    size_t count = 0;
    int r = lab_snapshots_list(home->store, &rows, &count, error);
    for (size_t i = 0; r >= 0 && i < count; i++) {
        json_t *snapshot;
        r = describe(home, &rows[i], &snapshot, error);
        if (r >= 0)
            (void)json_array_append_new(snapshots, snapshot);
    }
    lab_snapshot_rows_free(rows, count);
    if (r >= 0)
        *list = TAKE_PTR(snapshots);
    return r;
}

int lab_snapshot_inspect(Home *home, const char *reference, json_t **snapshot, Error *error) {
    _cleanup_lab_snapshot_row_ LabSnapshotRow row = {0};
    int r = lab_snapshots_find(home->store, reference, &row, error);
    return r < 0 ? r : describe(home, &row, snapshot, error);
}

int lab_snapshot_remove(Home *home, Operation *operation, const char *reference, json_t **removed,
                        Error *error) {
    _cleanup_lab_snapshot_row_ LabSnapshotRow row = {0};
    int r;
    operation_enter(operation, "remove");
    r = lab_snapshots_find(home->store, reference, &row, error);
    if (r >= 0)
        r = users_check_pool(home, row.id, "lab's snapshot", row.name, error);
    if (r >= 0)
        r = lab_snapshots_delete(home->store, &row, error);
    if (r < 0)
        return error_add_context(error, "cannot remove the lab's snapshot %s", reference);
    lineage_collect(home);
    home_event(home, "lab.snapshot-removed", NULL, row.name, NULL);
    if (removed)
        *removed = json_pack("{s:s, s:s}", "id", row.id, "name", row.name);
    return 0;
}
