/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_IMAGE_OCI_OCI_ARCHIVE_H
#define RAMET_IMAGE_OCI_OCI_ARCHIVE_H

/* An archive that Ramet pushed: its parts are the layers of a manifest (docs/archive.md). */

#include "image/oci/oci_manifest.h"
#include "image/oci/oci_pull.h"
#include "image/oci/oci_skopeo.h"

typedef struct OciArchive {
    OciReference reference; /* owned, as are blobs and manifest */
    OciRegistry registry;
    OciBlobs blobs; /* the cache, or the folder's */
    char digest[SHA256_HEX_SIZE];
    OciManifest manifest; /* its items are the parts */
} OciArchive;

/* Opens what image_pull found by that request. */
int oci_archive_open(const ImageContext *context, const ImagePullRequest *request,
                     OciArchive *archive, Error *error);
void oci_archive_free(OciArchive *archive);
#define _cleanup_oci_archive_ _cleanup_(oci_archive_free)

/* Fetches those of the parts (an item each) that are wanted and did not come before. Of a fetch
 * that fails what came whole stays, so that the next goes on. */
int oci_archive_fetch(const OciArchive *archive, const bool *wanted, Error *error);

/* Opens a part that was fetched. */
int oci_archive_part(const OciArchive *archive, size_t i, int *fd, Error *error);

/* Forgets what came before, since some of it is damaged. */
void oci_archive_drop(const OciArchive *archive);

#endif
