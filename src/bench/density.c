/* SPDX-License-Identifier: Apache-2.0 */

/* How many clones a host holds, and what one costs, all told.
 *
 * Clones of one snapshot are made until there are as many as wanted, until the next ones would
 * leave the host short of memory, or until the host has so much to do with those that are there
 * that a fork takes many times as long as at first. What one costs is the fall of MemAvailable
 * (proc_meminfo(5)) divided by their number, so page tables, stacks, socket buffers and all else of
 * the kernel's count. The first ones and the last ones come one at a time, the last ones beside
 * others that have been idle for a while; those between in groups. Whatever happens, all of them
 * are removed. */

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"
#include "bench/fork_guests.h"
#include "bench/fork_memory.h"

#define GROUP 16
#define SINGLE 10            /* of the first ones, and of the last ones */
#define LEFT_BYTES (2 * GIB) /* stays available: a clone that gets busy needs some of it */
#define EXECS 50
/* A group that takes so many times as long as the first one, and so long for each, is the last. */
#define SLOW_FACTOR 5
#define SLOW_USEC (500 * USEC_PER_MSEC)

/* Fields of /proc/meminfo; a fall of the first one, a rise of the others. */
static const char *const kinds[] = {"MemAvailable", "AnonPages",    "Shmem",      "PageTables",
                                    "KernelStack",  "SReclaimable", "SUnreclaim", "Cached"};
#define KINDS ARRAY_SIZE(kinds)

typedef struct HostMemory {
    double bytes[KINDS];
} HostMemory;

typedef struct Density {
    ForkBench fork;
    json_t *vms;         /* owned: {"vms":[VM]} of all */
    json_t *latest;      /* owned: the same of those that came last; NULL: none */
    char *snapshot;      /* owned */
    const char *end;     /* why no more are made; NULL: more may be */
    uint64_t group_usec; /* of the first group, for each clone; 0: it is not made yet */
    Samples first, last, idle, private, exec, cost[KINDS], count;
    HostMemory before;
} Density;

static int host_memory(HostMemory *memory, Error *error) {
    _cleanup_fclose_ FILE *file = fopen("/proc/meminfo", "re");
    char line[128], name[64];
    unsigned long long kib;
    if (!file)
        return error_set_errno(error, errno, "cannot read /proc/meminfo");
    while (fgets(line, sizeof(line), file))
        for (size_t i = 0; i < KINDS; i++)
            if (sscanf(line, "%63[^:]: %llu kB", name, &kib) == 2 && str_equal(name, kinds[i]))
                memory->bytes[i] = (double)kib * 1024;
    return 0;
}

static size_t count_of(const Density *density) {
    return json_array_size(json_object_get(density->vms, "vms"));
}

/* Forks some more. No room for them is no error, but the end. */
static int grow(Density *density, unsigned count, Samples *samples, Error *error) {
    _cleanup_json_ json_t *answer = NULL;
    _cleanup_error_ Error trouble = ERROR_INIT;
    HostMemory now = {0};
    int r = host_memory(&now, error);
    if (r < 0)
        return r;
    if (now.bytes[0] >= (double)LEFT_BYTES)
        r = fork_make(&density->fork, density->snapshot, count, &answer, NULL, &trouble);
    if (now.bytes[0] < (double)LEFT_BYTES || trouble.kind == ERROR_NO_MEMORY) {
        density->end = "memory is short";
        return 0;
    }
    if (r < 0)
        return error_move(error, &trouble);
    if (samples)
        samples_add(samples, fork_ready_usec(fork_first(answer)));
    json_array_extend(json_object_get(density->vms, "vms"), json_object_get(answer, "vms"));
    json_decref(density->latest);
    density->latest = json_incref(answer);
    return 0;
}

/* One at a time, each when those before have come to rest. */
static int grow_singly(Density *density, size_t count, Samples *samples, Error *error) {
    int r = 0;
    for (size_t i = 0; r >= 0 && i < count && !density->end; i++) {
        if (density->latest)
            r = fork_wait_idle(density->latest, error);
        if (r >= 0)
            r = grow(density, 1, samples, error);
    }
    return r;
}

static int grow_group(Density *density, size_t count, Error *error) {
    uint64_t start = clock_monotonic_usec(), usec;
    bench_say("%zu clones", count_of(density));
    int r = grow(density, (unsigned)count, NULL, error);
    usec = (clock_monotonic_usec() - start) / count;
    if (density->group_usec == 0)
        density->group_usec = usec;
    else if (usec > SLOW_FACTOR * density->group_usec && usec > SLOW_USEC)
        density->end = "forks have become slow";
    return r;
}

/* All but the last ones. */
static int make_most(Density *density, size_t wanted, Error *error) {
    int r = grow_singly(density, MIN_OF(wanted, (size_t)SINGLE), &density->first, error);
    while (r >= 0 && !density->end && count_of(density) + SINGLE < wanted)
        r = grow_group(density, MIN_OF(wanted - SINGLE - count_of(density), (size_t)GROUP), error);
    return r;
}

/* Beside clones that have been idle for a while: what a new one takes, not what its siblings do
 * when they are new. */
static int make_last(Density *density, size_t wanted, Error *error) {
    int r = 0;
    if (wanted > count_of(density))
        r = grow_singly(density, wanted - count_of(density), &density->last, error);
    if (r >= 0 && density->end)
        report_note(density->fork.bench->report, "no more clones than %zu: %s", count_of(density),
                    density->end);
    return r;
}

/* Of all clones, QEMUs and keepers. */
static int processors_usec(const Density *density, uint64_t *usec, Error *error) {
    uint64_t sum = 0, one;
    const json_t *vm;
    size_t i;
    json_array_foreach(json_object_get(density->vms, "vms"), i, vm) {
        int r = fork_processor_usec(fork_pid(vm, "qemu_pid"), &one, error);
        sum += r < 0 ? 0 : one;
        if (r >= 0)
            r = fork_processor_usec(fork_pid(vm, "keeper_pid"), &one, error);
        if (r < 0)
            return r;
        sum += one;
    }
    *usec = sum;
    return 0;
}

/* A while during which nobody asks them anything; it ends early when the user wants it to. */
static int measure_idle(Density *density, Error *error) {
    uint64_t before, after, start;
    struct pollfd wanted = {.fd = density->fork.bench->cancel_fd, .events = POLLIN};
    bench_say("%zu clones idle for %zu s", count_of(density), density->fork.bench->idle_sec);
    int r = fork_wait_idle(density->latest, error);
    if (r >= 0)
        r = processors_usec(density, &before, error);
    if (r < 0)
        return r;
    start = clock_monotonic_usec();
    if (poll(&wanted, 1, (int)density->fork.bench->idle_sec * 1000) > 0)
        return error_set(error, ERROR_FAILED, ECANCELED, "interrupted");
    r = processors_usec(density, &after, error);
    if (r >= 0)
        samples_add(&density->idle, 100.0 * (double)(after - before) /
                                        (double)(clock_monotonic_usec() - start) /
                                        (double)count_of(density));
    return r;
}

static int measure_memory(Density *density, Error *error) {
    double clones = (double)count_of(density);
    HostMemory now = {0};
    int r = host_memory(&now, error);
    for (size_t i = 0; r >= 0 && i < KINDS; i++) {
        double rise = now.bytes[i] - density->before.bytes[i];
        samples_add(&density->cost[i], (i == 0 ? -rise : rise) / clones);
    }
    return r;
}

/* Clones that are spread over all of them. */
static const json_t *nth(const Density *density, size_t i, size_t of) {
    return json_array_get(json_object_get(density->vms, "vms"), i * count_of(density) / of);
}

static int sample_private(Density *density, const json_t *vm, Error *error) {
    double bytes;
    int r = fork_private(&density->fork, vm, &bytes, error);
    if (r >= 0)
        samples_add(&density->private, bytes);
    return r;
}

static int sample_exec(Density *density, const json_t *vm, Error *error) {
    const char *const arguments[] = {"exec", json_string_value(json_object_get(vm, "id")), "true",
                                     NULL};
    uint64_t usec;
    int r = bench_cli(density->fork.bench, arguments, &usec, error);
    if (r >= 0)
        samples_add(&density->exec, (double)usec);
    return r;
}

static int measure_answers(Density *density, Error *error) {
    size_t execs = MIN_OF((size_t)EXECS, count_of(density));
    int r = 0;
    for (size_t i = 0; r >= 0 && i < execs; i++)
        r = sample_private(density, nth(density, i, execs), error);
    for (size_t i = 0; r >= 0 && i < execs; i++)
        r = sample_exec(density, nth(density, i, execs), error);
    return r;
}

/* The first clone fills what all share, and is gone before anything counts. */
static int measure(Density *density, Error *error) {
    ForkBench *fork = &density->fork;
    size_t wanted = fork->bench->clones;
    density->snapshot = str_format("bench-density-%d", (int)getpid());
    bench_say("booting what is forked");
    int r = fork_freeze_new(fork, fork->bench->memory_bytes, density->snapshot, error);
    if (r >= 0)
        r = fork_sample_ready(fork, density->snapshot, FORK_SAMPLES, error);
    if (r >= 0)
        r = host_memory(&density->before, error);
    if (r >= 0)
        r = make_most(density, wanted, error);
    if (r >= 0 && count_of(density) == 0)
        r = error_set(error, ERROR_NO_MEMORY, ENOMEM, "not even one clone fits");
    if (r >= 0)
        r = measure_idle(density, error);
    if (r >= 0)
        r = measure_memory(density, error);
    if (r >= 0)
        r = make_last(density, wanted, error);
    return r < 0 ? r : measure_answers(density, error);
}

static int remove_all(Density *density, Error *error) {
    bench_say("removing %zu clones", count_of(density));
    int r = fork_remove_all(&density->fork, density->vms, error);
    int removed = fork_snapshot_remove(&density->fork, density->snapshot, r < 0 ? NULL : error);
    return r < 0 ? r : removed;
}

static void report_all(Density *density) {
    BenchReport *report = density->fork.bench->report;
    samples_add(&density->count, (double)count_of(density));
    report_add_bound(report, &density->count, 0);
    report_add_bound(report, &density->cost[0], 17e6);
    report_add_bound(report, &density->private, 0);
    for (size_t i = 1; i < KINDS; i++)
        report_add_bound(report, &density->cost[i], 0);
    report_add_bound(report, &density->idle, 0.1);
    report_add_bound(report, &density->first, 0);
    if (density->last.count > 0)
        report_add_ratio(report, &density->last, &density->first, 1.5, 0);
    report_add_bound(report, &density->exec, 0);
}

int bench_density(Bench *bench, Error *error) {
    static const char *const costs[KINDS] = {"one clone: fall of MemAvailable",
                                             "of it AnonPages",
                                             "of it Shmem",
                                             "of it page tables",
                                             "of it kernel stacks",
                                             "of it slabs, reclaimable",
                                             "of it slabs, others",
                                             "rise of Cached"};
    static Density density = {
        .first = {.name = "the first forks: ready", .label = "first", .unit = "us"},
        .last = {.name = "the last forks: ready", .unit = "us"},
        .idle = {.name = "one idle clone: of a processor", .unit = "%"},
        .private = {.name = "one clone: private, as inspect shows", .unit = "bytes"},
        .exec = {.name = "exec true, a clone's first one", .unit = "us"},
        .count = {.name = "clones at once", .unit = "clones"}};
    for (size_t i = 0; i < KINDS; i++) {
        density.cost[i].name = costs[i];
        density.cost[i].unit = "bytes";
    }
    density.fork.bench = bench;
    density.vms = json_pack("{s:[]}", "vms");
    int r = measure(&density, error);
    int removed = remove_all(&density, r < 0 ? NULL : error);
    if (r >= 0)
        report_all(&density);
    json_decref(density.vms);
    json_decref(density.latest);
    free(density.snapshot);
    return r < 0 ? r : removed;
}
