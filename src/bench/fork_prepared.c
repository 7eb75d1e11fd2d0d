/* SPDX-License-Identifier: Apache-2.0 */

/* What a snapshot costs, and a fork of it, when its source wrote something first. Each prepared VM
 * is a fork of one base that writes random bytes into a tmpfs, which takes long under emulation: it
 * is written once, and frozen once. One that wrote 1 MiB is frozen beside each larger one, so that
 * both meet the same machine; the forks are in turn. */

#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "bench/fork_chain.h"
#include "bench/fork_guests.h"
#include "bench/fork_memory.h"
#include "bench/fork_parts.h"
#include "bench/fork_prepared.h"

#define IDLE_CLONES 3
#define FORK_RUNS 10
#define CHAIN_DEPTH 10
#define CHAIN_BYTES (8 * MIB)
#define GUEST_BYTES (5 * GIB) /* its tmpfs is half of that */

static const uint64_t written_bytes[PREPARED_SIZES] = {MIB, 64 * MIB, 256 * MIB, GIB};

int fork_sample_private(ForkBench *bench, const char *snapshot, ForkSample which, Error *error) {
    _cleanup_json_ json_t *answer = NULL;
    const json_t *vm;
    double bytes;
    size_t i;
    int r = fork_make(bench, snapshot, IDLE_CLONES, &answer, NULL, error);
    if (r < 0)
        return r;
    r = fork_wait_idle(answer, error);
    json_array_foreach(json_object_get(answer, "vms"), i, vm) {
        if (r >= 0)
            r = fork_private(bench, vm, &bytes, error);
        if (r >= 0)
            fork_sample(bench, which, bytes);
    }
    int removed = fork_remove_all(bench, answer, r < 0 ? NULL : error);
    return r < 0 ? r : removed;
}

int fork_prepared_vm(ForkBench *bench, const char *base, uint64_t bytes, json_t **answer,
                     Error *error) {
    _cleanup_json_ json_t *made = NULL;
    bench_say("writing %llu MiB", (unsigned long long)(bytes / MIB));
    int r = fork_make(bench, base, 1, &made, NULL, error);
    if (r >= 0)
        r = fork_dirty(bench, fork_first(made), bytes, error);
    if (r >= 0)
        r = fork_wait_idle(made, error);
    if (r >= 0)
        *answer = json_incref(made);
    else if (made)
        (void)fork_remove_all(bench, made, NULL);
    return r;
}

int fork_prepared_freeze(ForkBench *bench, const json_t *vm, uint64_t *usec, json_t **snapshot,
                         Error *error) {
    uint64_t start = clock_monotonic_usec();
    int r = fork_freeze(bench, vm, NULL, snapshot, error);
    *usec = clock_monotonic_usec() - start;
    return r;
}

static void note_kind(ForkBench *bench, const json_t *snapshot, size_t size) {
    const char *kind =
        json_string_value(json_object_get(json_object_get(snapshot, "memory"), "kind"));
    if (!str_equal(kind, "diff"))
        report_note(bench->bench->report, "the snapshot after %llu MiB is no diff: %s",
                    (unsigned long long)(written_bytes[size] / MIB), kind ? kind : "of no kind");
}

/* One prepared VM, frozen and gone; *id stays the snapshot's. */
static int freeze_prepared(ForkBench *bench, const char *base, size_t size, char **id,
                           Error *error) {
    _cleanup_json_ json_t *answer = NULL, *snapshot = NULL;
    uint64_t usec;
    const char *found;
    int r = fork_prepared_vm(bench, base, written_bytes[size], &answer, error);
    if (r < 0)
        return r;
    r = fork_prepared_freeze(bench, fork_first(answer), &usec, &snapshot, error);
    if (r >= 0)
        r = json_get_string("the snapshot", snapshot, "id", &found, error);
    int removed = fork_remove_all(bench, answer, r < 0 ? NULL : error);
    if (r < 0 || removed < 0)
        return r < 0 ? r : removed;
    note_kind(bench, snapshot, size);
    fork_sample(bench, PREPARED_CREATE + size, (double)usec);
    fork_sample(bench, PREPARED_PAUSE + size,
                json_number_value(json_object_get(snapshot, "pause_us")));
    free(*id);
    *id = str_copy(found);
    return fork_sample_ready(bench, *id, PREPARED_FIRST + size, error);
}

static int measure_forks(ForkBench *bench, char *const *snapshots, size_t sizes, Error *error) {
    size_t runs = fork_slow_runs(bench, FORK_RUNS);
    int r = 0;
    for (size_t i = 0; r >= 0 && i < runs; i++) {
        bench_say("forks of prepared VMs %zu of %zu", i + 1, runs);
        for (size_t size = 0; r >= 0 && size < sizes; size++)
            r = fork_sample_ready(bench, snapshots[size], PREPARED_READY + size, error);
    }
    for (size_t size = 0; r >= 0 && size < sizes; size++)
        r = fork_sample_private(bench, snapshots[size], PREPARED_PRIVATE + size, error);
    if (r >= 0 && sizes == PREPARED_SIZES)
        fork_sample(bench, PREPARED_PRIVATE_BEYOND,
                    samples_median(&bench->samples[PREPARED_PRIVATE + sizes - 1]) -
                        samples_median(&bench->samples[PREPARED_PRIVATE]));
    return r;
}

/* From the snapshot after 64 MiB, or the largest that there is. */
static int measure_chain(ForkBench *bench, const char *root, Error *error) {
    ForkChain chain = {0};
    size_t runs = fork_slow_runs(bench, FORK_RUNS);
    uint64_t bytes = MIN_OF(CHAIN_BYTES, bench->bench->written_bytes);
    int r = fork_chain_make(bench, root, CHAIN_DEPTH, bytes, &chain, error);
    if (r >= 0) /* fills what is shared */
        r = fork_sample_ready(bench, chain.last, FORK_SAMPLES, error);
    if (r >= 0)
        r = fork_sample_ready(bench, chain.first, FORK_SAMPLES, error);
    for (size_t i = 0; r >= 0 && i < runs; i++) {
        r = fork_sample_ready(bench, chain.first, CHAIN_FIRST, error);
        if (r >= 0)
            r = fork_sample_ready(bench, chain.last, CHAIN_LAST, error);
    }
    int removed = fork_chain_remove(bench, &chain, r < 0 ? NULL : error);
    return r < 0 ? r : removed;
}

static int measure_all(ForkBench *bench, const char *base, char **snapshots, Error *error) {
    size_t sizes = 1;
    int r = freeze_prepared(bench, base, 0, &snapshots[0], error);
    for (; r >= 0 && sizes < PREPARED_SIZES; sizes++) {
        if (written_bytes[sizes] > bench->bench->written_bytes)
            break;
        r = freeze_prepared(bench, base, sizes, &snapshots[sizes], error);
        if (r >= 0)
            r = freeze_prepared(bench, base, 0, &snapshots[0], error);
    }
    if (r >= 0 && sizes < PREPARED_SIZES)
        report_note(bench->bench->report, "prepared VMs that write more than %llu MiB are left out",
                    (unsigned long long)(bench->bench->written_bytes / MIB));
    if (r >= 0)
        r = measure_forks(bench, snapshots, sizes, error);
    return r < 0 ? r : measure_chain(bench, snapshots[sizes > 1], error);
}

int fork_prepared_base(ForkBench *bench, char **name, Error *error) {
    *name = str_format("bench-base-%d", (int)getpid());
    bench_say("booting what is prepared");
    int r = fork_freeze_new(bench, MAX_OF(bench->bench->memory_bytes, GUEST_BYTES), *name, error);
    return r < 0 ? r : fork_sample_ready(bench, *name, FORK_SAMPLES, error);
}

int fork_bench_prepared(ForkBench *bench, Error *error) {
    _cleanup_free_ char *base = NULL;
    char *snapshots[PREPARED_SIZES] = {0};
    int r = fork_prepared_base(bench, &base, error);
    if (r >= 0)
        r = measure_all(bench, base, snapshots, error);
    int removed = fork_snapshot_remove(bench, base, r < 0 ? NULL : error);
    for (size_t i = 0; i < PREPARED_SIZES; i++)
        free(snapshots[i]);
    return r < 0 ? r : removed;
}
