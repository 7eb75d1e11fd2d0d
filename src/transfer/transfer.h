/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_TRANSFER_TRANSFER_H
#define RAMET_TRANSFER_TRANSFER_H

/* Images and snapshots that leave a home as one file, and arrive in another (docs/archive.md). */

#include "archive/archive_write.h"
#include "home/home.h"
#include "home/operation.h"
#include "image/oci/oci_pull.h"

/* Writes an archive of an image: disk, kernel, and what is known of it. */
int image_export(Home *home, Operation *operation, const char *reference,
                 const ArchiveOutput *output, Error *error);

typedef struct ArchiveImport {
    int fd;             /* borrowed: read from where it stands to its end */
    const char *name;   /* borrowed; NULL: as the archive says */
    const char *source; /* borrowed: where an image is said to come from; NULL: as it says */
    bool replace;       /* an image's name may stand for another one, which loses it */
} ArchiveImport;

/* Reads an archive of an image. *image is the caller's. What fails leaves nothing. */
int archive_import_image(Home *home, Operation *operation, const ArchiveImport *import,
                         json_t **answer, Error *error);

/* Writes an archive of a snapshot with all that it stands on. since (may be NULL): a snapshot that
 * the reader has, so what that one has is left out. */
int snapshot_export(Home *home, Operation *operation, const char *reference, const char *since,
                    const ArchiveOutput *output, Error *error);

/* Reads an archive of a snapshot. ERROR_UNSUPPORTED when this host cannot restore it, with the
 * reason; ERROR_NOT_FOUND when what it was told from is not here; ERROR_CONFLICT: the name is
 * taken. What fails leaves nothing. */
int archive_import_snapshot(Home *home, Operation *operation, const ArchiveImport *import,
                            json_t **snapshot, Error *error);

/* Fetches what image_pull found to be an archive of that kind, but for what this home has, and
 * reads it. A name that the same reference gave before stands for another image then. ERROR_USAGE
 * when it is of another kind; else as above. */
int transfer_pull_image(Home *home, Operation *operation, const ImagePullRequest *request,
                        bool replace, json_t **image, Error *error);
int transfer_pull_snapshot(Home *home, Operation *operation, const ImagePullRequest *request,
                           json_t **snapshot, Error *error);

#endif
