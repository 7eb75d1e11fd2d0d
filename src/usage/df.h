/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_USAGE_DF_H
#define RAMET_USAGE_DF_H

#include "base/error.h"
#include "base/json.h"
#include "home/home.h"

/* What takes room. {"kinds":[{"kind","count","used","bytes","shared_bytes","reclaimable_bytes"}],
 * "disk_bytes","memory_bytes","reclaimable_bytes","free_bytes"}, and with `items`
 * "items":[{"kind","id","name","bytes","users","reclaimable","why","created_at"}]. used: on how
 * many something stands; shared: of those on which several do; reclaimable: what `prune --all`
 * would take. The caller owns *usage. */
int home_df(Home *home, bool items, json_t **usage, Error *error);

#endif
