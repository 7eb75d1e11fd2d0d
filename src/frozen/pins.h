/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_FROZEN_PINS_H
#define RAMET_FROZEN_PINS_H

#include "base/error.h"
#include "home/home.h"
#include "store/snapshots.h"

/* A pinned snapshot is not removed. Fails with ERROR_NOT_FOUND when it is not ready (any more). */
int snapshot_pin(Home *home, const char *id, SnapshotRow *row, Error *error);

/* The one that is ready, with that purpose and key. 1: *row, pinned; 0: there is none. */
int snapshot_pin_key(Home *home, const char *key, const char *purpose, SnapshotRow *row,
                     Error *error);

void snapshot_pin_id(Home *home, const char *id); /* one that only the caller knows of */
void snapshot_unpin(Home *home, const char *id);
bool snapshot_is_pinned(Home *home, const char *id);

#endif
