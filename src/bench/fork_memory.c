/* SPDX-License-Identifier: Apache-2.0 */

/* What an idle clone takes for itself: QEMU, keeper and the guest's own pages together, as the
 * kernel accounts them (smaps_rollup, proc(5)). Clones are idle when their QEMUs hardly used the
 * processor for a while. There are several, so that what they share does not count as anybody's
 * own. */

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/str.h"
#include "bench/fork_guests.h"
#include "bench/fork_memory.h"
#include "bench/fork_parts.h"

#define CLONES 20
#define WATCHED_MSEC 100
#define IDLE_USEC (WATCHED_MSEC * 1000 / 100) /* of a clone: a hundredth of a processor */
#define IDLE_BOUND_USEC (30 * USEC_PER_SEC)

int fork_processor_usec(pid_t pid, uint64_t *usec, Error *error) {
    struct timespec used = {0};
    clockid_t clock;
    int r = clock_getcpuclockid(pid, &clock);
    if (r == 0 && clock_gettime(clock, &used) < 0)
        r = errno;
    if (r > 0)
        return error_set_errno(error, r, "cannot watch process %d", (int)pid);
    *usec = (uint64_t)used.tv_sec * USEC_PER_SEC + (uint64_t)used.tv_nsec / 1000;
    return 0;
}

pid_t fork_pid(const json_t *vm, const char *which) {
    return (pid_t)json_integer_value(json_object_get(vm, which));
}

static int all_processors_usec(const json_t *vms, uint64_t *usec, Error *error) {
    const json_t *vm;
    uint64_t sum = 0, one = 0;
    size_t i;
    json_array_foreach(vms, i, vm) {
        int r = fork_processor_usec(fork_pid(vm, "qemu_pid"), &one, error);
        if (r < 0)
            return r;
        sum += one;
    }
    *usec = sum;
    return 0;
}

int fork_wait_idle(const json_t *answer, Error *error) {
    const json_t *vms = json_object_get(answer, "vms");
    uint64_t allowed = json_array_size(vms) * IDLE_USEC;
    uint64_t before, now = 0, bound = clock_monotonic_usec() + IDLE_BOUND_USEC;
    int r = all_processors_usec(vms, &now, error);
    do {
        before = now;
        (void)poll(NULL, 0, WATCHED_MSEC);
        if (r >= 0)
            r = all_processors_usec(vms, &now, error);
    } while (r >= 0 && now - before > allowed && clock_monotonic_usec() < bound);
    return r;
}

int fork_private(ForkBench *bench, const json_t *vm, double *bytes, Error *error) {
    _cleanup_free_ char *path =
        str_format("/v1/vms/%s", json_string_value(json_object_get(vm, "id")));
    _cleanup_json_ json_t *inspected = NULL;
    int r = bench_call(bench->bench, "GET", path, NULL, &inspected, error);
    if (r < 0)
        return r;
    *bytes =
        json_number_value(json_object_get(json_object_get(inspected, "memory"), "private_bytes"));
    return *bytes > 0
               ? 0
               : error_set(error, ERROR_FAILED, 0, "the private memory of a clone cannot be read");
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

static int sample_memory(ForkBench *bench, const json_t *vm, Error *error) {
    double private_bytes = 0, pss_bytes = 0;
    int r = add_memory(fork_pid(vm, "qemu_pid"), &private_bytes, &pss_bytes, error);
    if (r >= 0)
        r = add_memory(fork_pid(vm, "keeper_pid"), &private_bytes, &pss_bytes, error);
    if (r < 0)
        return r;
    fork_sample(bench, CLONE_PRIVATE, private_bytes);
    fork_sample(bench, CLONE_PSS, pss_bytes);
    return 0;
}

int fork_bench_memory(ForkBench *bench, Error *error) {
    _cleanup_json_ json_t *answer = NULL;
    const json_t *vm;
    size_t i;
    bench_say("memory of %d idle clones", CLONES);
    int r = fork_make(bench, bench->snapshot, CLONES, &answer, NULL, error);
    if (r < 0)
        return r;
    r = fork_wait_idle(answer, error);
    json_array_foreach(json_object_get(answer, "vms"), i, vm) {
        if (r >= 0)
            r = sample_memory(bench, vm, error);
    }
    int removed = fork_remove_all(bench, answer, r < 0 ? NULL : error);
    return r < 0 ? r : removed;
}
