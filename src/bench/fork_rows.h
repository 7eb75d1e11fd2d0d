/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BENCH_FORK_ROWS_H
#define RAMET_BENCH_FORK_ROWS_H

/* What was asked of each sample. */

#include "bench/fork_samples.h"

/* Gives all samples their names and units. */
void fork_rows_name(ForkBench *bench);

/* Adds those that were measured to the report. */
void fork_rows_report(ForkBench *bench);

#endif
