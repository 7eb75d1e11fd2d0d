/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_SWITCH_PORTS_DELIVER_H
#define RAMET_SWITCH_PORTS_DELIVER_H

/* From the decision where a frame goes to its receiver's queue: impairment, captures, a hold. */

#include "switch/ports/switch.h"

/* Takes over the reference. target: a port's slot, or SLOT_GATEWAY for the uplink. stage: the first
 * impairment that it passes; STAGE_PORT_IN for what the switch answers by itself. */
void deliver(Switch *net, Buffer *buffer, uint16_t target, ShapedAt stage);

/* To all ports but its sender, with one token of the sender's for each frame. */
void deliver_to_all(Switch *net, Buffer *buffer);

/* What came out of a shaper behind STAGE_PORT_OUT: goes on with the next stage. */
void deliver_kept(Switch *net, const Kept *kept);

/* Holds all frames, or lets them go: delivers or drops what was held. */
void deliver_hold(Switch *net);
void deliver_release(Switch *net, bool discard);

#endif
