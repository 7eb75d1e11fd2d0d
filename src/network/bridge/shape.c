/* SPDX-License-Identifier: Apache-2.0 */

#include "network/bridge/shape.h"

#include "base/str.h"

/* 0: none. */
static uint64_t lower(uint64_t a, uint64_t b) {
    return !a || (b && b < a) ? b : a;
}

static ShapeLine line_sum(const ShapeLine *a, const ShapeLine *b) {
    return (ShapeLine){.latency_usec = a->latency_usec + b->latency_usec,
                       .jitter_usec = a->jitter_usec + b->jitter_usec,
                       .rate_bps = lower(a->rate_bps, b->rate_bps)};
}

/* Of what the one lets pass the other loses its part. */
static uint64_t loss_sum(uint64_t a_ppm, uint64_t b_ppm) {
    return SHAPE_ALL_PPM - (SHAPE_ALL_PPM - a_ppm) * (SHAPE_ALL_PPM - b_ppm) / SHAPE_ALL_PPM;
}

static uint64_t loss_of(const Impairment *impairment) {
    return impairment->cut ? SHAPE_ALL_PPM : MIN_OF(impairment->loss_ppm, (uint64_t)SHAPE_ALL_PPM);
}

ShapeLine shape_line(const Impairment *impairment) {
    return (ShapeLine){.latency_usec = impairment->latency_usec,
                       .jitter_usec = impairment->jitter_usec,
                       .rate_bps = impairment->rate_bps};
}

bool shape_line_is_none(const ShapeLine *line) {
    return !line->latency_usec && !line->jitter_usec && !line->rate_bps;
}

bool shape_line_waits(const ShapeLine *line) {
    return line->latency_usec || line->jitter_usec;
}

Shape shape_of(const Impairment *network, const Impairment *vm) {
    const ShapeLine shared = shape_line(network), own = shape_line(vm);
    Shape shape = {.loss_out_ppm = (unsigned)loss_sum(loss_of(network), loss_of(vm)),
                   .loss_in_ppm = network->cut ? SHAPE_ALL_PPM : (unsigned)loss_of(vm),
                   .in = own};
    if (!shape_line_is_none(&own))
        shape.out = line_sum(&own, &shared);
    shape.shares = shape_line_is_none(&own) && !shape_line_is_none(&shared);
    return shape;
}
