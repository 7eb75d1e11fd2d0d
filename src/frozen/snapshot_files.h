/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_FROZEN_SNAPSHOT_FILES_H
#define RAMET_FROZEN_SNAPSHOT_FILES_H

/* A snapshot's row and files. */

#include "base/error.h"
#include "home/home.h"
#include "store/snapshots.h"

#define SNAPSHOT_FORMAT 2 /* of the files and of what a restore expects */

#define PURPOSE_FORK "fork"
#define PURPOSE_STANDBY "standby"
#define PURPOSE_CACHE "cache"
#define PURPOSE_LAB "lab"
#define PURPOSE_STEP "step" /* of a recipe: stays until it is pruned */

/* "HOME/snapshots/ID[/NAME]"; the caller owns it. */
char *snapshot_path(const Home *home, const char *id, const char *name);

/* Opens one of a snapshot's files and checks its stamp. *path (may be NULL) is the caller's.
 * ERROR_NOT_FOUND without memory. */
int snapshot_open_file(Home *home, const SnapshotRow *snapshot, const SnapshotFile *file, int *fd,
                       char **path, Error *error);

/* Opens its memory as a restore reads it: the file, or a sealed memfd with what a compressed one
 * holds, checked against its digest. The snapshot must be pinned or otherwise kept. */
int snapshot_open_memory(Home *home, const SnapshotRow *snapshot, int *fd, Error *error);

/* Is it compressed? */
bool snapshot_file_is_packed(const SnapshotFile *file);

/* The digest of the file as it lies there (see frozen_digest), "" when unknown. Borrowed from it.
 */
const char *snapshot_file_digest(const SnapshotFile *file);

/* The same of the memory that it holds, which differs when it is compressed. */
const char *snapshot_content_digest(const SnapshotFile *file);

/* Decompresses an opened file into `to` (-1: only checks) and compares size and digest. */
int snapshot_unpack_file(int fd, const SnapshotFile *file, int to, Error *error);

/* By its row. */
bool snapshot_has_memory(const SnapshotRow *row);
bool snapshot_is_diff(const SnapshotRow *row);

#endif
