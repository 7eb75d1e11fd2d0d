/* SPDX-License-Identifier: Apache-2.0 */

/* Who has which address. */

#include "network/lease.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/str.h"
#include "home/inside.h"
#include "network/network.h"
#include "store/network/leases.h"
#include "test_home.h"

#include "check.h"

static TestHome home;

static void make_network(const char *name, const char *subnet) {
    _cleanup_error_ Error error = ERROR_INIT;
    CHECK_INT(network_create(home.opened, &(NetworkOptions){.name = name, .subnet = subnet}, NULL,
                             &error),
              0);
}

static void fill(VmRow *row, unsigned number, const char *network, const char *ip,
                 const char *mac) {
    *row = (VmRow){.state = STATE_CREATED};
    (void)snprintf(row->id, sizeof(row->id), "%032x", number);
    (void)snprintf(row->name, sizeof(row->name), "vm-%u", number);
    (void)snprintf(row->mac, sizeof(row->mac), "52:54:00:00:%02x:%02x", number >> 8 & 0xff,
                   number & 0xff);
    vm_cards_set(&row->spec.cards, network);
    str_set(row->spec.cards.items[0].ip, ip);
    str_set(row->spec.cards.items[0].mac, mac);
}

/* As a VM is made: both in one transaction. */
static int add(VmRow *row, Error *error) {
    Store *store = home.opened->store;
    int r = store_begin(store, error);
    if (r >= 0)
        r = network_lease(store, row, error);
    if (r >= 0)
        r = vms_insert(store, row, error);
    if (r < 0) {
        store_rollback(store);
        return r;
    }
    return store_commit(store, error);
}

static int lease(unsigned number, const char *network, const char *ip, const char *mac,
                 VmAddress *address, Error *error) {
    _cleanup_vm_row_ VmRow row = {0};
    fill(&row, number, network, ip, mac);
    int r = add(&row, error);
    if (r >= 0 && address)
        *address = vm_address(&row, 0);
    return r;
}

static void refuse(unsigned number, const char *network, const char *ip, const char *mac,
                   ErrorKind kind, const char *says) {
    _cleanup_error_ Error error = ERROR_INIT;
    CHECK(lease(number, network, ip, mac, NULL, &error) < 0);
    CHECK_INT(error.kind, kind);
    CHECK_CONTAINS(error_message(&error), says);
}

static void set_backend(const char *name, const char *backend) {
    _cleanup_network_row_ NetworkRow row = {0};
    CHECK_INT(networks_get(home.opened->store, name, &row, NULL), 0);
    str_set(row.data.backend, backend);
    CHECK_INT(networks_update(home.opened->store, &row, NULL), 0);
}

static void remove_vms(unsigned first, unsigned count) {
    for (unsigned i = first; i < first + count; i++) {
        _cleanup_free_ char *id = str_format("%032x", i);
        CHECK_INT(vms_delete(home.opened->store, id, NULL), 0);
    }
}

static size_t count_leases(const char *network) {
    _cleanup_network_row_ NetworkRow row = {0};
    _cleanup_free_ LeaseRow *leases = NULL;
    size_t count = 0;
    CHECK_INT(networks_get(home.opened->store, network, &row, NULL), 0);
    CHECK_INT(leases_list(home.opened->store, row.id, &leases, &count, NULL), 0);
    return count;
}

static void test_addresses(void) {
    VmAddress first, second, again;
    make_network("lan", "10.201.0.0/29");
    CHECK_INT(lease(1, "lan", "", "", &first, NULL), 0);
    CHECK_STR(first.ip, "10.201.0.2");
    CHECK(str_has_prefix(first.ip6, "fd") && strstr(first.ip6, "::2"));
    CHECK_INT(lease(2, "lan", "10.201.0.6", "52:54:00:AA:00:01", &second, NULL), 0);
    CHECK_STR(second.ip, "10.201.0.6");
    refuse(3, "lan", "10.201.0.2", "", ERROR_CONFLICT, "another VM has the address 10.201.0.2");
    refuse(3, "lan", "", first.mac, ERROR_CONFLICT, "another VM has the MAC address");
    refuse(3, "lan", "10.201.0.8", "", ERROR_USAGE, "not of its subnet");
    refuse(3, "lan", "10.201.0.0", "", ERROR_USAGE, "the network itself");
    refuse(3, "lan", "10.201.0.7", "", ERROR_USAGE, "all of its VMs");
    refuse(3, "lan", "10.201.0.1", "", ERROR_USAGE, "its gateway");
    refuse(3, "nosuch", "", "", ERROR_NOT_FOUND, "no network nosuch");
    CHECK_INT(count_leases("lan"), 2);
    remove_vms(1, 1);
    CHECK_INT(count_leases("lan"), 1); /* it went with its VM */
    CHECK_INT(lease(1, "lan", "", "", &again, NULL), 0);
    CHECK_STR(again.ip, first.ip);
    CHECK_STR(again.mac, first.mac); /* so neighbours that remember it are right */
    remove_vms(1, 2);
}

/* The gaps are found, too, and the end is told. */
static void test_exhausted(void) {
    VmAddress address;
    for (unsigned i = 0; i < 5; i++)
        CHECK_INT(lease(10 + i, "lan", "", "", NULL, NULL), 0);
    refuse(20, "lan", "", "", ERROR_CONFLICT, "no free address");
    remove_vms(12, 1);
    CHECK_INT(lease(20, "lan", "", "", &address, NULL), 0);
    CHECK_STR(address.ip, "10.201.0.4");
    remove_vms(10, 11);
    CHECK_INT(count_leases("lan"), 0);
}

/* Another network may have the same MAC address: copies of a lab do. */
static void test_networks_are_apart(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    make_network("other", "10.202.0.0/24");
    CHECK_INT(lease(1, "lan", "", "52:54:00:00:00:77", NULL, NULL), 0);
    CHECK_INT(lease(2, "other", "", "52:54:00:00:00:77", NULL, NULL), 0);
    CHECK(network_remove(home.opened, "other", &error) < 0);
    CHECK_INT(error.kind, ERROR_CONFLICT);
    remove_vms(1, 2);
    CHECK_INT(network_remove(home.opened, "other", NULL), 0);
}

/* What a daemon that dies leaves: a transaction that never ended, and so nothing. */
static void test_crash(void) {
    _cleanup_vm_row_ VmRow row = {0};
    CHECK_INT(store_begin(home.opened->store, NULL), 0);
    fill(&row, 1, "lan", "", "");
    CHECK_INT(network_lease(home.opened->store, &row, NULL), 0);
    store_rollback(home.opened->store);
    CHECK_INT(count_leases("lan"), 0);
    CHECK_INT(store_begin(home.opened->store, NULL), 0);
    CHECK_INT(network_lease(home.opened->store, &row, NULL), 0);
    CHECK(store_commit(home.opened->store, NULL) < 0); /* a lease without its VM */
    CHECK_INT(count_leases("lan"), 0);
}

static int compare(const void *one, const void *other) {
    uint64_t a = *(const uint64_t *)one, b = *(const uint64_t *)other;
    return (a > b) - (a < b);
}

static unsigned long long median(uint64_t *values, size_t count) {
    qsort(values, count, sizeof(*values), compare);
    return values[count / 2];
}

/* A thousand, and none double; with MEASURE set it tells what the first and the last took. */
static void test_many(void) {
    uint64_t took[1000], begin;
    make_network("many", "10.203.0.0/20");
    for (unsigned i = 0; i < 1000; i++) {
        begin = clock_monotonic_usec();
        CHECK_INT(lease(1000 + i, "many", "", "", NULL, NULL), 0);
        took[i] = clock_monotonic_usec() - begin;
    }
    CHECK_INT(count_leases("many"), 1000);
    remove_vms(1000, 1000);
    CHECK_INT(count_leases("many"), 0);
    if (getenv("MEASURE"))
        printf("a lease: %llu us among the first hundred, %llu us among the last\n",
               median(took, 100), median(took + 900, 100));
}

static void test_connections_need_a_switch(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_vm_row_ VmRow row = {0};
    make_network("limited", "10.211.0.0/24");
    fill(&row, 9001, "limited", "", "");
    row.spec.net_limit.connections = 5;
    CHECK_INT(network_check_limit(home.opened->store, &row, &error), 0);
    set_backend("limited", "bridge");
    CHECK(add(&row, &error) < 0);
    CHECK_INT(error.kind, ERROR_UNSUPPORTED);
    CHECK_CONTAINS(error_message(&error), "not counted");
    CHECK(network_check_limit(home.opened->store, &row, NULL) < 0);
    row.spec.net_limit = (NetLimit){.packets = 5};
    CHECK_INT(network_check_limit(home.opened->store, &row, NULL), 0);
    set_backend("limited", "switch");
    row.spec.net_limit.connections = 5;
    CHECK_INT(add(&row, NULL), 0);
    remove_vms(9001, 1);
}

int main(void) {
    test_home_make(&home);
    RUN(test_addresses);
    RUN(test_exhausted);
    RUN(test_networks_are_apart);
    RUN(test_crash);
    RUN(test_many);
    RUN(test_connections_need_a_switch);
    test_home_remove(&home);
    return 0;
}
