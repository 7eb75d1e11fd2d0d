/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_IMAGE_OCI_OCI_PULL_H
#define RAMET_IMAGE_OCI_OCI_PULL_H

/* An image of a container to a base of disk. */

#include "image/image.h"
#include "image/oci/oci_blobs.h"

/* What a reference means that is no image of a container, but an archive that Ramet pushed. */
typedef struct OciArchiveId {
    char kind[16];                /* "image", "snapshot" */
    char digest[SHA256_HEX_SIZE]; /* of its manifest */
} OciArchiveId;

typedef struct ImagePullRequest {
    const char *name;      /* borrowed, as are all of these; NULL: of an archive alone */
    const char *reference; /* docker://…, oci:FOLDER[:TAG] */
    const char *platform;  /* NULL: linux/amd64 */
    bool insecure;
    int auth_fd;  /* an auth.json; -1: where skopeo looks for one */
    OciOpen open; /* of a folder's files; NULL: by our own rights */
    void *open_data;
    uint64_t size_bytes;   /* of the disk; 0: large enough */
    KernelSource kernel;   /* {0}: Debian's cloud kernel */
    OciArchiveId *archive; /* of Ramet's own; NULL: they are refused */
    bool archive_only;     /* and all else is */
} ImagePullRequest;

/* info->settings is what the image says of how it is run. Layers that came once are not fetched
 * again; an image whose manifest is known is only looked up. Errors: ERROR_USAGE, ERROR_NOT_FOUND
 * (no such image or platform), ERROR_PERMISSION (credentials, policy), ERROR_CORRUPT (a digest that
 * lies, hostile layers), ERROR_NO_SPACE, ERROR_CANCELLED. 1: it is an archive of Ramet's,
 * *request->archive says which, and nothing else was done. */
int image_pull(const ImageContext *context, const ImagePullRequest *request, ImageInfo *info,
               Error *error);

#endif
