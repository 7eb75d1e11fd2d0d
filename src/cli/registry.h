/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_REGISTRY_H
#define RAMET_CLI_REGISTRY_H

/* Archives in OCI registries (docs/archive.md, "Registries"), by skopeo. */

#include "base/error.h"
#include "base/str.h"
#include "proto/archive_parts.h"

typedef struct Registry {
    const char *reference; /* borrowed: "docker://HOST/NAME[:TAG]" */
    const char *kind;      /* static: "snapshot", "image" */
    bool plain_http;       /* neither TLS nor its checks */
} Registry;

/* ERROR_USAGE for a reference that skopeo would take for something else. */
int registry_check(const char *reference, Error *error);

/* Puts there what lies in the folder: FOLDER/oci/blobs/sha256 has the parts of an archive. */
int registry_push(const Registry *registry, const char *folder, const ArchiveParts *parts,
                  Error *error);

/* A folder of our own below $TMPDIR or /var/tmp, removed with all in it by registry_folder_free. */
int registry_folder_new(char **folder, Error *error);
char *registry_folder_blobs(const char *folder); /* below it; the caller's */
void registry_folder_free(char **folder);
#define _cleanup_registry_folder_ _cleanup_(registry_folder_free)

#endif
