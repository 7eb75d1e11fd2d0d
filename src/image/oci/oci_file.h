/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_IMAGE_OCI_OCI_FILE_H
#define RAMET_IMAGE_OCI_OCI_FILE_H

/* Images of containers in one file: what docker save, podman save and skopeo write. Either becomes
 * a folder in the home's scratch with an index.json; it is the caller's, to be removed with all
 * that is in it. */

#include "image/oci/oci_skopeo.h"

/* A tar of a folder in the OCI layout, compressed or not: index.json and blobs are taken out of it,
 * and nothing else. ERROR_CORRUPT, ERROR_NO_SPACE. */
int oci_file_unpack(const ImageContext *context, int fd, char **folder, Error *error);

/* One of Docker's own: skopeo makes a manifest of it. That, configuration and layers go into the
 * cache, and the folder's index names them alone. image: NAME[:TAG]; NULL: its only one. */
int oci_file_convert(const OciRegistry *registry, int fd, const char *image, const char *cache,
                     char **folder, Error *error);

#endif
