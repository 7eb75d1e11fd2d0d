/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_USAGE_PRUNE_H
#define RAMET_USAGE_PRUNE_H

#include "base/error.h"
#include "base/json.h"
#include "home/home.h"
#include "home/operation.h"
#include "usage/usage.h"

/* Removes what nothing needs, or tells what it would (dry_run):
 * {"removed":[{"what","name","bytes"}],"snapshots":[…],"images":[…],"layers","hot_memory",
 * "scratch","freed_bytes","freed_memory_bytes","dry_run",
 * "kept":[{"id","what","snapshot" or "image","why"}]}. The caller owns *report. */
typedef struct PruneOptions {
    UsagePlan plan;
    bool dry_run;
} PruneOptions;
int home_prune(Home *home, Operation *operation, const PruneOptions *options, json_t **report,
               Error *error);

#endif
