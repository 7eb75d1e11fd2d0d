/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_SWITCH_FRAME_BUCKET_H
#define RAMET_SWITCH_FRAME_BUCKET_H

/* So many frames a second: a token bucket that holds a quarter of a second's worth. */

#include <stdbool.h>
#include <stdint.h>

typedef struct Bucket {
    uint64_t rate;      /* frames a second; 0: no limit */
    uint64_t credit;    /* in millionths of a frame */
    uint64_t seen_usec; /* when that was so; monotonic */
} Bucket;

/* Full, from now on. */
void bucket_set(Bucket *bucket, uint64_t rate, uint64_t now_usec);

/* Takes the token of one frame; false when there is none. */
bool bucket_take(Bucket *bucket, uint64_t now_usec);

#endif
