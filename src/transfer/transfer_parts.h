/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_TRANSFER_TRANSFER_PARTS_H
#define RAMET_TRANSFER_TRANSFER_PARTS_H

/* Within this folder: what images and snapshots have in common. */

#include "archive/archive_kernel.h"
#include "archive/archive_read.h"
#include "home/home.h"
#include "home/operation.h"

/* A manifest of that kind ("image", "snapshot"), the caller's. */
json_t *transfer_manifest(const char *kind);

/* Opens an archive and refuses another kind than that. */
int transfer_open(ArchiveReader *reader, int fd, const char *kind, Error *error);

/* Is there room for what is wanted of it? ERROR_NO_SPACE. */
int transfer_check_room(Home *home, const ArchiveReader *reader, Error *error);

/* Reads it all; tells of its progress. */
int transfer_run(ArchiveReader *reader, Operation *operation, Error *error);

/* Adds the disk's base to what goes out. */
int transfer_add_base(ArchiveMembers *members, const char *path, const char *digest, int cancel_fd,
                      Error *error);

/* The members' names. */
#define TRANSFER_BASE "disk"
#define TRANSFER_CIDATA "cidata"
#define TRANSFER_VARIABLES "variables"

#endif
