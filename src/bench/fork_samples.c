/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/fork_samples.h"

void fork_sample(ForkBench *bench, ForkSample which, double value) {
    samples_add(&bench->samples[which], value);
}

int fork_sample_baseline(ForkBench *bench, ForkSample which, Error *error) {
    uint64_t usec;
    int r = plain_greeting(bench->files.qemu, bench->files.accel, &usec, error);
    if (r >= 0)
        fork_sample(bench, which, (double)usec);
    return r;
}

size_t fork_slow_runs(const ForkBench *bench, size_t most) {
    return MIN_OF(bench->bench->runs, most);
}
