/* SPDX-License-Identifier: Apache-2.0 */

/* Labs' snapshots, and the snapshots of VMs that belong to them. */

#include "store/lab/lab_snapshots.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/path.h"
#include "base/str.h"
#include "check.h"
#include "store/lab/labs.h"
#include "store/open.h"
#include "store/snapshots.h"

#define ID "aaaa000000000000000000000000000"

static char folder[] = "/tmp/ramet-test-lab-snapshots-XXXXXX";

static Store *open_store(const char *name) {
    _cleanup_free_ char *path = path_join(folder, name);
    Store *store = NULL;
    CHECK_INT(store_open(path, &store, NULL), 0);
    return store;
}

static void add_snapshot(Store *store, const char *id) {
    _cleanup_snapshot_row_ SnapshotRow row = {.state = SNAPSHOT_READY, .automatic = true};
    str_set(row.id, id);
    str_set(row.purpose, "lab");
    CHECK_INT(snapshots_insert(store, &row, NULL), 0);
}

static size_t count_unused(Store *store) {
    char ids[8][VM_ID_SIZE];
    size_t count = 0;
    CHECK_INT(snapshots_list_unused(store, ids, ARRAY_SIZE(ids), &count, NULL), 0);
    return count;
}

/* Two VMs in a network, with all that may be there. */
static void fill(FrozenLab *lab) {
    frozen_lab_make_room(lab, 1, 2);
    lab->description = json_pack("{s:[], s:[]}", "networks", "vms");
    lab->spread_us = 7;
    lab->held_us = 9;
    lab->n_networks = 1;
    lab->networks[0] =
        (NetworkRow){.id = ID "8",
                     .name = "lan",
                     .data = {.subnet = "10.1.0.0", .prefix = 24, .no_uplink = true}};
    lab->n_vms = 2;
    lab->vms[0] = (FrozenVm){.name = "a",
                             .snapshot = ID "1",
                             .hostname = "host-a",
                             .machine_id = ID "4",
                             .impair = {.latency_usec = 5, .cut = true}};
    lab->vms[0].cards.count = 2;
    lab->vms[0].cards.items[0] =
        (VmCard){.network = "lan", .ip = "10.1.0.2", .mac = "52:54:00:00:00:01"};
    lab->vms[0].cards.items[1] = (VmCard){.network = "none"};
    lab->vms[1] = (FrozenVm){.name = "b", .snapshot = ID "2"};
}

static int add(Store *store, const char *id, const char *name, Error *error) {
    _cleanup_lab_snapshot_row_ LabSnapshotRow row = {.created_at_usec = 1};
    str_set(row.id, id);
    str_set(row.name, name);
    str_set(row.lab, "lab");
    fill(&row.data);
    return lab_snapshots_insert(store, &row, error);
}

static void check_data(const FrozenLab *lab) {
    const FrozenVm *vm = &lab->vms[0];
    CHECK_INT(lab->spread_us, 7);
    CHECK_INT(lab->held_us, 9);
    CHECK(json_is_object(lab->description));
    CHECK_INT(lab->n_networks, 1);
    CHECK_STR(lab->networks[0].id, ID "8");
    CHECK_STR(lab->networks[0].data.subnet, "10.1.0.0");
    CHECK(lab->networks[0].data.no_uplink);
    CHECK_INT(lab->n_vms, 2);
    CHECK_STR(vm->hostname, "host-a");
    CHECK_STR(vm->machine_id, ID "4");
    CHECK_INT(vm->impair.latency_usec, 5);
    CHECK(vm->impair.cut);
    CHECK_INT(vm->cards.count, 2);
    CHECK_STR(vm->cards.items[0].mac, "52:54:00:00:00:01");
    CHECK_STR(vm->cards.items[1].network, "none");
    CHECK_STR(lab->vms[1].snapshot, ID "2");
}

static void test_round_trip(void) {
    _cleanup_(store_close_p) Store *store = open_store("round.db");
    _cleanup_lab_snapshot_row_ LabSnapshotRow found = {0};
    _cleanup_error_ Error error = ERROR_INIT;
    LabSnapshotRow *rows = NULL;
    size_t count = 0;
    add_snapshot(store, ID "1");
    CHECK(add(store, ID "5", "base", NULL) < 0); /* one of its VMs has no snapshot */
    CHECK_INT(lab_snapshots_list(store, &rows, &count, NULL), 0);
    CHECK_INT(count, 0);
    lab_snapshot_rows_free(rows, count);
    add_snapshot(store, ID "2");
    CHECK_INT(add(store, ID "5", "base", NULL), 0);
    CHECK_INT(add(store, ID "6", "base", &error), -EEXIST);
    CHECK_CONTAINS(error_message(&error), "base already");
    CHECK_INT(lab_snapshots_find(store, "nosuch", &found, NULL), -ENOENT);
    CHECK_INT(lab_snapshots_find(store, "base", &found, NULL), 0);
    CHECK_STR(found.lab, "lab");
    check_data(&found.data);
}

/* What belongs to one stays, and goes with it. */
static void test_members(void) {
    _cleanup_(store_close_p) Store *store = open_store("members.db");
    _cleanup_lab_snapshot_row_ LabSnapshotRow found = {0};
    _cleanup_error_ Error error = ERROR_INIT;
    LabRow lab = {.state = LAB_READY, .id = ID "7", .name = "copy", .snapshot = ID "5"};
    add_snapshot(store, ID "1");
    add_snapshot(store, ID "2");
    CHECK_INT(count_unused(store), 2);
    CHECK_INT(lab_snapshots_check_alone(store, ID "1", NULL), 0);
    CHECK_INT(add(store, ID "5", "base", NULL), 0);
    CHECK_INT(count_unused(store), 0);
    CHECK_INT(lab_snapshots_check_alone(store, ID "1", &error), -EBUSY);
    CHECK_CONTAINS(error_message(&error), "the snapshot base of lab lab");
    CHECK(snapshots_delete(store, ID "1", NULL) < 0); /* the database itself */

    CHECK_INT(lab_snapshots_find(store, "base", &found, NULL), 0);
    lab.description = json_object();
    CHECK_INT(labs_insert(store, &lab, NULL), 0);
    CHECK_INT(lab_snapshots_delete(store, &found, NULL), -EBUSY);
    CHECK_INT(labs_delete(store, &lab, NULL), 0);
    CHECK_INT(lab_snapshots_delete(store, &found, NULL), 0);
    CHECK_INT(lab_snapshots_delete(store, &found, NULL), 0);
    CHECK_INT(count_unused(store), 2);
    CHECK_INT(snapshots_delete(store, ID "1", NULL), 0);
    lab_row_free(&lab);
}

static void test_damaged(void) {
    _cleanup_json_ json_t *none = json_pack("{s:[]}", "vms");
    _cleanup_frozen_lab_ FrozenLab lab = {0};
    _cleanup_error_ Error error = ERROR_INIT;
    CHECK(frozen_lab_from_json(none, &lab, &error) < 0);
    CHECK_INT(error.kind, ERROR_CORRUPT);
}

int main(void) {
    CHECK(mkdtemp(folder));
    RUN(test_round_trip);
    RUN(test_members);
    RUN(test_damaged);
    (void)path_remove_tree(folder);
    return 0;
}
