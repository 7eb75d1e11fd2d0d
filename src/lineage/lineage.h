/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_LINEAGE_LINEAGE_H
#define RAMET_LINEAGE_LINEAGE_H

/* What grows from what, and what may go. */

#include "base/error.h"
#include "base/json.h"
#include "home/home.h"
#include "store/snapshots.h"

/* Row and files; ERROR_CONFLICT while something needs it or has it pinned. */
int snapshot_delete(Home *home, const SnapshotRow *row, Error *error);

/* Undoes a half made one: files and row. */
int snapshot_undo(Home *home, const char *id);

/* Removes automatic snapshots and layers that nothing needs (any more). Failures are logged. */
void lineage_collect(Home *home);

/* The same, with what went: appends to `names`, counts layers (may be NULL). */
void lineage_collect_into(Home *home, json_t *names, size_t *layers);

/* At the daemon's start. finish_half_done, before the first request: half made and half removed
 * snapshots go. reconcile, after the VMs: stray files, and what nothing needs. Both return the
 * number of failures. */
size_t lineage_finish_half_done(Home *home);
size_t lineage_reconcile(Home *home);

#endif
