/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "bench/fork.h"

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

int fork_make(ForkBench *bench, const char *source, unsigned count, json_t **answer, uint64_t *usec,
              Error *error) {
    _cleanup_json_ json_t *body = json_pack("{s:s, s:i}", "source", source, "count", (int)count);
    uint64_t start = clock_monotonic_usec();
    int r = bench_call(bench->bench, "POST", "/v1/fork", body, answer, error);
    if (r >= 0 && usec)
        *usec = clock_monotonic_usec() - start;
    return r;
}

int fork_remove_all(ForkBench *bench, const json_t *answer, Error *error) {
    const json_t *vm;
    size_t i;
    int r = 0;
    json_array_foreach(json_object_get(answer, "vms"), i, vm) {
        int removed = bench_vm_remove(bench->bench, vm, r < 0 ? NULL : error);
        r = r < 0 ? r : removed;
    }
    return r;
}

int fork_snapshot_remove(ForkBench *bench, const char *snapshot, Error *error) {
    _cleanup_free_ char *path = str_format("/v1/snapshots/%s?cascade=1", snapshot);
    return bench_call(bench->bench, "DELETE", path, NULL, NULL, error);
}

int fork_time_one(ForkBench *bench, const char *source, uint64_t *usec, Error *error) {
    _cleanup_json_ json_t *answer = NULL;
    int r = fork_make(bench, source, 1, &answer, usec, error);
    return r < 0 ? r : fork_remove_all(bench, answer, error);
}

double fork_stage_end(const json_t *vm, const char *stage) {
    const json_t *item;
    size_t i;
    json_array_foreach(json_object_get(vm, "stages"), i, item) {
        if (str_equal(json_string_value(json_object_get(item, "name")), stage))
            return json_number_value(json_object_get(item, "start_us")) +
                   json_number_value(json_object_get(item, "duration_us"));
    }
    return 0;
}

int fork_dirty(ForkBench *bench, const json_t *vm, uint64_t bytes, Error *error) {
    const char *id = json_string_value(json_object_get(vm, "id"));
    _cleanup_free_ char *script =
        str_format("head -c %llu /dev/urandom >/dev/shm/dirty", (unsigned long long)bytes);
    const char *const arguments[] = {"exec", id, "--", "/bin/sh", "-c", script, NULL};
    uint64_t usec;
    (void)bench;
    return bytes == 0 ? 0 : bench_cli(arguments, &usec, error);
}

static int add_memory(pid_t pid, double *private_bytes, double *pss_bytes, Error *error) {
    _cleanup_free_ char *path = str_format("/proc/%d/smaps_rollup", (int)pid);
    FILE *file = fopen(path, "re");
    char line[256];
    unsigned long long kib;
    if (!file)
        return error_set_errno(error, errno, "cannot read %s", path);
    while (fgets(line, sizeof(line), file)) {
        if (sscanf(line, "Private_Clean: %llu", &kib) == 1 ||
            sscanf(line, "Private_Dirty: %llu", &kib) == 1)
            *private_bytes += (double)kib * 1024;
        if (sscanf(line, "Pss: %llu", &kib) == 1)
            *pss_bytes += (double)kib * 1024;
    }
    (void)fclose(file);
    return 0;
}

int fork_memory(const json_t *vm, double *private_bytes, double *pss_bytes, Error *error) {
    static const char *const who[] = {"qemu_pid", "keeper_pid"};
    int r = 0;
    *private_bytes = *pss_bytes = 0;
    for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(who); i++) {
        pid_t pid = (pid_t)json_integer_value(json_object_get(vm, who[i]));
        r = add_memory(pid, private_bytes, pss_bytes, error);
    }
    return r;
}
