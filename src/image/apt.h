/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_IMAGE_APT_H
#define RAMET_IMAGE_APT_H

/* Packages from the host's own apt sources, fetched without installing them. apt checks signatures
 * and digests. */

#include "base/digest.h"
#include "image/context.h"

typedef struct AptPackage {
    char *name;                   /* owned */
    char *version;                /* owned */
    char *depends;                /* owned: the Depends field, "" when there is none */
    char sha256[SHA256_HEX_SIZE]; /* of the .deb */
} AptPackage;

void apt_package_free(AptPackage *package); /* frees what it holds */

/* What apt would install for this name. ERROR_NOT_FOUND when it knows none (hint: apt-get update),
 * ERROR_UNSUPPORTED when there is no apt. */
int apt_show(const ImageContext *context, const char *name, AptPackage *package, Error *error);

/* Downloads that version into the folder and checks its digest; *path is the caller's. */
int apt_download(const ImageContext *context, const AptPackage *package, const char *folder,
                 char **path, Error *error);

/* Changes whenever the package lists are updated; 0 when there are none. */
uint64_t apt_lists_stamp(void);

/* Fields of a control paragraph (deb822(5)): the value of "Name: value" in the first paragraph of
 * text, or NULL; the caller owns it. */
char *apt_field(const char *text, const char *name);

#endif
