/* SPDX-License-Identifier: Apache-2.0 */

/* Many at once, without QEMU: VMs that are made and not started, which have a leased address each;
 * and the ports, names and forwards of a switch, as its daemon sets them. What the thousandth costs
 * beside the first ones tells whether something grows with their number. */

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/parallel.h"
#include "base/str.h"
#include "bench/net/net_parts.h"
#include "bench/net/switch_rig.h"

#define NETWORK "bench-net"
#define AT_ONCE 100
#define ASKED_AT_ONCE_USEC (500.0 * 1000)
#define MANY 1000
#define EDGE 50 /* of the first and of the last ones the median counts */
#define ASKED_GROWTH 1.5
#define THREADS 8

/* ---- leases, by the daemon ---- */

typedef struct Making {
    const Bench *bench; /* borrowed */
    json_t *vms[MANY];  /* owned */
    uint64_t usec[MANY];
    size_t count;
    atomic_size_t next;
    atomic_flag failed;
    int result;   /* of the first failure, and */
    Error *error; /* what it was: written by who sets `failed` */
} Making;

static void make_some(void *data) {
    Making *making = data;
    size_t i;
    while ((i = atomic_fetch_add(&making->next, 1)) < making->count) {
        _cleanup_error_ Error trouble = ERROR_INIT;
        _cleanup_json_ json_t *body = json_pack("{s:s, s:b, s:[s]}", "image", making->bench->image,
                                                "start", 0, "networks", NETWORK);
        uint64_t start = clock_monotonic_usec();
        int r = bench_call(making->bench, "POST", "/v1/vms", body, &making->vms[i], &trouble);
        making->usec[i] = clock_monotonic_usec() - start;
        if (r < 0 && !atomic_flag_test_and_set(&making->failed))
            making->result = error_move(making->error, &trouble);
    }
}

static void remove_some(void *data) {
    Making *making = data;
    size_t i;
    while ((i = atomic_fetch_add(&making->next, 1)) < making->count)
        if (making->vms[i])
            (void)bench_vm_remove(making->bench, making->vms[i], NULL);
}

static void remove_all(Making *making) {
    atomic_store(&making->next, 0);
    parallel_run(THREADS, remove_some, making);
    for (size_t i = 0; i < making->count; i++)
        json_decref(making->vms[i]);
}

static int check_distinct(const Making *making, Error *error) {
    _cleanup_json_ json_t *seen = json_object();
    for (size_t i = 0; i < making->count; i++)
        (void)json_object_set_new(seen, json_string_value(json_object_get(making->vms[i], "ip")),
                                  json_true());
    if (json_object_size(seen) == making->count)
        return 0;
    return error_set(error, ERROR_FAILED, EIO, "%zu VMs have only %zu addresses", making->count,
                     json_object_size(seen));
}

/* threads 1: one after the other. */
static int make_vms(const Bench *bench, size_t count, unsigned threads, Samples *whole,
                    Samples edges[2], Error *error) {
    Making *making = calloc(1, sizeof(*making));
    if (!making)
        abort();
    *making = (Making){.bench = bench, .count = count, .error = error};
    atomic_flag_clear(&making->failed);
    uint64_t start = clock_monotonic_usec();
    parallel_run(threads, make_some, making);
    if (whole)
        samples_add(whole, (double)(clock_monotonic_usec() - start));
    int r = making->result < 0 ? making->result : check_distinct(making, error);
    for (size_t i = 0; edges && i < EDGE; i++) {
        samples_add(&edges[0], (double)making->usec[i]);
        samples_add(&edges[1], (double)making->usec[count - EDGE + i]);
    }
    remove_all(making);
    free(making);
    return r;
}

static int with_network(Bench *bench, int (*measure)(Bench *bench, Error *error), Error *error) {
    _cleanup_json_ json_t *body = json_pack("{s:s, s:s, s:s}", "name", NETWORK, "backend", "switch",
                                            "subnet", "10.78.0.0/16");
    int r = bench_call(bench, "POST", "/v1/networks", body, NULL, error);
    if (r >= 0)
        r = measure(bench, error);
    (void)bench_undo(bench, "DELETE", "/v1/networks/" NETWORK, NULL, NULL);
    return r;
}

static int measure_leases(Bench *bench, Error *error) {
    static Samples at_once = {.name = "100 VMs made at once, with their leases", .unit = "us"};
    static Samples edges[2] = {{.name = "a VM and its lease, the first 50", .label = "the first"},
                               {.name = "the same, the 951st to the 1,000th"}};
    int r = 0;
    edges[0].unit = edges[1].unit = "us";
    for (size_t i = 0; i < bench->runs && r >= 0; i++)
        r = make_vms(bench, AT_ONCE, THREADS, &at_once, NULL, error);
    if (r >= 0)
        r = make_vms(bench, MANY, 1, NULL, edges, error);
    if (r < 0)
        return r;
    report_add_bound(bench->report, &at_once, ASKED_AT_ONCE_USEC);
    report_add(bench->report, &edges[0]);
    report_add_ratio(bench->report, &edges[1], &edges[0], ASKED_GROWTH, 0);
    return 0;
}

/* ---- ports, names and forwards, by the switch ---- */

typedef int (*RigCall)(SwitchRig *rig, size_t i, Error *error);

static int add_port(SwitchRig *rig, size_t i, Error *error) {
    return switch_rig_add_port(rig, error);
}

static int remove_port(SwitchRig *rig, size_t i, Error *error) {
    char id[SWITCH_ID_SIZE];
    switch_rig_port_id(i, id);
    return switch_client_remove_port(rig->control, id, error);
}

static void forward_to(size_t i, SwitchForward *forward) {
    *forward = (SwitchForward){.udp = true, .host_ip = {127, 0, 0, 1}, .guest_port = 53};
    forward->host_port = 20000 + i;
    switch_rig_port_id(i, forward->id);
}

static int add_forward(SwitchRig *rig, size_t i, Error *error) {
    SwitchForward forward;
    forward_to(i, &forward);
    return switch_client_add_forward(rig->control, &forward, -1, error);
}

static int remove_forward(SwitchRig *rig, size_t i, Error *error) {
    SwitchForward forward;
    forward_to(i, &forward);
    return switch_client_remove_forward(rig->control, &forward, error);
}

/* Each of them, one after the other: edges[0] gets the first ones, edges[1] the last. */
static int time_all(SwitchRig *rig, RigCall call, Samples edges[2], Error *error) {
    int r = 0;
    for (size_t i = 0; i < MANY && r >= 0; i++) {
        uint64_t start = clock_monotonic_usec();
        r = call(rig, i, error);
        double usec = (double)(clock_monotonic_usec() - start);
        if (i < EDGE || i >= MANY - EDGE)
            samples_add(&edges[i >= EDGE], usec);
    }
    return r;
}

/* few: what one costs when hardly any others are there. */
static void report_growth(Bench *bench, Samples *few, Samples *many) {
    report_add(bench->report, few);
    report_add_ratio(bench->report, many, few, ASKED_GROWTH, 0);
}

static int measure_ports(Bench *bench, Error *error) {
    static Samples ports[2] = {{.name = "a port and its name, the first 50", .unit = "us"},
                               {.name = "the same, the 951st to the 1,000th", .unit = "us"}};
    static Samples forwards[2] = {{.name = "a forward, the first 50", .unit = "us"},
                                  {.name = "the same, the 951st to the 1,000th", .unit = "us"}};
    static Samples unforwards[2] = {{.name = "a forward less, of 1,000", .unit = "us"},
                                    {.name = "the same, of the last 50", .unit = "us"}};
    static Samples removals[2] = {{.name = "a port less, of 1,000", .unit = "us"},
                                  {.name = "the same, of the last 50", .unit = "us"}};
    ports[0].label = forwards[0].label = unforwards[1].label = removals[1].label = "few";
    _cleanup_(switch_rig_free) SwitchRig rig;
    int r = switch_rig_init(&rig, error);
    if (r >= 0)
        r = time_all(&rig, add_port, ports, error);
    if (r >= 0)
        r = time_all(&rig, add_forward, forwards, error);
    if (r >= 0)
        r = time_all(&rig, remove_forward, unforwards, error);
    if (r >= 0)
        r = time_all(&rig, remove_port, removals, error);
    if (r < 0)
        return r;
    report_growth(bench, &ports[0], &ports[1]);
    report_growth(bench, &forwards[0], &forwards[1]);
    report_growth(bench, &unforwards[1], &unforwards[0]);
    report_growth(bench, &removals[1], &removals[0]);
    return 0;
}

int bench_net_scale(Bench *bench, Error *error) {
    int r = measure_ports(bench, error);
    return r < 0 ? r : with_network(bench, measure_leases, error);
}
