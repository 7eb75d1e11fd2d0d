/* SPDX-License-Identifier: Apache-2.0 */

/* The network's share of a fork: a VM that is alone on user, and the same
 * in a network with a name, both frozen; then clones of them in turn. The third kind asks for a MAC
 * address of its own, so that the guest's card has to be changed, too. */

#include "base/clock.h"
#include "base/str.h"
#include "bench/net/net_parts.h"

#define NETWORK "bench-net"
#define ASKED_SHARE_USEC 3000

typedef enum Kind { KIND_USER, KIND_NETWORK, KIND_MAC, KINDS } Kind;

static const char *const cards[KINDS] = {
    [KIND_USER] = "user", [KIND_NETWORK] = NETWORK, [KIND_MAC] = NETWORK ",mac=52:54:00:ff:00:77"};

typedef struct Rig {
    Bench *bench;             /* borrowed */
    json_t *snapshots[KINDS]; /* owned; those of the last two are one */
    Samples ready[KINDS], client[KINDS];
} Rig;

static const char *text_of(const json_t *object, const char *member) {
    return json_string_value(json_object_get(object, member));
}

/* Boots a VM in the network, freezes it and removes it. */
static int freeze(const Bench *bench, const char *network, json_t **snapshot, Error *error) {
    _cleanup_json_ json_t *vm = NULL, *body = json_object();
    json_t *options = json_pack("{s:[s], s:b, s:I}", "networks", network, "cold", 1, "memory_bytes",
                                (json_int_t)bench->memory_bytes);
    int r = bench_vm_start(bench, options, &vm, NULL, error);
    if (r < 0)
        return r;
    _cleanup_free_ char *path = str_format("/v1/vms/%s/snapshot", text_of(vm, "id"));
    r = bench_call(bench, "POST", path, body, snapshot, error);
    int removed = bench_vm_remove(bench, vm, r < 0 ? NULL : error);
    return r < 0 ? r : removed;
}

static int prepare(Rig *rig, Error *error) {
    _cleanup_json_ json_t *body = json_pack("{s:s, s:s}", "name", NETWORK, "backend", "switch");
    int r = bench_call(rig->bench, "POST", "/v1/networks", body, NULL, error);
    if (r >= 0)
        r = freeze(rig->bench, "user", &rig->snapshots[KIND_USER], error);
    if (r >= 0)
        r = freeze(rig->bench, NETWORK, &rig->snapshots[KIND_NETWORK], error);
    if (r >= 0)
        rig->snapshots[KIND_MAC] = json_incref(rig->snapshots[KIND_NETWORK]);
    return r;
}

static double ready_of(const json_t *vm) {
    const json_t *stages = json_object_get(vm, "stages");
    const json_t *last = json_array_get(stages, json_array_size(stages) - 1);
    return json_number_value(json_object_get(last, "start_us")) +
           json_number_value(json_object_get(last, "duration_us"));
}

static int fork_one(Rig *rig, Kind kind, bool counts, Error *error) {
    _cleanup_json_ json_t *answer = NULL;
    _cleanup_json_ json_t *body = json_pack(
        "{s:s, s:[s]}", "source", text_of(rig->snapshots[kind], "id"), "networks", cards[kind]);
    uint64_t start = clock_monotonic_usec();
    int r = bench_call(rig->bench, "POST", "/v1/fork", body, &answer, error);
    if (r < 0)
        return r;
    const json_t *vm = json_array_get(json_object_get(answer, "vms"), 0);
    if (counts) {
        samples_add(&rig->client[kind], (double)(clock_monotonic_usec() - start));
        samples_add(&rig->ready[kind], ready_of(vm));
    }
    return bench_vm_remove(rig->bench, vm, error);
}

static int measure(Rig *rig, Error *error) {
    size_t runs = MAX_OF(rig->bench->runs, (size_t)20);
    int r = 0;
    for (size_t i = 0; r >= 0 && i <= runs; i++)
        for (Kind kind = 0; r >= 0 && kind < KINDS; kind++)
            r = fork_one(rig, kind, i > 0, error); /* the first one warms up */
    return r;
}

static void clean_up(Rig *rig) {
    for (Kind kind = 0; kind < KIND_MAC; kind++) {
        const char *id = text_of(rig->snapshots[kind], "id");
        _cleanup_free_ char *path = id ? str_format("/v1/snapshots/%s?cascade=1", id) : NULL;
        if (path)
            (void)bench_undo(rig->bench, "DELETE", path, NULL, NULL);
    }
    (void)bench_undo(rig->bench, "DELETE", "/v1/networks/" NETWORK, NULL, NULL);
    for (Kind kind = 0; kind < KINDS; kind++)
        json_decref(rig->snapshots[kind]);
}

/* What the medians of two kinds differ by. */
static void report_share(Rig *rig, Kind kind, const char *name, double asked) {
    Samples share = {.name = name, .unit = "us"};
    samples_add(&share, samples_median(&rig->ready[kind]) - samples_median(&rig->ready[KIND_USER]));
    report_add_bound(rig->bench->report, &share, asked);
}

static void report(Rig *rig) {
    BenchReport *to = rig->bench->report;
    report_add(to, &rig->ready[KIND_USER]);
    report_add_ratio(to, &rig->ready[KIND_NETWORK], &rig->ready[KIND_USER], 0, 0);
    report_add_ratio(to, &rig->ready[KIND_MAC], &rig->ready[KIND_USER], 0, 0);
    report_add(to, &rig->client[KIND_USER]);
    report_add_ratio(to, &rig->client[KIND_NETWORK], &rig->client[KIND_USER], 0, 0);
    report_share(rig, KIND_NETWORK, "the network's share of ready", ASKED_SHARE_USEC);
    report_share(rig, KIND_MAC, "the same with a MAC of its own", 0);
}

int bench_net_fork(Bench *bench, Error *error) {
    Rig rig = {
        .bench = bench,
        .ready = {{.name = "fork to ready, network user", .label = "user", .unit = "us"},
                  {.name = "fork to ready, network with a name", .unit = "us"},
                  {.name = "fork to ready, and a MAC of its own", .unit = "us"}},
        .client = {{.name = "fork, as its client sees it, user", .label = "user", .unit = "us"},
                   {.name = "fork, as its client sees it, network with a name", .unit = "us"}}};
    int r = prepare(&rig, error);
    if (r >= 0)
        r = measure(&rig, error);
    if (r >= 0)
        report(&rig);
    clean_up(&rig);
    return r;
}
