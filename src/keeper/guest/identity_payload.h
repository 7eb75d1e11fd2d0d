/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_KEEPER_GUEST_IDENTITY_PAYLOAD_H
#define RAMET_KEEPER_GUEST_IDENTITY_PAYLOAD_H

/* What the agent is told to become: the payloads of IDENTITY and CLOCK. */

#include "proto/plan.h"
#include "proto/tlv.h"

/* Two clocks at one moment. */
typedef struct ClockPair {
    uint64_t realtime_usec; /* the host's; 0: the guest's is not known yet */
    uint64_t uptime_usec;   /* what the guest's own showed */
} ClockPair;

/* Returns the size, or -E2BIG. */
ssize_t identity_payload_write(const Plan *plan, const ClockPair *clock, uint8_t *buffer,
                               size_t room);

/* The fields of CLOCK, which IDENTITY has, too. */
void identity_payload_add_clock(TlvWriter *writer, const ClockPair *clock);

#endif
