/* SPDX-License-Identifier: Apache-2.0 */

#include "network/network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "home/inside.h"
#include "network/bridge/bridges.h"
#include "network/bridge/tap_pool.h"
#include "network/host_routes.h"
#include "network/lease.h"
#include "network/network_lock.h"
#include "network/subnet.h"
#include "network/switch.h"
#include "network/switch_uid.h"
#include "store/lab/labs.h"
#include "store/network/leases.h"
#include "store/vms.h"

#define POOL_ADDRESS 0x0a4d0000u /* 10.77.0.0/16, in blocks of /24 */
#define POOL_BLOCKS 256u
#define POOL_PREFIX 24u
#define PREFIX6 64u
#define BACKEND "switch"

/* ---- what forwards its frames ---- */

typedef struct Backend {
    const char *name;
    char chosen[160]; /* why it is that one; empty: it was asked for */
} Backend;

static bool is_auto(const NetworkOptions *options) {
    return !options->backend || str_equal(options->backend, "auto");
}

/* A bridge where it can do all that a switch can; a lab's networks must be held for a moment. */
static void choose_backend(Home *home, const NetworkOptions *options, Backend *backend) {
    _cleanup_error_ Error lack = ERROR_INIT;
    *backend = (Backend){.name = options->backend};
    if (!is_auto(options))
        return;
    const char *why = "this host can make bridges, and impair them";
    backend->name = "bridge";
    if (options->lab || bridges_can_all(home, &lack) < 0) {
        backend->name = BACKEND;
        why = options->lab ? "a lab's snapshot holds frames" : error_message(&lack);
    }
    (void)snprintf(backend->chosen, sizeof(backend->chosen), "auto: %s", why);
}

static bool is_bridge(const Backend *backend) {
    return str_equal(backend->name, "bridge");
}

static int check_options(const NetworkOptions *options, const Backend *backend, Error *error) {
    int r = options->lab ? name_check_existing("network", options->name, error)
                         : name_check("network", options->name, error);
    if (r < 0)
        return r;
    if (!vm_network_is_named(name_within_lab(options->name)))
        return error_set(error, ERROR_USAGE, EINVAL,
                         "a network cannot be called %s: that name has a meaning", options->name);
    if (options->taps > NETWORK_TAPS_MAX)
        return error_set(error, ERROR_USAGE, EINVAL, "%u TAP devices are too many (at most %d)",
                         options->taps, NETWORK_TAPS_MAX);
    if (is_bridge(backend) || options->taps == 0)
        return 0;
    error_set(error, ERROR_USAGE, EINVAL, "a switch has no TAP devices");
    error_set_hint(error, "leave --taps out, or say --backend bridge");
    return -EINVAL;
}

/* ---- its subnet ---- */

typedef struct Others {
    HostRoutes host;        /* owned */
    const NetworkRow *rows; /* borrowed */
    size_t count;
    const char *lab; /* borrowed: whose subnet is to be found; NULL: nobody's */
} Others;

/* Frames of the one never meet those of the other. */
static bool is_apart(const NetworkRow *row, const char *lab) {
    return lab && *row->lab && !str_equal(row->lab, lab) && str_equal(row->data.backend, BACKEND);
}

/* Who uses any of it: what to say of them, the caller's; NULL: nobody. */
static char *find_user(const Others *others, const Subnet *subnet) {
    const Subnet *route = host_routes_find(&others->host, subnet);
    const NetworkRow *rows = others->rows;
    char text[16];
    for (size_t i = 0; i < others->count; i++) {
        Subnet other = subnet_of(rows[i].data.subnet, rows[i].data.prefix);
        if (subnets_overlap(&other, subnet) && !is_apart(&rows[i], others->lab))
            return str_format("network %s has %s/%u", rows[i].name, rows[i].data.subnet,
                              rows[i].data.prefix);
    }
    if (!route)
        return NULL;
    ipv4_format(route->address, text);
    return str_format("this host has a route to %s/%u", text, route->prefix);
}

static int check_wish(const char *wish, const Others *others, Subnet *subnet, Error *error) {
    _cleanup_free_ char *user = NULL;
    int r = subnet_parse(wish, subnet, error);
    if (r < 0)
        return r;
    user = find_user(others, subnet);
    if (!user)
        return 0;
    error_set(error, ERROR_CONFLICT, EADDRINUSE, "%s is taken: %s", wish, user);
    error_set_hint(error, "choose another one, or leave --subnet out");
    return -EADDRINUSE;
}

static int pick_subnet(const Others *others, Subnet *subnet, Error *error) {
    for (uint32_t i = 0; i < POOL_BLOCKS; i++) {
        Subnet block = {.address = POOL_ADDRESS + (i << (32 - POOL_PREFIX)), .prefix = POOL_PREFIX};
        _cleanup_free_ char *user = find_user(others, &block);
        if (user)
            continue;
        *subnet = block;
        return 0;
    }
    error_set(error, ERROR_CONFLICT, ENOSPC, "no subnet of 10.77.0.0/16 is free");
    error_set_hint(error, "choose one with --subnet, or remove a network");
    return -ENOSPC;
}

static int choose_subnet(const NetworkOptions *options, const NetworkRow *rows, size_t count,
                         Subnet *subnet, Error *error) {
    Others others = {.rows = rows, .count = count, .lab = options->lab};
    int r = host_routes_read(&others.host, error);
    if (r < 0)
        return r;
    r = options->subnet ? check_wish(options->subnet, &others, subnet, error)
                        : pick_subnet(&others, subnet, error);
    host_routes_free(&others.host);
    return r;
}

/* A unique local prefix with a random global id: RFC 4193, section 3.2. */
static void make_subnet6(NetworkData *data) {
    struct in6_addr address = {.s6_addr = {0xfd}};
    random_bytes(&address.s6_addr[1], 7);
    data->prefix6 = PREFIX6;
    (void)inet_ntop(AF_INET6, &address, data->subnet6, sizeof(data->subnet6));
    network_address6(data, 1, data->gateway6);
}

static void fill_row(const NetworkOptions *options, const Backend *backend, const Subnet *subnet,
                     NetworkRow *row) {
    _cleanup_free_ char *id = random_hex(16);
    *row = (NetworkRow){.created_at_usec = clock_realtime_usec(),
                        .data = {.taps = options->taps,
                                 .prefix = subnet->prefix,
                                 .isolated = options->isolated,
                                 .no_uplink = options->no_uplink,
                                 .allow_host = options->allow_host}};
    str_set(row->data.backend, backend->name);
    str_set(row->data.chosen, backend->chosen);
    str_set(row->id, id);
    str_set(row->name, options->name);
    str_set(row->lab, str_or_empty(options->lab));
    ipv4_format(subnet->address, row->data.subnet);
    ipv4_format(subnet->address + 1, row->data.gateway);
    make_subnet6(&row->data);
}

/* ---- as JSON ---- */

static json_t *describe_vm(Home *home, const NetworkData *data, const LeaseRow *lease) {
    _cleanup_vm_row_ VmRow vm = {0};
    char ip[16], ip6[46];
    if (vms_get(home->store, lease->vm, &vm, NULL) < 0)
        return NULL; /* it went meanwhile */
    ipv4_format(lease->ip, ip);
    network_address6(data, lease->ip - subnet_of(data->subnet, data->prefix).address, ip6);
    return json_pack("{s:s, s:s, s:s, s:s, s:o}", "name", vm.name, "ip", ip, "ip6", ip6, "mac",
                     lease->mac, "impair", impairment_to_json(&vm.runtime.impair));
}

static int describe_vms(Home *home, const NetworkRow *row, json_t **vms, Error *error) {
    _cleanup_free_ LeaseRow *leases = NULL;
    size_t count;
    int r = leases_list(home->store, row->id, &leases, &count, error);
    if (r < 0)
        return r;
    *vms = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *vm = describe_vm(home, &row->data, &leases[i]);
        if (vm)
            (void)json_array_append_new(*vms, vm);
    }
    return 0;
}

static int describe(Home *home, const NetworkRow *row, json_t **network, Error *error) {
    const NetworkData *data = &row->data;
    _cleanup_free_ char *subnet = str_format("%s/%u", data->subnet, data->prefix);
    _cleanup_free_ char *subnet6 = str_format("%s/%u", data->subnet6, data->prefix6);
    _cleanup_free_ char *created = clock_format_realtime(row->created_at_usec);
    json_t *vms;
    int r = describe_vms(home, row, &vms, error);
    if (r < 0)
        return r;
    size_t free_taps = network_is_bridge(row) ? tap_pool_count(home, row) : 0;
    *network = json_pack(
        "{s:s, s:s, s:s?, s:s, s:s, s:s, s:s, s:b, s:b, s:b, s:{s:i, s:i}, s:o, s:o, "
        "s:s}",
        "name", row->name, "backend", data->backend, "chosen", *data->chosen ? data->chosen : NULL,
        "subnet", subnet, "subnet6", subnet6, "gateway", data->gateway, "gateway6", data->gateway6,
        "isolated", data->isolated, "uplink", !data->no_uplink, "allow_host", data->allow_host,
        "taps", "free", (int)free_taps, "size", (int)data->taps, "vms", vms, "impair",
        impairment_to_json(&data->impair), "created_at", created);
    return 0;
}

/* ---- the operations ---- */

/* One transaction: nobody else takes the subnet in between. */
static int insert(Home *home, const NetworkOptions *options, const Backend *backend,
                  NetworkRow *row, Error *error) {
    NetworkRow *rows = NULL;
    size_t count = 0;
    Subnet subnet;
    int r = networks_list(home->store, &rows, &count, error);
    if (r >= 0)
        r = choose_subnet(options, rows, count, &subnet, error);
    if (r >= 0) {
        fill_row(options, backend, &subnet, row);
        row->data.uid = switch_uid_choose(home, rows, count);
    }
    network_rows_free(rows, count);
    return r < 0 ? r : networks_insert(home->store, row, error);
}

/* With its row, or neither: a daemon that ends in between makes it when it starts again. */
static int open_bridge(Home *home, const NetworkRow *row, Error *error) {
    int r = bridge_open(home, row, error);
    if (r < 0)
        (void)networks_delete(home->store, row, NULL);
    else
        tap_pool_fill_later(home, row);
    return r;
}

static void tell_created(Home *home, const NetworkRow *row) {
    _cleanup_json_ json_t *detail = json_pack("{s:s, s:s?}", "backend", row->data.backend, "chosen",
                                              *row->data.chosen ? row->data.chosen : NULL);
    if (*row->data.chosen)
        log_info("network %s is over a %s (%s)", row->name, row->data.backend, row->data.chosen);
    home_event(home, "network.created", NULL, row->name, detail);
}

int network_create(Home *home, const NetworkOptions *options, json_t **network, Error *error) {
    _cleanup_network_row_ NetworkRow row = {0};
    Backend backend;
    choose_backend(home, options, &backend);
    int r = check_options(options, &backend, error);
    if (r >= 0)
        r = store_begin(home->store, error);
    if (r < 0)
        return r;
    r = insert(home, options, &backend, &row, error);
    if (r < 0) {
        store_rollback(home->store);
        return r;
    }
    r = store_commit(home->store, error);
    if (r >= 0 && network_is_bridge(&row))
        r = open_bridge(home, &row, error);
    if (r < 0)
        return r;
    tell_created(home, &row);
    return network ? describe(home, &row, network, error) : 0;
}

static void fill_copy(const NetworkRow *model, const char *name, const char *lab, NetworkRow *row) {
    _cleanup_free_ char *id = random_hex(16);
    const char *macs_of = *model->data.macs_of ? model->data.macs_of : model->id;
    *row = (NetworkRow){.created_at_usec = clock_realtime_usec(), .data = model->data};
    row->data.unknown = NULL;
    row->data.process = (ProcessIdentity){0};
    str_set(row->id, id);
    str_set(row->name, name);
    str_set(row->lab, lab);
    str_set(row->data.macs_of, macs_of);
}

static int insert_copy(Home *home, NetworkRow *row, Error *error) {
    NetworkRow *rows = NULL;
    size_t count = 0;
    int r = networks_list(home->store, &rows, &count, error);
    if (r < 0)
        return r;
    row->data.uid = switch_uid_choose(home, rows, count);
    network_rows_free(rows, count);
    return networks_insert(home->store, row, error);
}

int network_create_copy(Home *home, const NetworkRow *model, const char *name, const char *lab,
                        Error *error) {
    _cleanup_network_row_ NetworkRow row = {0};
    int r = store_begin(home->store, error);
    if (r < 0)
        return r;
    fill_copy(model, name, lab, &row);
    r = insert_copy(home, &row, error);
    if (r < 0) {
        store_rollback(home->store);
        return r;
    }
    r = store_commit(home->store, error);
    if (r >= 0)
        home_event(home, "network.created", NULL, row.name, NULL);
    return r;
}

int network_inspect(Home *home, const char *name, json_t **network, Error *error) {
    _cleanup_network_row_ NetworkRow row = {0};
    int r = networks_get(home->store, name, &row, error);
    return r < 0 ? r : describe(home, &row, network, error);
}

int network_list(Home *home, json_t **list, Error *error) {
    _cleanup_json_ json_t *networks = json_array();
    NetworkRow *rows = NULL;
    size_t count = 0;
    int r = networks_list_shown(home->store, &rows, &count, error);
    for (size_t i = 0; r >= 0 && i < count; i++) {
        json_t *network;
        r = describe(home, &rows[i], &network, error);
        if (r >= 0)
            (void)json_array_append_new(networks, network);
    }
    network_rows_free(rows, count);
    if (r >= 0)
        *list = TAKE_PTR(networks);
    return r;
}

/* One transaction: a daemon that dies in it leaves a row that names what is left. */
static int remove_locked(Home *home, const NetworkRow *row, Error *error) {
    int r = store_begin(home->store, error);
    if (r < 0)
        return r;
    r = networks_delete(home->store, row, error);
    if (r >= 0)
        r = switch_end(home, row, error);
    if (r < 0) {
        store_rollback(home->store);
        return r;
    }
    r = store_commit(home->store, error);
    if (r >= 0 && network_is_bridge(row))
        bridge_remove(home, row);
    if (r >= 0)
        home_event(home, "network.removed", NULL, row->name, NULL);
    return r;
}

/* The network user has a lock, and is none that could be removed. */
int network_remove(Home *home, const char *name, Error *error) {
    _cleanup_network_row_ NetworkRow found = {0}, row = {0};
    _cleanup_op_lock_ OpLock *lock = NULL;
    int r = networks_get(home->store, name, &found, error);
    if (r >= 0)
        r = network_lock(home, name, &lock, &row, error);
    if (r >= 0)
        r = labs_check_alone(home->store, row.lab, "network", row.name, error);
    return r < 0 ? r : remove_locked(home, &row, error);
}

int network_remove_with_lab(Home *home, const char *name, Error *error) {
    _cleanup_network_row_ NetworkRow row = {0};
    _cleanup_op_lock_ OpLock *lock = NULL;
    int r = network_lock(home, name, &lock, &row, error);
    return r < 0 ? r : remove_locked(home, &row, error);
}
