/* SPDX-License-Identifier: Apache-2.0 */
#include <poll.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/parallel.h"
#include "base/str.h"
#include "bench/fork_guests.h"

#define REMOVE_BOUND_USEC (60 * USEC_PER_SEC)
#define REMOVERS 8

int fork_vm_cold(ForkBench *bench, uint64_t memory_bytes, json_t **vm, Error *error) {
    json_t *options = json_pack("{s:I, s:b}", "memory_bytes", (json_int_t)memory_bytes, "cold", 1);
    return bench_vm_start(bench->bench, options, vm, NULL, error);
}

int fork_freeze(ForkBench *bench, const json_t *vm, const char *name, json_t **snapshot,
                Error *error) {
    const char *id = json_string_value(json_object_get(vm, "id"));
    _cleanup_json_ json_t *body = json_object();
    _cleanup_free_ char *path = str_format("/v1/vms/%s/snapshot", id);
    if (name)
        json_object_set_new(body, "name", json_string(name));
    return bench_call(bench->bench, "POST", path, body, snapshot, error);
}

int fork_freeze_new(ForkBench *bench, uint64_t memory_bytes, const char *name, Error *error) {
    _cleanup_json_ json_t *vm = NULL, *snapshot = NULL;
    int r = fork_vm_cold(bench, memory_bytes, &vm, error);
    if (r < 0)
        return r;
    r = fork_freeze(bench, vm, name, &snapshot, error);
    int removed = bench_vm_remove(bench->bench, vm, r < 0 ? NULL : error);
    return r < 0 ? r : removed;
}

int fork_make(ForkBench *bench, const char *source, unsigned count, json_t **answer, uint64_t *usec,
              Error *error) {
    _cleanup_json_ json_t *body = json_pack("{s:s, s:i}", "source", source, "count", (int)count);
    uint64_t start = clock_monotonic_usec();
    int r = bench_call(bench->bench, "POST", "/v1/fork", body, answer, error);
    if (r >= 0 && usec)
        *usec = clock_monotonic_usec() - start;
    return r;
}

const json_t *fork_first(const json_t *answer) {
    return json_array_get(json_object_get(answer, "vms"), 0);
}

/* VMs that some threads remove together. */
typedef struct Removal {
    const ForkBench *bench;
    const json_t *vms;
    atomic_size_t next;
    atomic_flag failed;
    int result;   /* of the first failure, and */
    Error *error; /* what it was: written by who sets `failed` */
} Removal;

static void remove_some(void *data) {
    Removal *removal = data;
    const json_t *vm;
    while ((vm = json_array_get(removal->vms, atomic_fetch_add(&removal->next, 1)))) {
        _cleanup_error_ Error trouble = ERROR_INIT;
        int r = bench_vm_remove(removal->bench->bench, vm, &trouble);
        if (r < 0 && !atomic_flag_test_and_set(&removal->failed))
            removal->result = error_move(removal->error, &trouble);
    }
}

int fork_remove_all(ForkBench *bench, const json_t *answer, Error *error) {
    Removal removal = {.bench = bench,
                       .vms = json_object_get(answer, "vms"),
                       .failed = ATOMIC_FLAG_INIT,
                       .error = error};
    parallel_run(REMOVERS, remove_some, &removal);
    return removal.result;
}

/* Forks that were cancelled are still being taken back, and hold it until then. */
int fork_snapshot_remove(ForkBench *bench, const char *snapshot, Error *error) {
    _cleanup_free_ char *path = str_format("/v1/snapshots/%s?cascade=1", snapshot);
    uint64_t bound = clock_monotonic_usec() + REMOVE_BOUND_USEC;
    for (;;) {
        _cleanup_error_ Error trouble = ERROR_INIT;
        int r = bench_undo(bench->bench, "DELETE", path, NULL, &trouble);
        if (r >= 0)
            return 0;
        if (trouble.kind != ERROR_CONFLICT || clock_monotonic_usec() >= bound)
            return error_move(error, &trouble);
        (void)poll(NULL, 0, 100);
    }
}

int fork_pool(ForkBench *bench, const char *source, unsigned count, Error *error) {
    _cleanup_json_ json_t *body =
        json_pack("{s:s, s:i, s:b}", "source", source, "count", (int)count, "wait", 1);
    if (count == 0)
        return bench_undo(bench->bench, "POST", "/v1/pools", body, error);
    return bench_call(bench->bench, "POST", "/v1/pools", body, NULL, error);
}

static double end_of(const json_t *stage) {
    return json_number_value(json_object_get(stage, "start_us")) +
           json_number_value(json_object_get(stage, "duration_us"));
}

double fork_stage_end(const json_t *vm, const char *stage) {
    const json_t *item;
    size_t i;
    json_array_foreach(json_object_get(vm, "stages"), i, item) {
        if (str_equal(json_string_value(json_object_get(item, "name")), stage))
            return end_of(item);
    }
    return 0;
}

double fork_ready_usec(const json_t *vm) {
    const json_t *stages = json_object_get(vm, "stages");
    return end_of(json_array_get(stages, json_array_size(stages) - 1));
}

int fork_exec(ForkBench *bench, const json_t *vm, const char *script, Error *error) {
    const char *id = json_string_value(json_object_get(vm, "id"));
    const char *const arguments[] = {"exec", id, "--", "/bin/sh", "-c", script, NULL};
    uint64_t usec;
    return bench_cli(bench->bench, arguments, &usec, error);
}

int fork_dirty(ForkBench *bench, const json_t *vm, uint64_t bytes, Error *error) {
    _cleanup_free_ char *script =
        str_format("head -c %llu /dev/urandom >/dev/shm/dirty", (unsigned long long)bytes);
    return fork_exec(bench, vm, script, error);
}

int fork_sample_ready(ForkBench *bench, const char *source, ForkSample which, Error *error) {
    _cleanup_json_ json_t *answer = NULL;
    int r = fork_make(bench, source, 1, &answer, NULL, error);
    if (r < 0)
        return r;
    if (which != FORK_SAMPLES)
        fork_sample(bench, which, fork_ready_usec(fork_first(answer)));
    return fork_remove_all(bench, answer, error);
}
