/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_FROZEN_SNAPSHOT_SAVE_H
#define RAMET_FROZEN_SNAPSHOT_SAVE_H

#include "base/error.h"
#include "disk/publish.h"
#include "home/home.h"
#include "home/operation.h"
#include "store/snapshots.h"

/* The files of a snapshot that is being made: begin, then open or link, then finish. The caller
 * owns *files and frees it (publish_free), which removes what was not finished. */
int snapshot_save_begin(Home *home, const char *id, int cancel_fd, Publish **files, Error *error);

/* Two empty files for a keeper to write to. The descriptors are the caller's. */
int snapshot_save_open(Publish *files, int *state_fd, int *memory_fd, Error *error);

/* Those of another snapshot, under the same names. The caller copies what its row says of them. */
int snapshot_save_link(Home *home, Publish *files, const SnapshotRow *from, Error *error);

/* Names what was written by the row's `kind`, compresses the memory if that is wanted, hashes the
 * device state, and publishes. The memory gets its digest later, unless it was compressed. All that
 * is known then is in the row; on failure the row's files are undefined. */
int snapshot_save_finish(Operation *operation, Publish *files, bool compress, SnapshotRow *row,
                         Error *error);

#endif
