/* SPDX-License-Identifier: Apache-2.0 */

/* A fork of a running VM that wrote much, and a snapshot of one, each beside `cp` of as many bytes:
 * within /dev/shm, and from there to the home with one fsync. */

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/process/spawn_run.h"
#include "base/str.h"
#include "bench/fork_guests.h"
#include "bench/fork_parts.h"
#include "bench/fork_prepared.h"

#define LIVE_BYTES (768 * MIB)
#define COPY_BOUND_USEC (300 * USEC_PER_SEC)

typedef struct Copies {
    char *source;    /* owned: in /dev/shm */
    char *in_memory; /* owned */
    char *in_home;   /* owned */
} Copies;

static int write_random(const char *path, uint64_t bytes, Error *error) {
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    _cleanup_free_ uint8_t *data = malloc(MIB);
    int r = fd < 0 ? -errno : data ? 0 : -ENOMEM;
    for (uint64_t done = 0; r >= 0 && done < bytes; done += MIB) {
        random_bytes(data, MIB);
        r = fd_write_full(fd, data, MIB);
    }
    return r < 0 ? error_set_errno(error, -r, "cannot write %s", path) : 0;
}

static int make_source(const Bench *bench, uint64_t bytes, Copies *copies, Error *error) {
    int pid = (int)getpid();
    copies->source = str_format("/dev/shm/ramet-bench-%d", pid);
    copies->in_memory = str_format("/dev/shm/ramet-bench-%d.copy", pid);
    copies->in_home = str_format("%s/tmp/ramet-bench-%d", bench->home, pid);
    return write_random(copies->source, bytes, error);
}

static void copies_remove(Copies *copies) {
    (void)unlink(copies->source);
    (void)unlink(copies->in_memory);
    (void)unlink(copies->in_home);
    free(copies->source);
    free(copies->in_memory);
    free(copies->in_home);
}

static int flush(const char *path, Error *error) {
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        return error_set_errno(error, errno, "cannot flush %s", path);
    return 0;
}

static int sample_copy(ForkBench *bench, const char *from, const char *to, bool flushed,
                       ForkSample which, Error *error) {
    char *argv[] = {(char[]){"cp"}, (char *)from, (char *)to, NULL};
    const SpawnOptions options = {.program = argv[0], .argv = argv};
    uint64_t start = clock_monotonic_usec();
    int r = spawn_run(&options, COPY_BOUND_USEC, bench->bench->cancel_fd, NULL, error);
    if (r >= 0 && flushed)
        r = flush(to, error);
    if (r >= 0)
        fork_sample(bench, which, (double)(clock_monotonic_usec() - start));
    (void)unlink(to);
    return r;
}

/* Nothing of this VM has been captured before. */
static int sample_live_fork(ForkBench *bench, const json_t *vm, Error *error) {
    _cleanup_json_ json_t *clone = NULL;
    uint64_t usec;
    int r = fork_make(bench, json_string_value(json_object_get(vm, "id")), 1, &clone, &usec, error);
    if (r < 0)
        return r;
    fork_sample(bench, LIVE_FORK, (double)usec);
    return fork_remove_all(bench, clone, error);
}

static int sample_create(ForkBench *bench, const json_t *vm, Error *error) {
    _cleanup_json_ json_t *snapshot = NULL;
    uint64_t usec;
    int r = fork_prepared_freeze(bench, vm, &usec, &snapshot, error);
    if (r >= 0)
        fork_sample(bench, LIVE_CREATE, (double)usec);
    return r;
}

/* One prepared VM, for one of the two. */
static int with_vm(ForkBench *bench, const char *base, uint64_t bytes,
                   int (*sample)(ForkBench *, const json_t *, Error *), Error *error) {
    _cleanup_json_ json_t *answer = NULL;
    int r = fork_prepared_vm(bench, base, bytes, &answer, error);
    if (r < 0)
        return r;
    r = sample(bench, fork_first(answer), error);
    int removed = fork_remove_all(bench, answer, r < 0 ? NULL : error);
    return r < 0 ? r : removed;
}

/* Copies before and after, since the machine drifts. */
static int measure(ForkBench *bench, const char *base, uint64_t bytes, const Copies *copies,
                   Error *error) {
    int r = 0;
    for (int i = 0; r >= 0 && i < 2; i++) {
        r = sample_copy(bench, copies->source, copies->in_memory, false, LIVE_COPY, error);
        if (r >= 0)
            r = fork_sample_baseline(bench, LIVE_BASELINE, error);
        if (r >= 0 && i == 0)
            r = with_vm(bench, base, bytes, sample_live_fork, error);
    }
    for (int i = 0; r >= 0 && i < 2; i++) {
        r = sample_copy(bench, copies->source, copies->in_home, true, LIVE_COPY_HOME, error);
        if (r >= 0 && i == 0)
            r = with_vm(bench, base, bytes, sample_create, error);
    }
    return r;
}

int fork_bench_live(ForkBench *bench, Error *error) {
    _cleanup_free_ char *base = NULL;
    Copies copies = {0};
    uint64_t bytes = MIN_OF(LIVE_BYTES, bench->bench->written_bytes);
    int r = make_source(bench->bench, bytes, &copies, error);
    if (r >= 0)
        r = fork_prepared_base(bench, &base, error);
    if (r >= 0)
        r = measure(bench, base, bytes, &copies, error);
    if (r >= 0)
        fork_sample(bench, LIVE_BOUND,
                    2 * samples_median(&bench->samples[LIVE_COPY]) +
                        3 * samples_median(&bench->samples[LIVE_BASELINE]));
    int removed = base ? fork_snapshot_remove(bench, base, r < 0 ? NULL : error) : 0;
    copies_remove(&copies);
    report_note(bench->bench->report, "the VM that is forked live wrote %llu MiB",
                (unsigned long long)(bytes / MIB));
    return r < 0 ? r : removed;
}
