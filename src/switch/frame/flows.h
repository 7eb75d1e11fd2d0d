/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_SWITCH_FRAME_FLOWS_H
#define RAMET_SWITCH_FRAME_FLOWS_H

/* UDP that came from outside, so that its answers may go back. A bounded number is remembered; a
 * flow that others take the place of has to begin anew. */

#include "switch/frame/packet.h"

#define FLOWS_MAX 256u
#define FLOW_USEC (300u * 1000u * 1000u)

typedef struct Flow {
    uint8_t guest[16], peer[16]; /* IPv4: the first 4 bytes */
    uint8_t ports[4];            /* the guest's and the peer's */
    uint64_t seen_usec;          /* 0: none */
} Flow;

typedef struct Flows {
    Flow flows[FLOWS_MAX];
} Flows;

/* A datagram went from the peer to the guest. */
void flows_note(Flows *flows, const uint8_t *guest, const uint8_t *peer, const Packet *packet);

/* Is a datagram from the guest to the peer an answer? */
bool flows_know(const Flows *flows, const uint8_t *guest, const uint8_t *peer,
                const Packet *packet);

#endif
