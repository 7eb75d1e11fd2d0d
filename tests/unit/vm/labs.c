/* SPDX-License-Identifier: Apache-2.0 */

/* Labs: all of one, or nothing. */

#include "lab/lab.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "base/path.h"
#include "base/str.h"
#include "home/inside.h"
#include "home/operation.h"
#include "lab/lab_lock.h"
#include "lab/lab_plan.h"
#include "lab/lab_remove.h"
#include "machine/machine.h"
#include "network/network.h"
#include "store/lab/labs.h"
#include "store/query.h"
#include "test_home.h"
#include "verbs/verbs.h"

#include "check.h"

static TestHome home;

static json_t *parse(const char *text) {
    json_t *json = json_loads(text, 0, NULL);
    CHECK(json);
    return json;
}

static int up(const char *name, const char *text, json_t **lab, Error *error) {
    _cleanup_json_ json_t *description = parse(text);
    Operation operation;
    operation_init(&operation, 0, -1);
    return lab_up(home.opened, &operation, name, description, lab, error);
}

static int down(const char *name, Error *error) {
    Operation operation;
    operation_init(&operation, 0, -1);
    return lab_down(home.opened, &operation, name, NULL, error);
}

/* Rows of any kind and in any state, but for the image's. */
static size_t count_rows(void) {
    Store *store = home.opened->store;
    VmRow *vms;
    NetworkRow *networks;
    LabRow *labs;
    size_t n_vms, n_networks, n_labs;
    CHECK_INT(vms_list(store, &vms, &n_vms, NULL), 0);
    CHECK_INT(networks_list(store, &networks, &n_networks, NULL), 0);
    CHECK_INT(labs_list(store, &labs, &n_labs, NULL), 0);
    vm_rows_free(vms, n_vms);
    network_rows_free(networks, n_networks);
    lab_rows_free(labs, n_labs);
    return n_vms + n_networks + n_labs;
}

#define LAN "\"networks\":[{\"name\":\"lan\",\"subnet\":\"10.203.0.0/24\",\"uplink\":false}]"
#define VM(name) "{\"name\":\"" name "\",\"image\":\"test\",\"networks\":[\"none\"]}"
#define TWO "{" LAN ",\"vms\":[" VM("ok-b") "," VM("ok-a") "]}"

static void test_up_and_down(void) {
    _cleanup_json_ json_t *lab = NULL, *inspected = NULL, *list = NULL, *vm = NULL;
    _cleanup_error_ Error error = ERROR_INIT;
    Operation operation;
    json_t *vms, *network;
    operation_init(&operation, 0, -1);
    CHECK_INT(up("demo", TWO, &lab, &error), 0);
    vms = json_object_get(lab, "vms");
    CHECK_INT(json_array_size(vms), 2);
    CHECK_STR(vm_text(json_array_get(vms, 0), "name"), "ok-b"); /* in the order of the file */
    CHECK_STR(vm_text(json_array_get(vms, 0), "vm"), "demo/ok-b");
    CHECK_STR(vm_text(json_array_get(vms, 1), "state"), "running");
    CHECK(json_is_true(json_object_get(json_array_get(vms, 1), "ready")));
    network = json_array_get(json_object_get(lab, "networks"), 0);
    CHECK_STR(vm_text(network, "name"), "lan");
    CHECK_STR(vm_text(network, "network"), "demo/lan");
    CHECK(json_is_false(json_object_get(network, "uplink")));
    CHECK_INT(vm_inspect(home.opened, "demo/ok-a", &vm, &error), 0);
    CHECK_STR(vm_text(vm, "hostname"), "ok-a");
    CHECK_INT(lab_inspect(home.opened, "demo", &inspected, &error), 0);
    CHECK(json_is_null(json_object_get(inspected, "from")));
    CHECK_INT(lab_list(home.opened, &list, &error), 0);
    CHECK_INT(json_array_size(list), 1);
    CHECK_INT(up("demo", TWO, NULL, &error), -EEXIST);
    CHECK_INT(vm_remove(home.opened, &operation, "demo/ok-a", true, NULL, NULL), -EBUSY);
    CHECK_INT(vm_rename(home.opened, &operation, "demo/ok-a", "x", NULL, &error), -EBUSY);
    CHECK_INT(network_remove(home.opened, "demo/lan", NULL), -EBUSY);
    CHECK_INT(down("demo", &error), 0);
    CHECK_INT(down("demo", &error), -ENOENT);
    CHECK_INT(count_rows(), 0);
}

#define ASKS(name, ip) "{\"name\":\"" name "\",\"image\":\"test\",\"networks\":[\"lan,ip=" ip "\"]}"

/* Who asks for an address comes before those that take what is free. */
static void test_order(void) {
    static const char *const wanted[] = {"demo/c", "demo/e", "demo/a", "demo/b", "demo/d"};
    _cleanup_json_ json_t *description = parse("{" LAN ",\"vms\":[" VM("a") "," VM("b") "," ASKS(
        "c", "10.203.0.2") "," VM("d") "," ASKS("e", "10.203.0.3") "]}");
    LabPlan plan = {0};
    CHECK_INT(lab_plan_make("demo", description, &plan, NULL), 0);
    CHECK_INT(plan.n_asking, 2);
    CHECK_INT(plan.n_vms, ARRAY_SIZE(wanted));
    for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
        CHECK_STR(plan.vms[i].spec.name, wanted[i]);
    lab_plan_free(&plan);
}

/* The same addresses, and nobody minds. */
static void test_two(void) {
    _cleanup_json_ json_t *one = NULL, *two = NULL;
    _cleanup_error_ Error error = ERROR_INIT;
    CHECK_INT(up("one", TWO, &one, &error), 0);
    CHECK_INT(up("two", TWO, &two, &error), 0);
    CHECK_INT(down("one", &error), 0);
    CHECK_INT(down("two", &error), 0);
    CHECK_INT(count_rows(), 0);
}

static void fail(const char *text, ErrorKind kind, const char *says) {
    _cleanup_error_ Error error = ERROR_INIT;
    CHECK(up("demo", text, NULL, &error) < 0);
    CHECK_INT(error.kind, kind);
    CHECK_CONTAINS(error_message(&error), says);
    CHECK_INT(count_rows(), 0);
}

static void test_failures(void) {
    fail("{" LAN ",\"vms\":[" VM("ok-a") "," VM("fail-b") "," VM("ok-c") "]}",
         ERROR_GUEST_NOT_READY, "cannot bring up lab demo: VM fail-b, start: ");
    fail("{" LAN ",\"vms\":[{\"name\":\"a\",\"image\":\"nosuch\"}]}", ERROR_NOT_FOUND, "nosuch");
    fail("{\"networks\":[{\"name\":\"a\"},{\"name\":\"a\"}],\"vms\":[" VM("ok-a") "]}", ERROR_USAGE,
         "there are two networks a");
    fail("{\"networks\":[{\"name\":\"user\"}],\"vms\":[" VM("ok-a") "]}", ERROR_USAGE,
         "that name has a meaning");
    fail("{\"vms\":[" VM("ok-a") "," VM("ok-a") "]}", ERROR_USAGE, "there are two VMs ok-a");
    fail("{" LAN ",\"vms\":[{\"name\":\"a\",\"image\":\"test\",\"networks\":[\"wan\"]}]}",
         ERROR_USAGE, "VM a: there is no network wan in this lab");
    fail("{\"vms\":[{\"name\":\"a\",\"image\":\"test\",\"cpus\":0}]}", ERROR_USAGE, "VM a: ");
    fail("{\"vms\":[]}", ERROR_USAGE, "a lab has 1 to");
    fail("{\"networks\":[{\"name\":\"a\",\"subnet\":\"10.1.0.1/24\"}],\"vms\":[" VM("ok-a") "]}",
         ERROR_USAGE, "network a: 10.1.0.1 is an address within a network");
}

/* Whatever a daemon that died left behind, the next one removes. */
static void test_reconcile(LabState state) {
    _cleanup_json_ json_t *lab = NULL, *again = NULL;
    _cleanup_error_ Error error = ERROR_INIT;
    CHECK_INT(up("demo", TWO, &lab, &error), 0);
    CHECK_INT(labs_set_state(home.opened->store, vm_text(lab, "id"), state, NULL), 0);
    test_home_close(&home);
    test_home_open(&home);
    labs_reconcile_later(home.opened);
    CHECK_INT(up("demo", TWO, &again, &error), 0); /* it waits for the end of the other */
    CHECK(!str_equal(vm_text(lab, "id"), vm_text(again, "id")));
    CHECK_INT(down("demo", &error), 0);
    CHECK_INT(count_rows(), 0);
}

static void test_half_made(void) {
    test_reconcile(LAB_CREATING);
}

static void test_half_removed(void) {
    test_reconcile(LAB_REMOVING);
    test_reconcile(LAB_DISCARDING);
}

static void test_half_is_gone(void) {
    _cleanup_json_ json_t *lab = NULL, *rest = NULL;
    _cleanup_error_ Error error = ERROR_INIT;
    const json_t *vm;
    CHECK_INT(up("demo", TWO, &lab, &error), 0);
    vm = json_array_get(json_object_get(lab, "vms"), 0);
    CHECK_INT(network_remove_with_lab(home.opened, "demo/lan", &error), 0);
    _cleanup_json_ json_t *inspected = NULL;
    CHECK_INT(vm_inspect(home.opened, vm_text(vm, "vm"), &inspected, &error), 0);
    CHECK_INT(kill(vm_pid(inspected, "keeper_pid"), SIGKILL), 0);
    CHECK_INT(lab_inspect(home.opened, "demo", &rest, &error), 0);
    CHECK_INT(down("demo", &error), 0);
    CHECK_INT(count_rows(), 0);
}

/* What fails does not stop the rest, and all of it is told; what stays can be removed later. */
static void test_failing_removal(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_json_ json_t *lab = NULL;
    CHECK_INT(up("demo", TWO, &lab, &error), 0);
    CHECK_INT(store_execute(home_store(home.opened),
                            "CREATE TRIGGER broken BEFORE DELETE ON vms BEGIN"
                            " SELECT RAISE(ABORT, 'injected'); END",
                            NULL),
              0);
    CHECK(down("demo", &error) < 0);
    CHECK(strstr(error_message(&error), "cannot remove all of demo/ok-a: injected"));
    CHECK(strstr(error_message(&error), "cannot remove all of demo/ok-b: injected"));
    CHECK_INT(count_rows(), 3); /* the VMs and the lab; the network went */
    CHECK_INT(test_home_count_vm_folders(&home), 0);
    CHECK_INT(store_execute(home_store(home.opened), "DROP TRIGGER broken", NULL), 0);
    error_clear(&error);
    CHECK_INT(down("demo", &error), 0);
    CHECK_INT(count_rows(), 0);
}

static void *bring_down(void *data) {
    _cleanup_error_ Error error = ERROR_INIT;
    int r;
    (void)data;
    test_home_await_event(&home, "demo/slow-a", "vm.starting", 1);
    r = down("demo", &error);
    CHECK_STR(r < 0 ? error_message(&error) : "", "");
    return NULL;
}

/* One that is coming up gives up when it is to go. */
static void test_down_while_up(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, bring_down, NULL), 0);
    CHECK(up("demo", "{\"vms\":[" VM("slow-a") "," VM("ok-b") "]}", NULL, &error) < 0);
    CHECK_INT(error.kind, ERROR_CANCELLED);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_INT(count_rows(), 0);
}

int main(void) {
    test_home_make(&home);
    RUN(test_up_and_down);
    RUN(test_order);
    RUN(test_two);
    RUN(test_failures);
    RUN(test_half_made);
    RUN(test_half_removed);
    RUN(test_half_is_gone);
    RUN(test_failing_removal);
    RUN(test_down_while_up);
    test_home_remove(&home);
    return 0;
}
