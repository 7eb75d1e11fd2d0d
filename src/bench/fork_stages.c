/* SPDX-License-Identifier: Apache-2.0 */

/* Chooses what scripts/fork-picture draws: the fork and the claim whose times are nearest to the
 * medians, with their stages. */

#include "bench/fork_stages.h"

#include <math.h>

void fork_keep_start(ForkBench *bench, ForkSample which, const json_t *vm) {
    if (!bench->starts[which])
        bench->starts[which] = json_array();
    json_array_append(bench->starts[which], json_object_get(vm, "stages"));
}

/* From the first stage's start to the end of the last one. */
static double total_usec(const json_t *stages) {
    const json_t *first = json_array_get(stages, 0);
    const json_t *last = json_array_get(stages, json_array_size(stages) - 1);
    return (double)(json_integer_value(json_object_get(last, "start_us")) +
                    json_integer_value(json_object_get(last, "duration_us")) -
                    json_integer_value(json_object_get(first, "start_us")));
}

static const json_t *typical_start(const ForkBench *bench, ForkSample which) {
    double median = samples_median(&bench->samples[which]), distance = HUGE_VAL;
    const json_t *start, *best = NULL;
    size_t i;
    json_array_foreach(bench->starts[which], i, start) {
        double off = fabs(total_usec(start) - median);
        if (off < distance) {
            distance = off;
            best = start;
        }
    }
    return best;
}

static void add_start(ForkBench *bench, ForkSample which, const char *key) {
    const json_t *stages = typical_start(bench, which);
    if (stages)
        json_object_set(bench->bench->report->stages, key, (json_t *)stages);
}

void fork_report_stages(ForkBench *bench) {
    bench->bench->report->stages = json_object();
    add_start(bench, FORK_READY, "fork");
    add_start(bench, CLAIM_READY, "claim");
}
