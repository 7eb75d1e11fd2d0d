/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_IMAGE_OCI_OCI_BLOBS_H
#define RAMET_IMAGE_OCI_OCI_BLOBS_H

/* Where manifests, configurations and layers lie, each named by its digest: in the home's cache,
 * HOME/oci/sha256/HEX, or in a folder of somebody's with the OCI image layout (image-layout.md). */

#include <stdbool.h>

#include "base/digest.h"
#include "base/error.h"

/* Opens a file by its path with the rights of whoever asked; NULL: our own. */
typedef int (*OciOpen)(void *data, const char *path, int *fd, Error *error);

typedef struct OciBlobs {
    char *folder; /* owned: what holds sha256/ */
    OciOpen open;
    void *data;  /* borrowed */
    int lock_fd; /* owned; 0: none. Shared by all who use the cache; who removes from it has it
                    alone */
} OciBlobs;

/* The home's cache, which is made where it is absent. Nothing is pruned from it until it is freed.
 */
int oci_blobs_open_cache(const char *home, OciBlobs *blobs, Error *error);
void oci_blobs_free(OciBlobs *blobs);

/* Opens a regular file. ERROR_NOT_FOUND when it is absent. */
int oci_blobs_open(const OciBlobs *blobs, const char *digest, int *fd, Error *error);
bool oci_blobs_have(const OciBlobs *blobs, const char *digest);

/* Opens a path as they do; that of a folder's index.json. */
int oci_blobs_open_path(const OciBlobs *blobs, const char *path, int *fd, Error *error);

#define OCI_DOCUMENT_MAX ((size_t)4 << 20)

/* Reads a whole document; one that is longer than OCI_DOCUMENT_MAX, or has another digest than its
 * name says, is ERROR_CORRUPT. The caller owns the text. */
int oci_blobs_read(const OciBlobs *blobs, const char *digest, char **text, size_t *size,
                   Error *error);

/* Checks a document against its digest and keeps it in the cache. */
int oci_blobs_keep(const OciBlobs *cache, const char *digest, const char *text, size_t size,
                   Error *error);

/* Forgets one that turned out to be damaged. */
void oci_blobs_drop(const OciBlobs *cache, const char *digest);

#endif
