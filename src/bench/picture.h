/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BENCH_PICTURE_H
#define RAMET_BENCH_PICTURE_H

/* A picture of where the time of a start goes, as SVG. */

#include "base/json.h"

typedef struct Picture {
    const char *note;      /* borrowed: under what conditions it was measured */
    double yardstick_usec; /* F; 0: not known */
    const json_t *starts;  /* borrowed: [{"title","stages":[{"name","start_us","duration_us"}]}] */
    const json_t *bars;    /* borrowed: [{"title","usec","own"}]: whole ways; own: of ours */
} Picture;

/* From the first stage's origin to the end of the last one. */
double picture_stages_usec(const json_t *stages);

/* Two parts: the stages of each start below each other, on one scale with F; then the bars, on a
 * scale of their own. The caller owns the text. */
char *picture_draw(const Picture *picture);

/* The same into a file, which is overwritten. */
int picture_write(const Picture *picture, const char *path, Error *error);

#endif
