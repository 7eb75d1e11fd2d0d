/* SPDX-License-Identifier: Apache-2.0 */

/* What a fork costs, beside F and beside the stock ways, in one run.
 *
 * Everything that is compared is measured in turn, round by round, since the machine drifts. F is
 * what no fork without a pool can be faster than; each part that is compared with it measures its
 * own. Times "from the request's arrival" are the VM's own stages; the client's are those of the
 * whole HTTP call. What takes seconds (cold boots, saving whole machines) takes fewer rounds.
 *
 * The parts know nothing of each other. One that fails is told at the end, with its reason, and
 * makes the whole fail; the others count all the same. */

#include "bench/fork.h"

#include <unistd.h>

#include "base/str.h"
#include "qemu/argv.h"

void fork_sample(ForkBench *bench, ForkSample which, double value) {
    samples_add(&bench->samples[which], value);
}

int fork_sample_yardstick(ForkBench *bench, ForkSample which, Error *error) {
    uint64_t usec;
    int r = plain_greeting(bench->files.qemu, bench->files.accel, &usec, error);
    if (r >= 0)
        fork_sample(bench, which, (double)usec);
    return r;
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

size_t fork_slow_runs(const ForkBench *bench, size_t most) {
    return MIN_OF(bench->bench->runs, most);
}

static int prepare(ForkBench *bench, Error *error) {
    _cleanup_json_ json_t *vm = NULL, *snapshot = NULL, *answer = NULL;
    bench_say("booting what is forked");
    int r = fork_vm_cold(bench, bench->bench->memory_bytes, &vm, error);
    if (r < 0)
        return r;
    r = boot_files_find(bench->bench, vm, &bench->files, error);
    if (r >= 0) {
        bench->files.cmdline = qemu_default_cmdline(bench->files.accel);
        bench->snapshot = str_format("bench-%d", (int)getpid());
        r = fork_freeze(bench, vm, bench->snapshot, &snapshot, error);
    }
    int removed = bench_vm_remove(bench->bench, vm, r < 0 ? NULL : error);
    if (r >= 0 && removed >= 0) /* the first clone fills what is shared */
        r = fork_make(bench, bench->snapshot, 1, &answer, NULL, error);
    if (r < 0 || removed < 0)
        return r < 0 ? r : removed;
    return fork_remove_all(bench, answer, error);
}

static void measure(ForkBench *bench) {
    static const struct {
        const char *what;
        int (*run)(ForkBench *bench, Error *error);
    } parts[] = {{"forks and claims", fork_bench_starts},
                 {"16 forks at once", fork_bench_sixteen},
                 {"pauses", fork_bench_pauses},
                 {"memory of clones", fork_bench_memory},
                 {"runs", fork_bench_runs},
                 {"generations", fork_bench_generations},
                 {"a VM with 8 GiB", fork_bench_sizes},
                 {"a hundred forks", fork_bench_crowd},
                 {"stock ways", fork_bench_stock}};
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        _cleanup_error_ Error error = ERROR_INIT;
        if (!bench_cancelled(bench->bench) && parts[i].run(bench, &error) < 0)
            report_failure(bench->bench->report, parts[i].what, &error);
    }
}

static void free_all(ForkBench *bench) {
    for (size_t i = 0; i < FORK_SAMPLES; i++)
        json_decref(bench->starts[i]);
    boot_files_free(&bench->files);
    free(bench->snapshot);
}

int bench_fork(Bench *plain, Error *error) {
    static ForkBench bench; /* large */
    bench.bench = plain;
    fork_rows_name(&bench);
    int r = prepare(&bench, error);
    if (r >= 0)
        measure(&bench);
    if (bench.snapshot) /* may be there although its making failed here */
        (void)fork_snapshot_remove(&bench, bench.snapshot, NULL);
    if (r >= 0) {
        fork_rows_report(&bench);
        r = fork_picture(&bench, error);
    }
    free_all(&bench);
    return r;
}
