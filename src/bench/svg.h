/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BENCH_SVG_H
#define RAMET_BENCH_SVG_H

/* A picture of where the time of a start goes. */

#include "base/json.h"

/* One panel for each start: its stages below each other, each a bar from its start to its end, on
 * the panel's own scale, beside a bar of its whole time on the scale of all.
 * starts: [{"title","stages":[{"name","start_us","duration_us"}]}]. The caller owns the text. */
char *svg_draw_stages(const json_t *starts);

/* The same into a file, which is overwritten. */
int svg_write(const char *path, const json_t *starts, Error *error);

#endif
