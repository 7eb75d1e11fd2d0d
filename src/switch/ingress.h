/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_SWITCH_INGRESS_H
#define RAMET_SWITCH_INGRESS_H

/* What becomes of a frame from a guest. */

#include "switch/ports/switch.h"

/* Switch's `receive`. Takes over the buffer. */
void ingress_receive(Port *port, Buffer *buffer);

/* For the shapers: what comes out of impairment goes on from where it stood. */
void ingress_shaped(void *net, const Kept *kept);

#endif
