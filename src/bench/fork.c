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

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "bench/fork_guests.h"
#include "bench/fork_parts.h"
#include "bench/fork_rows.h"
#include "bench/fork_stages.h"
#include "qemu/argv.h"
#include "qemu/machine.h"

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

typedef struct ForkPart {
    const char *name, *what;
    int (*run)(ForkBench *bench, Error *error);
} ForkPart;

static const ForkPart parts[] = {
    {"starts", "forks and claims", fork_bench_starts},
    {"sixteen", "16 forks at once", fork_bench_sixteen},
    {"wakes", "wakes from idle standby", fork_bench_wakes},
    {"pauses", "pauses", fork_bench_pauses},
    {"memory", "memory of clones", fork_bench_memory},
    {"runs", "runs", fork_bench_runs},
    {"generations", "generations", fork_bench_generations},
    {"sizes", "a VM with 8 GiB", fork_bench_sizes},
    {"crowd", "a hundred forks", fork_bench_crowd},
    {"prepared", "prepared VMs", fork_bench_prepared},
    {"workloads", "Debian's workloads", fork_bench_workloads},
    {"live", "a live fork", fork_bench_live},
    {"stock", "stock ways", fork_bench_stock},
};

/* The parts that are wanted, as bits. */
static int choose(const char *list, unsigned *chosen, Error *error) {
    _cleanup_free_ char *names = list ? str_copy(list) : NULL;
    char *rest = names, *name;
    *chosen = names ? 0 : ~0u;
    while (rest && (name = strsep(&rest, ","))) {
        size_t i = 0;
        while (i < ARRAY_SIZE(parts) && !str_equal(parts[i].name, name))
            i++;
        if (i == ARRAY_SIZE(parts))
            return error_set(error, ERROR_USAGE, EINVAL, "bench: there is no part \"%.40s\"", name);
        *chosen |= 1u << i;
    }
    return 0;
}

static void measure(ForkBench *bench, unsigned chosen) {
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        _cleanup_error_ Error error = ERROR_INIT;
        if (chosen & 1u << i && !bench_cancelled(bench->bench) && parts[i].run(bench, &error) < 0)
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
    unsigned chosen;
    bench.bench = plain;
    fork_rows_name(&bench);
    int r = choose(plain->parts, &chosen, error);
    if (r >= 0)
        r = prepare(&bench, error);
    if (r >= 0)
        measure(&bench, chosen);
    if (bench.snapshot) /* may be there although its making failed here */
        (void)fork_snapshot_remove(&bench, bench.snapshot, NULL);
    if (r >= 0) {
        fork_rows_report(&bench);
        fork_report_stages(&bench);
    }
    free_all(&bench);
    return r;
}
