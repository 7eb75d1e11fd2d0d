/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_ARCHIVE_PARTS_H
#define RAMET_CLI_ARCHIVE_PARTS_H

/* An archive cut into parts that together are the archive again: head and manifest, the chunks of
 * each member, the end. */

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

/* Cuts the file into FOLDER/SHA256, one file a part. ERROR_CORRUPT. */
int archive_parts_split(const char *file, const char *folder, ArchiveParts *parts, Error *error);

/* The manifest of the first part. The caller owns it. */
int archive_parts_manifest(const char *path, json_t **manifest, Error *error);

/* Joins files (NULL: a part that is left out) to an archive whose end counts what it has. */
int archive_parts_join(char *const *files, size_t count, const char *file, Error *error);

#endif
