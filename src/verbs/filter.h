/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_VERBS_FILTER_H
#define RAMET_VERBS_FILTER_H

/* Filters that choose VMs by labels and by what else is known of them. */

#include "base/error.h"
#include "base/json.h"
#include "store/vms.h"

typedef struct VmFilter {
    const json_t *list; /* borrowed: ["KEY=VALUE", …]; NULL: every VM */
} VmFilter;

/* ERROR_USAGE for a key that is no filter's. */
int vm_filter_check(const VmFilter *filter, Error *error);

/* A VM must have all the labels, and of each other key one of its values: name (a part of it, or a
 * pattern with * and ?), id (its beginning), state, image (name or digest), snapshot (id). */
bool vm_filter_matches(const VmFilter *filter, const VmRow *row);

/* Does it ask for a state? Then VMs that do not run are meant, too. */
bool vm_filter_has_state(const VmFilter *filter);

#endif
