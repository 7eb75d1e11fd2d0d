/* SPDX-License-Identifier: Apache-2.0 */

/* Networks with a name: subnets, what of the host they meet, and the operations. */

#include "network/network.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "home/inside.h"
#include "network/counters.h"
#include "network/host_routes.h"
#include "network/lease.h"
#include "network/subnet.h"
#include "store/lab/labs.h"
#include "test_home.h"

#include "check.h"

static void test_subnets(void) {
    static const char *const bad[] = {"",
                                      "10.1.0.0",
                                      "10.1.0.0/",
                                      "10.1.0.0/24x",
                                      "10.1.0/24",
                                      "10.1.0.1/24",
                                      "10.1.0.0/30",
                                      "10.0.0.0/7",
                                      "10.1.0.0/-1",
                                      "127.1.0.0/24",
                                      "169.254.0.0/24",
                                      "224.0.0.0/24",
                                      "0.0.0.0/8",
                                      "fd00::/64",
                                      "999.1.0.0/24"};
    Subnet subnet, other = {.address = 0x0a010000, .prefix = 16};
    CHECK_INT(subnet_parse("10.1.4.0/22", &subnet, NULL), 0);
    CHECK_INT(subnet.address, 0x0a010400);
    CHECK_INT(subnet_broadcast(&subnet), 0x0a0107ff);
    CHECK(subnets_overlap(&subnet, &other) && subnets_overlap(&other, &subnet));
    other.address = 0x0a020000;
    CHECK(!subnets_overlap(&subnet, &other));
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        _cleanup_error_ Error error = ERROR_INIT;
        CHECK_INT(subnet_parse(bad[i], &subnet, &error), -EINVAL);
        CHECK_INT(error.kind, ERROR_USAGE);
    }
}

/* As the kernel writes it, with a default route, which is nobody's. */
static void test_host_routes(void) {
    _cleanup_(host_routes_free) HostRoutes routes = {.count = 0};
    Subnet near = {.address = 0x0a4d0500, .prefix = 24},
           far = {.address = 0x0a4e0000, .prefix = 24};
    host_routes_add_table(
        &routes,
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t0102000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "eth1\t00004D0A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
        "cut\t00");
    CHECK_INT(routes.count, 1);
    CHECK(host_routes_find(&routes, &near));
    CHECK(!host_routes_find(&routes, &far));
}

static void refuse(TestHome *home, const NetworkOptions *options, ErrorKind kind,
                   const char *says) {
    _cleanup_error_ Error error = ERROR_INIT;
    CHECK(network_create(home->opened, options, NULL, &error) < 0);
    CHECK_INT(error.kind, kind);
    CHECK_CONTAINS(error_message(&error), says);
}

static void test_operations(void) {
    TestHome home;
    _cleanup_json_ json_t *lan = NULL, *lab = NULL, *list = NULL;
    _cleanup_error_ Error error = ERROR_INIT;
    test_home_make(&home);
    CHECK_INT(network_create(home.opened, &(NetworkOptions){.name = "lan"}, &lan, &error), 0);
    CHECK_STR(vm_text(lan, "backend"), "switch");
    CHECK(json_is_true(json_object_get(lan, "uplink")));
    CHECK(str_has_prefix(vm_text(lan, "subnet"), "10.77."));
    CHECK(str_has_prefix(vm_text(lan, "subnet6"), "fd"));
    CHECK_INT(network_create(home.opened,
                             &(NetworkOptions){.name = "lab", .isolated = true, .no_uplink = true},
                             &lab, &error),
              0);
    CHECK(!str_equal(vm_text(lab, "subnet"), vm_text(lan, "subnet")));
    CHECK(json_is_true(json_object_get(lab, "isolated")));
    refuse(&home, &(NetworkOptions){.name = "lan"}, ERROR_CONFLICT, "there is a network lan");
    refuse(&home, &(NetworkOptions){.name = "x", .subnet = vm_text(lan, "subnet")}, ERROR_CONFLICT,
           "network lan has");
    refuse(&home, &(NetworkOptions){.name = "user"}, ERROR_USAGE, "has a meaning");
    refuse(&home, &(NetworkOptions){.name = "../x"}, ERROR_USAGE, "name");
    refuse(&home, &(NetworkOptions){.name = "x", .taps = 4}, ERROR_USAGE, "TAP");
    test_home_close(&home); /* it is remembered */
    test_home_open(&home);
    CHECK_INT(network_remove(home.opened, "lan", &error), 0);
    CHECK_INT(network_remove(home.opened, "lan", NULL), -ENOENT);
    CHECK_INT(network_list(home.opened, &list, &error), 0);
    CHECK_INT(json_array_size(list), 1);
    test_home_remove(&home);
}

static void add_lab(TestHome *home, const char *id) {
    LabRow row = {.state = LAB_READY, .description = json_object()};
    str_set(row.id, id);
    str_set(row.name, id);
    CHECK_INT(labs_insert(home->opened->store, &row, NULL), 0);
    lab_row_free(&row);
}

/* Whoever looks at many VMs asks each network once. */
static void test_counters(void) {
    TestHome home;
    _cleanup_json_ json_t *lan = NULL, *lab = NULL, *read = json_object();
    const json_t *first;
    test_home_make(&home);
    CHECK_INT(network_create(home.opened, &(NetworkOptions){.name = "lan"}, &lan, NULL), 0);
    CHECK_INT(network_create(home.opened, &(NetworkOptions){.name = "lab"}, &lab, NULL), 0);
    first = network_counters(home.opened, read, "lan");
    CHECK(json_is_object(first));
    CHECK(network_counters(home.opened, read, "lan") == first);
    CHECK(network_counters(home.opened, read, "lab") != first);
    CHECK_INT(json_object_size(read), 2);
    test_home_remove(&home);
}

/* Labs have the addresses of other labs, but of nobody else. */
static void test_labs(void) {
    TestHome home;
    _cleanup_json_ json_t *first = NULL, *second = NULL, *lan = NULL;
    _cleanup_error_ Error error = ERROR_INIT;
    NetworkOptions one = {.name = "one/n", .lab = "one", .subnet = "10.202.0.0/24"};
    NetworkOptions two = {.name = "two/n", .lab = "two", .subnet = "10.202.0.0/24"};
    test_home_make(&home);
    add_lab(&home, "one");
    add_lab(&home, "two");
    CHECK_INT(network_create(home.opened, &one, &first, &error), 0);
    CHECK_INT(network_create(home.opened, &two, &second, &error), 0);
    CHECK_STR(vm_text(first, "subnet"), vm_text(second, "subnet"));
    one.name = "one/m";
    refuse(&home, &one, ERROR_CONFLICT, "network one/n has");
    refuse(&home, &(NetworkOptions){.name = "m", .subnet = "10.202.0.0/16"}, ERROR_CONFLICT,
           "network one/n has");
    CHECK_INT(network_create(home.opened, &(NetworkOptions){.name = "m"}, &lan, &error), 0);
    one.subnet = vm_text(lan, "subnet");
    refuse(&home, &one, ERROR_CONFLICT, "network m has");
    refuse(&home, &(NetworkOptions){.name = "one/x"}, ERROR_USAGE, "not a valid network name");
    CHECK_INT(network_remove(home.opened, "one/n", &error), -EBUSY);
    CHECK_CONTAINS(error_message(&error), "is part of lab one");
    CHECK_INT(network_remove_with_lab(home.opened, "one/n", NULL), 0);
    test_home_remove(&home);
}

/* A copy's addresses, MAC addresses too, are its source's; and so are those of its copy. */
static void test_copies(void) {
    static const char *const names[] = {"one/n", "two/n", "three/n"};
    TestHome home;
    _cleanup_error_ Error error = ERROR_INIT;
    NetworkOptions one = {.name = "one/n", .lab = "one", .no_uplink = true};
    NetworkRow rows[3] = {{.id = ""}};
    char macs[3][18];
    test_home_make(&home);
    for (size_t i = 0; i < 3; i++) {
        char lab[16];
        (void)snprintf(lab, sizeof(lab), "%.*s", (int)strcspn(names[i], "/"), names[i]);
        add_lab(&home, lab);
        int r = i == 0 ? network_create(home.opened, &one, NULL, &error)
                       : network_create_copy(home.opened, &rows[i - 1], names[i], lab, &error);
        CHECK_INT(r, 0);
        CHECK_INT(networks_get(home.opened->store, names[i], &rows[i], &error), 0);
        network_mac(&rows[i], 0x0a4d0009, macs[i]);
        CHECK_STR(macs[i], macs[0]);
        CHECK_STR(rows[i].data.subnet, rows[0].data.subnet);
        CHECK_STR(rows[i].data.subnet6, rows[0].data.subnet6);
        CHECK(rows[i].data.no_uplink);
        CHECK_STR(rows[i].lab, lab);
    }
    CHECK(!str_equal(rows[0].id, rows[1].id));
    CHECK_INT(network_create_copy(home.opened, &rows[0], "two/n", "two", &error), -EEXIST);
    for (size_t i = 0; i < 3; i++)
        network_row_free(&rows[i]);
    test_home_remove(&home);
}

int main(void) {
    RUN(test_subnets);
    RUN(test_host_routes);
    RUN(test_operations);
    RUN(test_counters);
    RUN(test_labs);
    RUN(test_copies);
    return 0;
}
