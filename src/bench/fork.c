/* SPDX-License-Identifier: Apache-2.0 */

/* What a fork costs, beside F and beside the stock ways, in one run.
 *
 * Everything that is compared is measured in turn, round by round, since the machine drifts: a
 * round has one F, one fork, one claim, one fork of each generation and size. F is what no fork
 * without a pool can be faster than. Times "from the request's arrival" are the VM's own stages;
 * the client's are those of the whole HTTP call. Expensive rows (cold boots, saving whole machines)
 * take fewer rounds. A row that cannot be measured here is left out, and a note says why. */

#include "bench/fork.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "bench/svg.h"

#define SLOW_RUNS 5u
#define LARGE_BYTES (8 * GIB)
#define DIRTY_BYTES (8 * MIB)
#define GENERATIONS 10
#define CROWD 99 /* clones that are there when the hundredth comes */
#define GROUP 16
#define IDLE_CLONES 4
#define POOL_BOUND_USEC (300 * USEC_PER_SEC)

typedef struct ForkRow {
    ForkSample sample;
    const char *name;
    const char *unit;
    ForkSample against; /* FORK_SAMPLES: none */
    double most;        /* ratio to `against`, or a bound where there is none; 0: nothing asked */
} ForkRow;

static const ForkRow rows[] = {
    {YARDSTICK, "F: QEMU's exec to its greeting", "us", FORK_SAMPLES, 0},
    {FORK_RESTORED, "fork: restored", "us", YARDSTICK, 1.3},
    {FORK_ANSWER, "fork: first answer", "us", YARDSTICK, 1.7},
    {FORK_READY, "fork: ready with identity", "us", YARDSTICK, 2},
    {FORK_CLIENT, "fork: the client's call", "us", YARDSTICK, 0},
    {CLAIM_ANSWER, "claim: first answer", "us", YARDSTICK, 0.15},
    {CLAIM_READY, "claim: ready with identity", "us", YARDSTICK, 0.3},
    {CLAIM_CLIENT, "claim: the client's call", "us", YARDSTICK, 0},
    {RUN_COLD, "run --rm --cold IMAGE -- true", "us", FORK_SAMPLES, 0},
    {RUN_CACHE, "run --rm IMAGE -- true, cache warm", "us", RUN_COLD, 0.1},
    {RUN_POOL, "run --rm IMAGE -- true, with a pool", "us", RUN_COLD, 0.02},
    {PAUSE, "pause of a clone with 8 MiB dirty", "us", YARDSTICK, 0.5},
    {SNAPSHOT_DIRTY, "its dirty pages", "bytes", FORK_SAMPLES, 0},
    {SNAPSHOT_BEYOND, "its snapshot beyond the dirty pages", "bytes", FORK_SAMPLES, 65536},
    {FORK_SMALL, "fork of the small VM", "us", FORK_SAMPLES, 0},
    {FORK_LARGE, "fork of a VM with 8 GiB", "us", FORK_SMALL, 1.15},
    {FORK_FIRST, "first fork of a generation", "us", FORK_SAMPLES, 0},
    {FORK_HUNDREDTH, "100th fork of a generation", "us", FORK_FIRST, 1.2},
    {GENERATION_FIRST, "fork of the first generation", "us", FORK_SAMPLES, 0},
    {GENERATION_TENTH, "fork of the 10th generation", "us", GENERATION_FIRST, 1.2},
    {CLONE_PRIVATE, "private memory of an idle clone", "bytes", FORK_SAMPLES, 16e6},
    {CLONE_PSS, "its proportional share (PSS)", "bytes", FORK_SAMPLES, 0},
    {SIXTEEN, "16 forks at once, all ready", "us", YARDSTICK, 16 * 1.2},
    {COLD_RAMET, "cold boot to ready", "us", YARDSTICK, 0},
    {COLD_PLAIN, "plain QEMU's boot to the agent's answer", "us", YARDSTICK, 0},
    {MIGRATE_SAVE, "QEMU migrate to a file", "us", YARDSTICK, 0},
    {MIGRATE_RESTORE, "QEMU from that file to the first answer", "us", YARDSTICK, 0},
    {LIBVIRT_SAVE, "virsh save", "us", YARDSTICK, 0},
    {LIBVIRT_RESTORE, "virsh restore", "us", YARDSTICK, 0},
};

void fork_sample(ForkBench *bench, ForkSample which, double value) {
    samples_add(&bench->samples[which], value);
}

static void fork_bench_free(ForkBench *bench) {
    for (size_t i = 0; i < FORK_SAMPLES; i++)
        json_decref(bench->starts[i]);
    boot_files_free(&bench->files);
    free(bench->snapshot);
}

static size_t slow_runs(const ForkBench *bench) {
    return MIN_OF(bench->bench->runs, (size_t)SLOW_RUNS);
}

/* Something that may be missing here: what it was and why, and the bench goes on. */
static void leave_out(ForkBench *bench, const char *what, const Error *error) {
    report_note(bench->bench->report, "left out: %s: %s", what, error_message(error));
}

/* --- single rounds ------------------------------------------------------------------------------
 */

static void keep_start(ForkBench *bench, ForkSample which, const json_t *vm) {
    if (!bench->starts[which])
        bench->starts[which] = json_array();
    json_array_append(bench->starts[which], json_object_get(vm, "stages"));
}

static double last_end(const json_t *vm) {
    const json_t *stages = json_object_get(vm, "stages");
    const json_t *last = json_array_get(stages, json_array_size(stages) - 1);
    return json_number_value(json_object_get(last, "start_us")) +
           json_number_value(json_object_get(last, "duration_us"));
}

static int sample_yardstick(ForkBench *bench, Error *error) {
    uint64_t usec;
    int r = plain_greeting(bench->files.qemu, bench->files.accel, &usec, error);
    if (r >= 0)
        fork_sample(bench, YARDSTICK, (double)usec);
    return r;
}

static int sample_fork(ForkBench *bench, Error *error) {
    _cleanup_json_ json_t *answer = NULL;
    uint64_t usec;
    int r = fork_make(bench, bench->snapshot, 1, &answer, &usec, error);
    if (r < 0)
        return r;
    const json_t *vm = json_array_get(json_object_get(answer, "vms"), 0);
    fork_sample(bench, FORK_CLIENT, (double)usec);
    fork_sample(bench, FORK_RESTORED, fork_stage_end(vm, "load"));
    fork_sample(bench, FORK_ANSWER, fork_stage_end(vm, "agent"));
    fork_sample(bench, FORK_READY, last_end(vm));
    keep_start(bench, FORK_READY, vm);
    return fork_remove_all(bench, answer, error);
}

static int sample_time(ForkBench *bench, const char *source, ForkSample which, Error *error) {
    uint64_t usec;
    int r = fork_time_one(bench, source, &usec, error);
    if (r >= 0)
        fork_sample(bench, which, (double)usec);
    return r;
}

static int sample_run(ForkBench *bench, bool cold, ForkSample which, Error *error) {
    const char *const cold_arguments[] = {"run", "--rm", "--cold", bench->bench->image,
                                          "--",  "true", NULL};
    const char *const arguments[] = {"run", "--rm", bench->bench->image, "--", "true", NULL};
    uint64_t usec;
    int r = bench_cli(cold ? cold_arguments : arguments, &usec, error);
    if (r >= 0)
        fork_sample(bench, which, (double)usec);
    return r;
}

/* --- forks --------------------------------------------------------------------------------------
 */

static int bench_forks(ForkBench *bench, Error *error) {
    int r = 0;
    for (size_t i = 0; r >= 0 && i < bench->bench->runs; i++) {
        bench_say("fork %zu of %zu", i + 1, bench->bench->runs);
        r = sample_yardstick(bench, error);
        if (r >= 0)
            r = sample_fork(bench, error);
    }
    return r;
}

static int bench_sixteen(ForkBench *bench, Error *error) {
    int r = 0;
    for (size_t i = 0; r >= 0 && i < slow_runs(bench); i++) {
        _cleanup_json_ json_t *answer = NULL;
        uint64_t usec;
        bench_say("16 forks at once, %zu", i + 1);
        r = fork_make(bench, bench->snapshot, GROUP, &answer, &usec, error);
        if (r < 0)
            break;
        fork_sample(bench, SIXTEEN, (double)usec);
        r = fork_remove_all(bench, answer, error);
        if (r >= 0)
            r = sample_yardstick(bench, error);
    }
    return r;
}

/* The last ones of a hundred, beside firsts that were alone. */
static int bench_crowd(ForkBench *bench, Error *error) {
    _cleanup_json_ json_t *crowd = NULL;
    int r = 0;
    for (size_t i = 0; r >= 0 && i < bench->bench->runs; i++)
        r = sample_time(bench, bench->snapshot, FORK_FIRST, error);
    bench_say("%d clones", CROWD);
    if (r >= 0)
        r = fork_make(bench, bench->snapshot, CROWD, &crowd, NULL, error);
    for (size_t i = 0; r >= 0 && i < bench->bench->runs; i++)
        r = sample_time(bench, bench->snapshot, FORK_HUNDREDTH, error);
    int removed = crowd ? fork_remove_all(bench, crowd, r < 0 ? NULL : error) : 0;
    return r < 0 ? r : removed;
}

/* Memory of clones that have nothing to do, once what their start left over is done. */
static int bench_memory(ForkBench *bench, Error *error) {
    _cleanup_json_ json_t *answer = NULL;
    double private_bytes, pss_bytes;
    size_t i;
    json_t *vm;
    int r = fork_make(bench, bench->snapshot, IDLE_CLONES, &answer, NULL, error);
    if (r < 0)
        return r;
    (void)sleep(2);
    json_array_foreach(json_object_get(answer, "vms"), i, vm) {
        if (r >= 0)
            r = fork_memory(vm, &private_bytes, &pss_bytes, error);
        if (r < 0)
            continue;
        fork_sample(bench, CLONE_PRIVATE, private_bytes);
        fork_sample(bench, CLONE_PSS, pss_bytes);
    }
    int removed = fork_remove_all(bench, answer, r < 0 ? NULL : error);
    return r < 0 ? r : removed;
}

/* --- generations and sizes ----------------------------------------------------------------------
 */

/* Forks the snapshot and freezes the clone: the next generation. The clone goes on. */
static int next_generation(ForkBench *bench, const char *from, char **to, Error *error) {
    _cleanup_json_ json_t *answer = NULL, *snapshot = NULL;
    const char *id;
    int r = fork_make(bench, from, 1, &answer, NULL, error);
    if (r < 0)
        return r;
    const json_t *vm = json_array_get(json_object_get(answer, "vms"), 0);
    r = fork_dirty(bench, vm, MIB, error);
    if (r >= 0)
        r = fork_freeze(bench, vm, NULL, &snapshot, error);
    if (r >= 0)
        r = json_get_string("the snapshot", snapshot, "id", &id, error);
    int removed = fork_remove_all(bench, answer, r < 0 ? NULL : error);
    if (r < 0 || removed < 0)
        return r < 0 ? r : removed;
    *to = str_copy(id);
    return 0;
}

static int bench_generations(ForkBench *bench, Error *error) {
    _cleanup_free_ char *last = str_copy(bench->snapshot), *first = NULL;
    int r = 0;
    for (int i = 1; r >= 0 && i < GENERATIONS; i++) {
        char *next = NULL;
        bench_say("generation %d", i + 1);
        r = next_generation(bench, last, &next, error);
        if (r < 0)
            break;
        if (!first)
            first = str_copy(next);
        free(last);
        last = next;
    }
    for (size_t i = 0; r >= 0 && i < bench->bench->runs; i++) {
        r = sample_time(bench, bench->snapshot, GENERATION_FIRST, error);
        if (r >= 0)
            r = sample_time(bench, last, GENERATION_TENTH, error);
    }
    int removed = first ? fork_snapshot_remove(bench, first, r < 0 ? NULL : error) : 0;
    return r < 0 ? r : removed;
}

static int freeze_new(ForkBench *bench, uint64_t memory_bytes, const char *name, Error *error) {
    _cleanup_json_ json_t *vm = NULL, *snapshot = NULL;
    int r = fork_vm_cold(bench, memory_bytes, &vm, error);
    if (r < 0)
        return r;
    r = fork_freeze(bench, vm, name, &snapshot, error);
    int removed = bench_vm_remove(bench->bench, vm, r < 0 ? NULL : error);
    return r < 0 ? r : removed;
}

static int bench_sizes(ForkBench *bench, Error *error) {
    _cleanup_free_ char *large = str_format("bench-large-%d", (int)getpid());
    bench_say("a VM with 8 GiB");
    int r = freeze_new(bench, LARGE_BYTES, large, error);
    if (r < 0)
        return r;
    for (size_t i = 0; r >= 0 && i < bench->bench->runs; i++) {
        r = sample_time(bench, bench->snapshot, FORK_SMALL, error);
        if (r >= 0)
            r = sample_time(bench, large, FORK_LARGE, error);
    }
    int removed = fork_snapshot_remove(bench, large, r < 0 ? NULL : error);
    return r < 0 ? r : removed;
}

/* --- snapshots of a clone -----------------------------------------------------------------------
 */

static int sample_pause(ForkBench *bench, uint64_t write_bytes, double *dirty_bytes, bool keep,
                        Error *error) {
    _cleanup_json_ json_t *answer = NULL, *snapshot = NULL;
    int r = fork_make(bench, bench->snapshot, 1, &answer, NULL, error);
    if (r < 0)
        return r;
    const json_t *vm = json_array_get(json_object_get(answer, "vms"), 0);
    r = fork_dirty(bench, vm, write_bytes, error);
    if (r >= 0)
        r = fork_freeze(bench, vm, NULL, &snapshot, error);
    int removed = fork_remove_all(bench, answer, r < 0 ? NULL : error);
    if (r < 0 || removed < 0)
        return r < 0 ? r : removed;
    const json_t *memory = json_object_get(snapshot, "memory");
    double size = json_number_value(json_object_get(memory, "allocated_bytes")) +
                  json_number_value(json_object_get(snapshot, "state_bytes"));
    *dirty_bytes = json_number_value(json_object_get(snapshot, "dirty_bytes"));
    if (keep) {
        fork_sample(bench, PAUSE, json_number_value(json_object_get(snapshot, "pause_us")));
        fork_sample(bench, SNAPSHOT_DIRTY, *dirty_bytes);
        fork_sample(bench, SNAPSHOT_BEYOND, size - *dirty_bytes);
    }
    return fork_snapshot_remove(bench, json_string_value(json_object_get(snapshot, "id")), error);
}

/* A first one tells how much is dirty in a clone that did nothing. */
static int bench_pauses(ForkBench *bench, Error *error) {
    double idle = 0, dirty;
    int r = sample_pause(bench, 0, &idle, false, error);
    uint64_t write_bytes = idle < (double)DIRTY_BYTES ? DIRTY_BYTES - (uint64_t)idle : MIB;
    for (size_t i = 0; r >= 0 && i < bench->bench->runs; i++) {
        bench_say("pause %zu", i + 1);
        r = sample_pause(bench, write_bytes, &dirty, true, error);
        if (r >= 0)
            r = sample_yardstick(bench, error);
    }
    return r;
}

/* --- cache and pool -----------------------------------------------------------------------------
 */

static int bench_runs(ForkBench *bench, Error *error) {
    uint64_t usec;
    const char *const prepare[] = {"run", "--rm", bench->bench->image, "--", "true", NULL};
    int r = bench_cli(prepare, &usec, error);
    for (size_t i = 0; r >= 0 && i < slow_runs(bench); i++) {
        bench_say("run %zu", i + 1);
        r = sample_run(bench, true, RUN_COLD, error);
        for (size_t j = 0; r >= 0 && j < 4; j++)
            r = sample_run(bench, false, RUN_CACHE, error);
    }
    return r;
}

/* --- stock ways ---------------------------------------------------------------------------------
 */

static int run_migrate(const PlainBoot *boot, void *data, Error *error) {
    ForkBench *bench = data;
    _cleanup_free_ char *file = str_format("%s.machine", boot->disk);
    uint64_t save_usec, restore_usec;
    int r = plain_migrate(boot, file, &save_usec, &restore_usec, error);
    (void)unlink(file);
    if (r < 0)
        return r;
    fork_sample(bench, MIGRATE_SAVE, (double)save_usec);
    fork_sample(bench, MIGRATE_RESTORE, (double)restore_usec);
    return 0;
}

static int run_plain(const PlainBoot *boot, void *data, Error *error) {
    uint64_t usec;
    int r = plain_boot(boot, &usec, error);
    if (r >= 0)
        fork_sample(data, COLD_PLAIN, (double)usec);
    return r;
}

static int run_libvirt(const PlainBoot *boot, void *data, Error *error) {
    ForkBench *bench = data;
    return libvirt_measure(boot, slow_runs(bench), &bench->samples[LIBVIRT_SAVE],
                           &bench->samples[LIBVIRT_RESTORE], error);
}

static int sample_cold(ForkBench *bench, Error *error) {
    _cleanup_json_ json_t *vm = NULL;
    int r = fork_vm_cold(bench, bench->bench->memory_bytes, &vm, error);
    if (r < 0)
        return r;
    fork_sample(bench, COLD_RAMET, last_end(vm));
    keep_start(bench, COLD_RAMET, vm);
    return bench_vm_remove(bench->bench, vm, error);
}

static int bench_stock(ForkBench *bench, Error *error) {
    _cleanup_error_ Error missing = ERROR_INIT;
    const Bench *plain = bench->bench;
    int r = 0;
    for (size_t i = 0; r >= 0 && i < slow_runs(bench); i++) {
        bench_say("stock ways %zu", i + 1);
        r = sample_cold(bench, error);
        if (r >= 0)
            r = boot_files_with_disk(plain, &bench->files, run_plain, bench, error);
        if (r >= 0)
            r = boot_files_with_disk(plain, &bench->files, run_migrate, bench, error);
    }
    if (r >= 0 && boot_files_with_disk(plain, &bench->files, run_libvirt, bench, &missing) < 0)
        leave_out(bench, "libvirt", &missing);
    return r;
}

/* --- the report ---------------------------------------------------------------------------------
 */

static void report_row(const ForkBench *bench, const ForkRow *row) {
    const Samples *samples = &bench->samples[row->sample];
    BenchReport *report = bench->bench->report;
    if (samples->count == 0)
        return;
    if (row->against != FORK_SAMPLES)
        report_add_ratio(report, samples, &bench->samples[row->against], row->most, 0);
    else
        report_add_bound(report, samples, row->most);
}

/* The start whose time is nearest to the median. */
static const json_t *typical_start(const ForkBench *bench, ForkSample which) {
    const json_t *starts = bench->starts[which], *start, *best = NULL;
    double median = samples_median(&bench->samples[which]), distance = HUGE_VAL;
    size_t i;
    json_array_foreach(starts, i, start) {
        const json_t *last = json_array_get(start, json_array_size(start) - 1);
        double end = json_number_value(json_object_get(last, "start_us")) +
                     json_number_value(json_object_get(last, "duration_us"));
        if (fabs(end - median) < distance) {
            distance = fabs(end - median);
            best = start;
        }
    }
    return best;
}

static int report_starts(const ForkBench *bench, Error *error) {
    static const struct {
        ForkSample sample;
        const char *key, *title;
    } kinds[] = {{COLD_RAMET, "cold", "cold boot"},
                 {FORK_READY, "fork", "fork"},
                 {CLAIM_READY, "claim", "claim of a warm clone"}};
    _cleanup_json_ json_t *starts = json_array();
    bench->bench->report->stages = json_object();
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        const json_t *stages = typical_start(bench, kinds[i].sample);
        if (!stages)
            continue;
        json_object_set(bench->bench->report->stages, kinds[i].key, (json_t *)stages);
        json_array_append_new(starts,
                              json_pack("{s:s, s:O}", "title", kinds[i].title, "stages", stages));
    }
    return bench->bench->svg ? svg_write(bench->bench->svg, starts, error) : 0;
}

/* --- all of it ----------------------------------------------------------------------------------
 */

static int prepare(ForkBench *bench, Error *error) {
    _cleanup_json_ json_t *vm = NULL, *snapshot = NULL;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        bench->samples[rows[i].sample].name = rows[i].name;
        bench->samples[rows[i].sample].unit = rows[i].unit;
    }
    bench_say("booting what is forked");
    int r = fork_vm_cold(bench, bench->bench->memory_bytes, &vm, error);
    if (r < 0)
        return r;
    bench->snapshot = str_format("bench-%d", (int)getpid());
    r = boot_files_find(bench->bench, vm, &bench->files, error);
    if (r >= 0)
        r = fork_freeze(bench, vm, bench->snapshot, &snapshot, error);
    int removed = bench_vm_remove(bench->bench, vm, r < 0 ? NULL : error);
    return r < 0 ? r : removed;
}

/* One that fails here is left out, and said; the others count all the same. */
static void measure(ForkBench *bench) {
    static const struct {
        const char *what;
        int (*run)(ForkBench *bench, Error *error);
    } parts[] = {{"forks", bench_forks},
                 {"pauses", bench_pauses},
                 {"memory of clones", bench_memory},
                 {"16 forks at once", bench_sixteen},
                 {"runs", bench_runs},
                 {"stock ways", bench_stock},
                 {"generations", bench_generations},
                 {"a VM with 8 GiB", bench_sizes},
                 {"a hundred forks", bench_crowd}};
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        _cleanup_error_ Error error = ERROR_INIT;
        if (parts[i].run(bench, &error) < 0)
            leave_out(bench, parts[i].what, &error);
    }
}

int bench_fork(Bench *plain, Error *error) {
    static ForkBench bench; /* large */
    uint64_t usec;
    bench.bench = plain;
    int r = prepare(&bench, error);
    if (r >= 0) /* the first one fills what is shared */
        r = fork_time_one(&bench, bench.snapshot, &usec, error);
    if (r >= 0)
        measure(&bench);
    if (bench.snapshot)
        (void)fork_snapshot_remove(&bench, bench.snapshot, NULL);
    for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(rows); i++)
        report_row(&bench, &rows[i]);
    if (r >= 0)
        r = report_starts(&bench, error);
    fork_bench_free(&bench);
    return r;
}
