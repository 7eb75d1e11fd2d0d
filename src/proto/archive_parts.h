/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_PROTO_ARCHIVE_PARTS_H
#define RAMET_PROTO_ARCHIVE_PARTS_H

/* An archive cut into parts that together are the archive again: head and manifest, the chunks of
 * each member, the end. As such it lies in a registry (docs/archive.md). */

#include "base/digest.h"
#include "base/json.h"

#define ARCHIVE_PARTS_MAX 132

typedef struct ArchiveBlob {
    char name[80]; /* "manifest", "member-NAME", "end" */
    char sha256[SHA256_HEX_SIZE];
    uint64_t bytes;
} ArchiveBlob;

typedef struct ArchiveParts {
    size_t count;
    ArchiveBlob items[ARCHIVE_PARTS_MAX];
} ArchiveParts;

/* Cuts an archive, as its bytes come, into FOLDER/SHA256, one file a part. */
typedef struct ArchiveSplit ArchiveSplit;
ArchiveSplit *archive_split_new(const char *folder);
void archive_split_free(ArchiveSplit *split);
DEFINE_CLEANUP(ArchiveSplit *, archive_split_free);

/* Any number of bytes that come next. ERROR_CORRUPT, or of the file system. */
int archive_split_add(ArchiveSplit *split, const void *bytes, size_t size, Error *error);

/* There are no more: ERROR_CORRUPT when the archive was cut. The parts are borrowed from it. */
int archive_split_end(ArchiveSplit *split, const ArchiveParts **parts, Error *error);

/* The manifest of the first part. The caller owns it. */
int archive_parts_manifest(int fd, json_t **manifest, Error *error);

/* Writes parts (-1: one that is left out) to an archive whose end counts what it has. */
int archive_parts_join(const int *fds, size_t count, int out, Error *error);

#endif
