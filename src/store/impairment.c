/* SPDX-License-Identifier: Apache-2.0 */

#include "store/impairment.h"

const RowField impairment_fields[] = {
    ROW_FIELD(ROW_U64, Impairment, latency_usec), ROW_FIELD(ROW_U64, Impairment, jitter_usec),
    ROW_FIELD(ROW_U64, Impairment, loss_ppm),     ROW_FIELD(ROW_U64, Impairment, rate_bps),
    ROW_FIELD(ROW_BOOL, Impairment, cut),
};

bool impairment_is_none(const Impairment *impairment) {
    return !impairment->latency_usec && !impairment->jitter_usec && !impairment->loss_ppm &&
           !impairment->rate_bps && !impairment->cut;
}

json_t *impairment_to_json(const Impairment *impairment) {
    if (impairment_is_none(impairment))
        return json_null();
    return json_pack("{s:f, s:f, s:f, s:I, s:b}", "latency_ms",
                     (double)impairment->latency_usec / 1000.0, "jitter_ms",
                     (double)impairment->jitter_usec / 1000.0, "loss_percent",
                     (double)impairment->loss_ppm / 10000.0, "rate_bits",
                     (json_int_t)impairment->rate_bps, "cut", impairment->cut);
}
