/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_LINEAGE_SNAPSHOT_DESCRIBE_H
#define RAMET_LINEAGE_SNAPSHOT_DESCRIBE_H

#include "base/error.h"
#include "base/json.h"
#include "home/home.h"
#include "home/operation.h"
#include "store/snapshots.h"

/* Snapshot_describe.c */
int snapshot_describe(Home *home, const SnapshotRow *row, json_t **snapshot, Error *error);

/* All: also those that standby and the boot cache keep for themselves. */
int snapshot_list(Home *home, bool all, json_t **list, Error *error);

/* Waits for the SHA-256 of its memory where that is not known yet. */
int snapshot_inspect(Home *home, Operation *operation, const char *reference, json_t **snapshot,
                     Error *error);

/* [{"kind":"snapshot","id","name","own_bytes","shared_bytes","children":[…]}, {"kind":"vm",…}]:
 * snapshots and what grows from them; VMs that grew from none stand at the top. */
int snapshot_tree(Home *home, json_t **tree, Error *error);

#endif
