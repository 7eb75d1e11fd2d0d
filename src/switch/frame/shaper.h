/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_SWITCH_FRAME_SHAPER_H
#define RAMET_SWITCH_FRAME_SHAPER_H

/* Impairment of one direction of a port or of the network: loss, rate, latency and jitter, in that
 * order, as a bad line would do it. Frames stay in order. A line takes SHAPER_BACKLOG_USEC of
 * frames more than its rate carries, and what is on it is bounded in memory. */

#include "base/loop.h"
#include "switch/frame/kept.h"

#define SHAPER_BACKLOG_USEC (500u * 1000u)
#define SHAPER_BYTES_MAX (4u << 20)

#define SHAPER_PASS (-1)  /* deliver it now */
#define SHAPER_TAKEN (-2) /* a copy comes later */

typedef void (*ShaperHandler)(void *data, const Kept *kept);

typedef struct Shaper {
    SwitchImpairment set;
    KeptList line;
    uint64_t limit_bps; /* beside the impairment's rate; 0: none */
    uint64_t free_usec; /* when the line has sent all that it was given */
    uint64_t last_usec; /* when the last frame comes out */
    Loop *loop;         /* borrowed */
    LoopSource *timer;  /* owned by the loop; NULL: not needed yet */
    ShaperHandler handler;
    void *data; /* borrowed */
} Shaper;

/* The handler is called for each frame that comes out of the line. */
void shaper_init(Shaper *shaper, Loop *loop, size_t *total, ShaperHandler handler, void *data);
void shaper_free(Shaper *shaper);

/* From the next frame on. What is on the line comes out as it was due. */
void shaper_set(Shaper *shaper, const SwitchImpairment *set);

/* No more than so many bits a second, whatever the impairment; 0: no limit. */
void shaper_set_limit(Shaper *shaper, uint64_t bps);

/* Does it change anything, or has something on its line? */
bool shaper_is_active(const Shaper *shaper);

/* SHAPER_PASS, SHAPER_TAKEN, or the SwitchDrop that says why the frame is lost. */
int shaper_offer(Shaper *shaper, const Buffer *buffer, uint16_t target, uint16_t stage);

#endif
