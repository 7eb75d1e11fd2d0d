/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_STORE_IMPAIRMENT_H
#define RAMET_STORE_IMPAIRMENT_H

/* What is wrong, on purpose, with a network or with a VM's place in it. */

#include "base/json.h"
#include "store/row_fields.h"

typedef struct Impairment {
    uint64_t latency_usec;
    uint64_t jitter_usec; /* the latency varies by so much, evenly */
    uint64_t loss_ppm;    /* of a million frames */
    uint64_t rate_bps;    /* bits a second; 0: as it comes */
    bool cut;
} Impairment;

extern const RowField impairment_fields[5];

/* Do frames pass as they come? */
bool impairment_is_none(const Impairment *impairment);

/* {"latency_ms","jitter_ms","loss_percent","rate_bits","cut"}, the caller's; null: none. */
json_t *impairment_to_json(const Impairment *impairment);

#endif
