/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BENCH_FORK_STAGES_H
#define RAMET_BENCH_FORK_STAGES_H

#include "bench/fork_samples.h"

/* Remembers the stages of a start whose time is a sample of `which`. */
void fork_keep_start(ForkBench *bench, ForkSample which, const json_t *vm);

/* Adds the stages of the fork and the claim nearest to the medians to the report. */
void fork_report_stages(ForkBench *bench);

#endif
