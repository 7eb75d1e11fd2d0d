/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_IMAGE_OCI_OCI_REFERENCE_H
#define RAMET_IMAGE_OCI_OCI_REFERENCE_H

/* What `image pull` is told: docker://[HOST[:PORT]/]PATH[:TAG][@sha256:HEX], as skopeo takes it, or
 * oci:FOLDER[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:NAME[:TAG]]. */

#include <stdbool.h>

#include "base/digest.h"
#include "base/error.h"

typedef struct OciReference {
    char *repository;             /* owned: what comes before tag and digest; NULL: not in one */
    char *folder;                 /* owned */
    char *file;                   /* owned: an archive */
    bool docker;                  /* that file is Docker's; its `tag` is NAME[:TAG] */
    char *tag;                    /* owned; NULL: none */
    char digest[SHA256_HEX_SIZE]; /* "": none */
} OciReference;

/* ERROR_USAGE. */
int oci_reference_parse(const char *text, OciReference *reference, Error *error);
void oci_reference_free(OciReference *reference);

/* What the image is called unless somebody says otherwise: the last part of its path. ERROR_USAGE
 * when that is no name. The caller owns it. */
int oci_reference_name(const OciReference *reference, char **name, Error *error);

/* For which system and processor. */
typedef struct OciPlatform {
    char os[32], architecture[32], variant[32]; /* variant "": any */
} OciPlatform;

/* "OS/ARCH[/VARIANT]"; NULL or "": linux/amd64. ERROR_USAGE. */
int oci_platform_parse(const char *text, OciPlatform *platform, Error *error);

/* "linux/arm/v7"; the caller owns it. */
char *oci_platform_text(const OciPlatform *platform);

#endif
