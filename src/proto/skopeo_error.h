/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_PROTO_SKOPEO_ERROR_H
#define RAMET_PROTO_SKOPEO_ERROR_H

#include "base/error.h"
#include "base/process/spawn_run.h"

/* Why skopeo(1) failed, in its own words, with the kind and the hint that those mean. found: what
 * spawn_run made of it; it is taken when skopeo said nothing. Returns a negative errno. */
int skopeo_explain(const SpawnOutput *output, Error *found, Error *error);

#endif
