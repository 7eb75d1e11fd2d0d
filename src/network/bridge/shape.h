/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_NETWORK_BRIDGE_SHAPE_H
#define RAMET_NETWORK_BRIDGE_SHAPE_H

/* What is wrong, on purpose, with a card on a bridge: of its network's impairment and its VM's.
 * Loss, and a cut, which is the loss of all, are nftables' (rules.h); rate, latency and jitter are
 * queueing disciplines (line.h). */

#include <stdbool.h>

#include "store/impairment.h"

#define SHAPE_ALL_PPM 1000000u

/* A queue of frames in which they wait; all zero: none. */
typedef struct ShapeLine {
    uint64_t latency_usec;
    uint64_t jitter_usec;
    uint64_t rate_bps;
} ShapeLine;

typedef struct Shape {
    unsigned loss_out_ppm, loss_in_ppm; /* of a million frames from the card, and to it */
    ShapeLine out, in;                  /* of the card alone */
    bool shares; /* what comes from it waits in its network's line, as `out` has nothing */
} Shape;

/* network: that of the card's network. A frame between two cards is late once by it, so it counts
 * where frames come from; its cut counts both ways. A card with a line of its own has the
 * network's latency in that, too. */
Shape shape_of(const Impairment *network, const Impairment *vm);

/* What of an impairment is a line's; and is there none? */
ShapeLine shape_line(const Impairment *impairment);
bool shape_line_is_none(const ShapeLine *line);

/* Does it need netem, which not every kernel has? */
bool shape_line_waits(const ShapeLine *line);

#endif
