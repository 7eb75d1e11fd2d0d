/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_IMAGE_OCI_OCI_SKOPEO_H
#define RAMET_IMAGE_OCI_OCI_SKOPEO_H

/* skopeo(1) fetches from registries. It reads policy.json(5), registries.conf(5) and what
 * containers-auth.json(5) has of credentials, and it checks digests and signatures; what it wrote
 * is checked again here all the same. */

#include "base/error.h"
#include "image/context.h"

typedef struct OciRegistry {
    const ImageContext *context; /* borrowed */
    const char *repository;      /* borrowed: HOST/PATH */
    int auth_fd;                 /* borrowed: an auth.json; -1: where skopeo looks for one */
    bool insecure;               /* http, or a certificate that nobody vouches for */
} OciRegistry;

/* The manifest, or with `config` the configuration, of ":TAG" or "@sha256:HEX", as its bytes are.
 * ERROR_NOT_FOUND, ERROR_PERMISSION (credentials, policy), with a hint. The caller owns the text.
 */
int oci_skopeo_inspect(const OciRegistry *registry, const char *which, bool config, char **text,
                       size_t *size, Error *error);

/* Fetches the layers and the configuration of "@sha256:HEX" that are not in the cache's folder.
 * What has come whole stays when it fails. */
int oci_skopeo_fetch(const OciRegistry *registry, const char *which, const char *cache,
                     Error *error);

/* A path for a layout, where nothing is yet, in the scratch of the home; the caller's. */
char *oci_skopeo_layout(const OciRegistry *registry);

/* Copies all of "@sha256:HEX" as it is into a folder with the OCI layout, but what is there. */
int oci_skopeo_copy(const OciRegistry *registry, const char *which, const char *layout,
                    Error *error);

/* The image in a file of `docker save`: layers and all into the cache's folder, an index.json into
 * the layout. image: NAME[:TAG]; NULL: its only one. */
int oci_skopeo_convert(const OciRegistry *registry, int fd, const char *image, const char *cache,
                       const char *layout, Error *error);

#endif
