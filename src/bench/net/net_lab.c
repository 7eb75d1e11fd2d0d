/* SPDX-License-Identifier: Apache-2.0 */

/* A lab of eight VMs: what it takes to bring it up (by cold boots where the daemon has no boot
 * cache: RAMET_BOOT_CACHE=off), to freeze it at one moment, and to copy it, from its snapshot or by
 * a claim of a copy that a pool has warm; beside that, what one
 * fork of one of its VMs takes of the processors, since a copy can hardly be quicker than eight of
 * them. */

#include <unistd.h>

#include "base/clock.h"
#include "base/process/process.h"
#include "base/str.h"
#include "bench/net/net_parts.h"

#define LAB "bench-lab"
#define VMS 8
#define ASKED_SPREAD_USEC 5000
#define ASKED_SHARE 1.1

typedef struct Rig {
    Bench *bench; /* borrowed */
    pid_t daemon;
    json_t *snapshot; /* owned: the last one */
    Samples up, spread, pause, fork, warm, processor;
} Rig;

static const char *text_of(const json_t *object, const char *member) {
    return json_string_value(json_object_get(object, member));
}

static json_t *describe_lab(const Bench *bench) {
    json_t *vms = json_array();
    for (int i = 0; i < VMS; i++) {
        _cleanup_free_ char *name = str_format("v%d", i);
        (void)json_array_append_new(vms, json_pack("{s:s, s:s, s:[s], s:I}", "name", name, "image",
                                                   bench->image, "networks", "lan", "memory_bytes",
                                                   (json_int_t)bench->memory_bytes));
    }
    return json_pack("{s:s, s:[{s:s}], s:o}", "name", LAB, "networks", "name", "lan", "vms", vms);
}

static int bring_up(Rig *rig, Error *error) {
    _cleanup_json_ json_t *body = describe_lab(rig->bench), *version = NULL;
    uint64_t start = clock_monotonic_usec();
    int r = bench_call(rig->bench, "POST", "/v1/labs", body, NULL, error);
    samples_add(&rig->up, (double)(clock_monotonic_usec() - start));
    if (r >= 0)
        r = bench_call(rig->bench, "GET", "/v1/version", NULL, &version, error);
    rig->daemon = (pid_t)json_integer_value(json_object_get(version, "pid"));
    return r;
}

static int remove_snapshot(Rig *rig, Error *error) {
    _cleanup_free_ char *path = str_format("/v1/lab-snapshots/%s", text_of(rig->snapshot, "name"));
    json_replace(&rig->snapshot, NULL);
    return bench_call(rig->bench, "DELETE", path, NULL, NULL, error);
}

static int freeze(Rig *rig, size_t run, Error *error) {
    _cleanup_free_ char *name = str_format(LAB "-%zu", run);
    _cleanup_json_ json_t *body = json_pack("{s:s}", "name", name);
    const json_t *vm;
    size_t i;
    int r = rig->snapshot ? remove_snapshot(rig, error) : 0;
    if (r >= 0)
        r = bench_call(rig->bench, "POST", "/v1/labs/" LAB "/snapshot", body, &rig->snapshot,
                       error);
    if (r < 0)
        return r;
    samples_add(&rig->spread, json_number_value(json_object_get(rig->snapshot, "spread_us")));
    json_array_foreach(json_object_get(rig->snapshot, "vms"), i, vm)
        samples_add(&rig->pause, json_number_value(json_object_get(vm, "pause_us")));
    return 0;
}

/* samples NULL: it does not count. */
static int copy(Rig *rig, Samples *samples, Error *error) {
    _cleanup_json_ json_t *body = json_pack("{s:s}", "source", text_of(rig->snapshot, "name"));
    _cleanup_json_ json_t *answer = NULL;
    uint64_t start = clock_monotonic_usec();
    int r = bench_call(rig->bench, "POST", "/v1/lab-fork", body, &answer, error);
    if (r < 0)
        return r;
    if (samples)
        samples_add(samples, (double)(clock_monotonic_usec() - start));
    const json_t *lab = json_array_get(json_object_get(answer, "labs"), 0);
    _cleanup_free_ char *path = str_format("/v1/labs/%s", text_of(lab, "name"));
    return bench_call(rig->bench, "DELETE", path, NULL, NULL, error);
}

/* Of the daemon, the keeper and QEMU, with its virtual CPU. */
static int fork_one(Rig *rig, bool counts, Error *error) {
    const json_t *member = json_array_get(json_object_get(rig->snapshot, "vms"), 0);
    _cleanup_json_ json_t *body =
        json_pack("{s:s, s:s}", "source", text_of(member, "snapshot"), "network", "none");
    _cleanup_json_ json_t *answer = NULL;
    uint64_t before = process_cpu_usec(rig->daemon), used;
    int r = bench_call(rig->bench, "POST", "/v1/fork", body, &answer, error);
    if (r < 0)
        return r;
    const json_t *vm = json_array_get(json_object_get(answer, "vms"), 0);
    used = process_cpu_usec(rig->daemon) - before;
    used += process_cpu_usec((pid_t)json_integer_value(json_object_get(vm, "keeper_pid")));
    used += process_cpu_usec((pid_t)json_integer_value(json_object_get(vm, "qemu_pid")));
    if (counts)
        samples_add(&rig->processor, (double)used);
    return bench_vm_remove(rig->bench, vm, error);
}

static int measure(Rig *rig, Error *error) {
    int r = 0;
    for (size_t i = 0; r >= 0 && i <= rig->bench->runs; i++) {
        r = freeze(rig, i, error);
        if (r >= 0)
            r = copy(rig, i > 0 ? &rig->fork : NULL, error); /* the first one warms up */
        if (r >= 0)
            r = fork_one(rig, i > 0, error);
    }
    return r;
}

static int set_pool(const Rig *rig, int count, Error *error) {
    _cleanup_json_ json_t *body = json_pack(
        "{s:s, s:i, s:b}", "source", text_of(rig->snapshot, "name"), "count", count, "wait", true);
    return bench_call(rig->bench, "POST", "/v1/pools", body, NULL, error);
}

/* A pool of one, which is full before each copy, and begins to fill again once the answer is there.
 */
static int measure_warm(Rig *rig, Error *error) {
    int r = 0;
    for (size_t i = 0; r >= 0 && i < rig->bench->runs; i++) {
        r = set_pool(rig, 1, error);
        if (r >= 0)
            r = copy(rig, &rig->warm, error);
    }
    int ended = set_pool(rig, 0, r < 0 ? NULL : error);
    return r < 0 ? r : ended;
}

static void report(Rig *rig) {
    BenchReport *to = rig->bench->report;
    double cores = (double)MAX_OF(sysconf(_SC_NPROCESSORS_ONLN), 1L);
    Samples share = {.name = "the same, of 8 such forks over the cores", .unit = "x"};
    report_add(to, &rig->up);
    report_add_ratio(to, &rig->fork, &rig->up, 0, 0);
    report_add_ratio(to, &rig->warm, &rig->up, 0, 0);
    report_add(to, &rig->processor);
    samples_add(&share,
                samples_median(&rig->fork) / (VMS * samples_median(&rig->processor) / cores));
    report_add_bound(to, &share, ASKED_SHARE);
    report_add_bound(to, &rig->spread, ASKED_SPREAD_USEC);
    report_add(to, &rig->pause);
}

static void clean_up(Rig *rig) {
    _cleanup_free_ char *path =
        rig->snapshot ? str_format("/v1/lab-snapshots/%s", text_of(rig->snapshot, "name")) : NULL;
    (void)bench_undo(rig->bench, "DELETE", "/v1/labs/" LAB, NULL, NULL);
    if (path)
        (void)bench_undo(rig->bench, "DELETE", path, NULL, NULL);
    json_decref(rig->snapshot);
}

int bench_net_lab(Bench *bench, Error *error) {
    Rig rig = {.bench = bench,
               .up = {.name = "lab of 8, up", .label = "up", .unit = "us"},
               .spread = {.name = "lab snapshot, first to last stop", .unit = "us"},
               .pause = {.name = "lab snapshot, a VM's pause", .unit = "us"},
               .fork = {.name = "lab fork", .unit = "us"},
               .warm = {.name = "lab fork, warm", .unit = "us"},
               .processor = {.name = "processor time of one fork", .unit = "us"}};
    int r = bring_up(&rig, error);
    if (r >= 0)
        r = measure(&rig, error);
    if (r >= 0)
        r = measure_warm(&rig, error);
    if (r >= 0)
        report(&rig);
    clean_up(&rig);
    return r;
}
