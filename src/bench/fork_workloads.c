/* SPDX-License-Identifier: Apache-2.0 */

/* Forks of VMs that do what people fork VMs for: Debian as it has booted, with a Python that has
 * imported a heavy module, and with a PostgreSQL whose shared buffers are full. All are forks of
 * one base and live side by side; one is frozen after the other, and the forks are in turn. */

#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "bench/fork_guests.h"
#include "bench/fork_memory.h"
#include "bench/fork_parts.h"
#include "bench/fork_prepared.h"

#define IMAGE "bench-workloads"
#define BUILD "ramet image build " IMAGE " --from debian --include python3,python3-numpy,postgresql"
#define GUEST_BYTES (2 * GIB)
#define FORK_RUNS 10

typedef struct Workload {
    const char *name;
    const char *prepare; /* in the base's fork, until it is as it is to be frozen */
    const char *ask;     /* in a clone: the first thing that a user wants of it */
} Workload;

/* Rows of a kilobyte go into the table itself, without TOAST; what CREATE TABLE writes goes past
 * the shared buffers, so it is read again. */
static const Workload workloads[WORKLOADS] = {
    {"Debian", "systemctl is-system-running --wait >/dev/null || true", "true"},
    {"a Python with numpy",
     "mkfifo /run/ask /run/answer; cat >/run/serve.py <<'END'\n"
     "import numpy\n"
     "import numpy.linalg, numpy.fft, numpy.random, json, decimal, urllib.request\n"
     "data = numpy.random.rand(20000000)\n"
     "while True:\n"
     "    open('/run/ask').read()\n"
     "    print(data[:1000].sum(), file=open('/run/answer', 'w'))\n"
     "END\n"
     "setsid python3 /run/serve.py </dev/null >/run/serve.log 2>&1 & "
     "echo >/run/ask && cat /run/answer",
     "echo >/run/ask && cat /run/answer"},
    {"a PostgreSQL with 200 MB of buffers",
     "set -e; cd /etc/postgresql/*/main; "
     "printf 'shared_buffers = 200MB\\nautovacuum = off\\n' >conf.d/bench.conf; "
     "systemctl restart postgresql; cd /; su postgres -c 'psql -q -v ON_ERROR_STOP=1' <<'END'\n"
     "create table t as select g as id, repeat(md5(g::text), 30) as text"
     " from generate_series(1, 190000) g;\n"
     "create extension pg_prewarm;\n"
     "select pg_prewarm('t');\n"
     "checkpoint;\n"
     "END\n",
     "cd /; su postgres -c 'psql -Atqc \"select count(*) from (select text from t limit 1000) "
     "s\"'"},
};

static int check_image(ForkBench *bench, Error *error) {
    int r = bench_call(bench->bench, "GET", "/v1/images/" IMAGE, NULL, NULL, error);
    if (r < 0)
        error_set_hint(error, "make it: " BUILD);
    return r;
}

static int boot(ForkBench *bench, json_t **vm, Error *error) {
    Bench debian = *bench->bench;
    json_t *options = json_pack("{s:I, s:b}", "memory_bytes", (json_int_t)GUEST_BYTES, "cold", 1);
    debian.image = IMAGE;
    bench_say("booting " IMAGE);
    int r = bench_vm_start(&debian, options, vm, NULL, error);
    return r < 0 ? r : fork_exec(bench, *vm, workloads[0].prepare, error);
}

static int make_base(ForkBench *bench, const char *name, Error *error) {
    _cleanup_json_ json_t *vm = NULL, *snapshot = NULL;
    int r = boot(bench, &vm, error);
    if (r >= 0)
        r = fork_freeze(bench, vm, name, &snapshot, error);
    int removed = vm ? bench_vm_remove(bench->bench, vm, r < 0 ? NULL : error) : 0;
    return r < 0 ? r : removed;
}

static void sample_snapshot(ForkBench *bench, const json_t *snapshot, size_t i, uint64_t usec) {
    fork_sample(bench, WORKLOAD_CREATE + i, (double)usec);
    fork_sample(bench, WORKLOAD_PAUSE + i,
                json_number_value(json_object_get(snapshot, "pause_us")));
    fork_sample(bench, WORKLOAD_WRITTEN + i,
                json_number_value(json_object_get(snapshot, "dirty_bytes")));
}

/* *id becomes the snapshot's, the caller's. */
static int freeze_workload(ForkBench *bench, const char *base, size_t i, char **id, Error *error) {
    _cleanup_json_ json_t *answer = NULL, *snapshot = NULL;
    const char *found;
    uint64_t usec;
    bench_say("preparing %s", workloads[i].name);
    int r = fork_make(bench, base, 1, &answer, NULL, error);
    if (r < 0)
        return r;
    r = fork_exec(bench, fork_first(answer), workloads[i].prepare, error);
    if (r >= 0)
        r = fork_wait_idle(answer, error);
    if (r >= 0)
        r = fork_prepared_freeze(bench, fork_first(answer), &usec, &snapshot, error);
    if (r >= 0)
        r = json_get_string("the snapshot", snapshot, "id", &found, error);
    if (r >= 0) {
        sample_snapshot(bench, snapshot, i, usec);
        *id = str_copy(found);
    }
    int removed = fork_remove_all(bench, answer, r < 0 ? NULL : error);
    return r < 0 ? r : removed;
}

/* One clone: ready, and its program's first answer, from the request on. */
static int sample_clone(ForkBench *bench, const char *snapshot, size_t i, Error *error) {
    _cleanup_json_ json_t *answer = NULL;
    uint64_t start = clock_monotonic_usec();
    int r = fork_make(bench, snapshot, 1, &answer, NULL, error);
    if (r < 0)
        return r;
    r = fork_exec(bench, fork_first(answer), workloads[i].ask, error);
    if (r >= 0) {
        fork_sample(bench, WORKLOAD_ANSWER + i, (double)(clock_monotonic_usec() - start));
        fork_sample(bench, WORKLOAD_READY + i, fork_ready_usec(fork_first(answer)));
    }
    int removed = fork_remove_all(bench, answer, r < 0 ? NULL : error);
    return r < 0 ? r : removed;
}

static int measure_all(ForkBench *bench, const char *base, char **snapshots, Error *error) {
    size_t runs = fork_slow_runs(bench, FORK_RUNS);
    int r = make_base(bench, base, error);
    for (size_t i = 0; r >= 0 && i < WORKLOADS; i++)
        r = freeze_workload(bench, base, i, &snapshots[i], error);
    for (size_t i = 0; r >= 0 && i < WORKLOADS; i++) /* fills what is shared */
        r = fork_sample_ready(bench, snapshots[i], FORK_SAMPLES, error);
    for (size_t run = 0; r >= 0 && run < runs; run++) {
        bench_say("forks of workloads %zu of %zu", run + 1, runs);
        for (size_t i = 0; r >= 0 && i < WORKLOADS; i++)
            r = sample_clone(bench, snapshots[i], i, error);
    }
    for (size_t i = 0; r >= 0 && i < WORKLOADS; i++)
        r = fork_sample_private(bench, snapshots[i], WORKLOAD_PRIVATE + i, error);
    return r;
}

int fork_bench_workloads(ForkBench *bench, Error *error) {
    _cleanup_free_ char *base = str_format("bench-workloads-%d", (int)getpid());
    char *snapshots[WORKLOADS] = {0};
    int r = check_image(bench, error);
    if (r < 0)
        return r;
    r = measure_all(bench, base, snapshots, error);
    int removed = fork_snapshot_remove(bench, base, r < 0 ? NULL : error);
    for (size_t i = 0; i < WORKLOADS; i++)
        free(snapshots[i]);
    return r < 0 ? r : removed;
}
