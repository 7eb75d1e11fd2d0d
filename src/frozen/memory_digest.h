/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_FROZEN_MEMORY_DIGEST_H
#define RAMET_FROZEN_MEMORY_DIGEST_H

#include "base/error.h"
#include "home/home.h"
#include "store/snapshots.h"

/* The digest of a snapshot's memory file, or its SHA-256 as well, where that is not known yet:
 * computed (a SHA-256 takes a second for 512 MiB), stored, and put into the row. Who comes
 * meanwhile waits. ERROR_CORRUPT: the memory is not what was saved. */
int snapshot_await_digest(Home *home, int cancel_fd, SnapshotRow *row, Error *error);
int snapshot_await_sha256(Home *home, int cancel_fd, SnapshotRow *row, Error *error);

#endif
