/* SPDX-License-Identifier: Apache-2.0 */

/* Labs, and what is of them. */

#include "store/lab/labs.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/path.h"
#include "base/str.h"
#include "check.h"
#include "store/open.h"

#define ID "aaaa000000000000000000000000000"

static char folder[] = "/tmp/ramet-test-labs-XXXXXX";

static Store *open_store(const char *name) {
    _cleanup_free_ char *path = path_join(folder, name);
    Store *store = NULL;
    CHECK_INT(store_open(path, &store, NULL), 0);
    return store;
}

static int add_lab(Store *store, const char *id, const char *name, LabState state, Error *error) {
    LabRow row = {.state = state, .created_at_usec = 1};
    str_set(row.id, id);
    str_set(row.name, name);
    str_set(row.snapshot, "frozen");
    row.description = json_pack("{s:[], s:[{s:s}]}", "networks", "vms", "name", "a");
    int r = labs_insert(store, &row, error);
    lab_row_free(&row);
    return r;
}

static int add_vm(Store *store, const char *id, const char *name, const char *lab, Error *error) {
    VmRow row = {.state = STATE_CREATED};
    str_set(row.id, id);
    str_set(row.name, name);
    str_set(row.lab, lab);
    str_set(row.mac, "52:54:00:00:00:01");
    return vms_insert(store, &row, error);
}

static int add_network(Store *store, const char *id, const char *name, const char *lab) {
    NetworkRow row = {.created_at_usec = 1};
    str_set(row.id, id);
    str_set(row.name, name);
    str_set(row.lab, lab);
    return networks_insert(store, &row, NULL);
}

static void test_round_trip(void) {
    _cleanup_(store_close_p) Store *store = open_store("round.db");
    _cleanup_lab_row_ LabRow found = {0}, by_id = {0};
    _cleanup_error_ Error error = ERROR_INIT;
    LabRow *rows = NULL;
    size_t count = 0;
    CHECK_INT(add_lab(store, ID "1", "lab", LAB_CREATING, NULL), 0);
    CHECK_INT(labs_find(store, "lab", &found, NULL), -ENOENT); /* nobody sees it yet */
    CHECK_INT(labs_get(store, ID "1", &by_id, NULL), 0);
    CHECK_INT(labs_set_state(store, ID "1", LAB_READY, NULL), 0);
    CHECK_INT(labs_set_state(store, ID "2", LAB_READY, NULL), -ENOENT);
    CHECK_INT(labs_find(store, "lab", &found, NULL), 0);
    CHECK_INT(found.state, LAB_READY);
    CHECK_STR(found.snapshot, "frozen");
    CHECK_INT(json_array_size(json_object_get(found.description, "vms")), 1);
    CHECK_INT(add_lab(store, ID "2", "lab", LAB_READY, &error), -EEXIST);
    CHECK_CONTAINS(error_message(&error), "there is a lab lab already");
    CHECK_INT(labs_list(store, &rows, &count, NULL), 0);
    CHECK_INT(count, 1);
    lab_rows_free(rows, count);
    CHECK_INT(labs_delete(store, &found, NULL), 0);
    CHECK_INT(labs_delete(store, &found, NULL), 0);
}

/* A lab stays while anything is of it. */
static void test_members(void) {
    _cleanup_(store_close_p) Store *store = open_store("members.db");
    _cleanup_lab_row_ LabRow lab = {0};
    _cleanup_error_ Error error = ERROR_INIT;
    VmRow *vms = NULL;
    NetworkRow *networks = NULL;
    size_t n_vms = 0, n_networks = 0;
    CHECK_INT(add_lab(store, ID "1", "lab", LAB_READY, NULL), 0);
    CHECK_INT(labs_find(store, "lab", &lab, NULL), 0);
    CHECK(add_vm(store, ID "2", "no/a", ID "9", NULL) < 0); /* there is no such lab */
    CHECK_INT(add_vm(store, ID "2", "lab/a", lab.id, NULL), 0);
    CHECK_INT(add_vm(store, ID "3", "other", "", NULL), 0);
    CHECK_INT(add_network(store, ID "4", "lab/n", lab.id), 0);
    CHECK_INT(add_network(store, ID "5", "other", ""), 0);
    CHECK_INT(vms_list_of_lab(store, lab.id, &vms, &n_vms, NULL), 0);
    CHECK_INT(n_vms, 1);
    CHECK_STR(vms[0].name, "lab/a");
    CHECK_STR(vms[0].lab, lab.id);
    CHECK_INT(vms_update(store, &vms[0], NULL), 0);
    CHECK_INT(networks_list_of_lab(store, lab.id, &networks, &n_networks, NULL), 0);
    CHECK_INT(n_networks, 1);
    CHECK_STR(networks[0].name, "lab/n");
    CHECK_INT(labs_delete(store, &lab, &error), -EBUSY);
    CHECK_INT(labs_check_alone(store, "", "VM", "other", NULL), 0);
    CHECK_INT(labs_check_alone(store, vms[0].lab, "VM", "lab/a", NULL), -EBUSY);
    CHECK_INT(vms_delete(store, vms[0].id, NULL), 0);
    CHECK_INT(labs_delete(store, &lab, NULL), -EBUSY);
    CHECK_INT(networks_delete(store, &networks[0], NULL), 0);
    CHECK_INT(labs_delete(store, &lab, NULL), 0);
    vm_rows_free(vms, n_vms);
    network_rows_free(networks, n_networks);
}

/* Copies of a lab have the same MAC addresses, also where no network leases them. */
static void test_addresses(void) {
    _cleanup_(store_close_p) Store *store = open_store("addresses.db");
    CHECK_INT(add_lab(store, ID "1", "one", LAB_READY, NULL), 0);
    CHECK_INT(add_lab(store, ID "2", "two", LAB_READY, NULL), 0);
    CHECK_INT(add_vm(store, ID "3", "one/a", ID "1", NULL), 0);
    CHECK_INT(add_vm(store, ID "4", "two/a", ID "2", NULL), 0);
    CHECK_INT(add_vm(store, ID "5", "a", "", NULL), 0);
    CHECK_INT(add_vm(store, ID "6", "b", "", NULL), -EAGAIN);
}

static void set_vm_state(Store *store, const char *id, VmState state) {
    _cleanup_vm_row_ VmRow row = {0};
    CHECK_INT(vms_get(store, id, &row, NULL), 0);
    row.state = state;
    CHECK_INT(vms_update(store, &row, NULL), 0);
}

static size_t count_shown_networks(Store *store) {
    NetworkRow *rows = NULL;
    size_t count = 0;
    CHECK_INT(networks_list_shown(store, &rows, &count, NULL), 0);
    network_rows_free(rows, count);
    return count;
}

/* A warm copy is claimed once, as a whole, and only while all of its VMs are warm. */
static void test_warm(void) {
    _cleanup_(store_close_p) Store *store = open_store("warm.db");
    _cleanup_lab_row_ LabRow claimed = {0}, none = {0};
    _cleanup_vm_row_ VmRow vm = {0}, alone = {0};
    _cleanup_network_row_ NetworkRow network = {0};
    CHECK_INT(add_lab(store, ID "1", "warm-1", LAB_WARM, NULL), 0);
    CHECK_INT(add_lab(store, ID "2", "taken", LAB_READY, NULL), 0);
    CHECK_INT(add_vm(store, ID "3", "warm-1/a", ID "1", NULL), 0);
    CHECK_INT(add_vm(store, ID "4", "warm-1/b", ID "1", NULL), 0);
    CHECK_INT(add_network(store, ID "5", "warm-1/lan", ID "1"), 0);
    CHECK_INT(count_shown_networks(store), 0);
    CHECK_INT(labs_find(store, "warm-1", &none, NULL), -ENOENT);
    set_vm_state(store, ID "3", STATE_WARM);
    CHECK_INT(labs_claim_warm(store, "frozen", 2, "copy", &none, NULL), 0);
    set_vm_state(store, ID "4", STATE_WARM);
    CHECK_INT(vms_claim_warm(store, "", "alone", "image", &alone, NULL), 0); /* it is of a lab */
    CHECK_INT(labs_claim_warm(store, "other", 2, "copy", &none, NULL), 0);
    CHECK_INT(labs_claim_warm(store, "frozen", 2, "taken", &none, NULL), -EEXIST);
    CHECK_INT(labs_claim_warm(store, "frozen", 2, "copy", &claimed, NULL), 1);
    CHECK_STR(claimed.name, "copy");
    CHECK_INT(claimed.state, LAB_CREATING);
    CHECK_INT(vms_get(store, ID "4", &vm, NULL), 0);
    CHECK_STR(vm.name, "copy/b");
    CHECK_INT(vm.state, STATE_CREATING);
    CHECK_INT(networks_get(store, "copy/lan", &network, NULL), 0);
    CHECK_INT(labs_claim_warm(store, "frozen", 2, "second", &none, NULL), 0);
    CHECK_INT(labs_take_warm(store, ID "1", NULL), 0);
    CHECK_INT(labs_set_state(store, ID "1", LAB_WARM, NULL), 0);
    CHECK_INT(labs_take_warm(store, ID "1", NULL), 1);
    CHECK_INT(labs_get(store, ID "1", &none, NULL), 0);
    CHECK_INT(none.state, LAB_DISCARDING);
    CHECK(!lab_state_is_seen(none.state));
    CHECK_INT(labs_take_warm(store, ID "1", NULL), 0);
}

int main(void) {
    CHECK(mkdtemp(folder));
    RUN(test_round_trip);
    RUN(test_members);
    RUN(test_addresses);
    RUN(test_warm);
    (void)path_remove_tree(folder);
    return 0;
}
