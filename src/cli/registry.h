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
    const char *authfile;  /* borrowed: credentials; NULL: where skopeo looks for them */
    bool insecure;         /* plain http, or a certificate that nobody vouches for */
} Registry;

/* A folder of our own below $TMPDIR or /var/tmp, removed with all in it by registry_folder_free;
 * one whose owner was killed goes with the next that is made. */
typedef struct RegistryFolder {
    char *path;  /* owned */
    int lock_fd; /* owned */
} RegistryFolder;
int registry_folder_new(RegistryFolder *folder, Error *error);
void registry_folder_free(RegistryFolder *folder);
#define REGISTRY_FOLDER_INIT ((RegistryFolder){.lock_fd = -1})
#define _cleanup_registry_folder_ _cleanup_(registry_folder_free)

/* Where the blobs are below it; the caller's. */
char *registry_folder_blobs(const RegistryFolder *folder);

/* ERROR_USAGE for a reference that skopeo would take for something else. */
int registry_check(const char *reference, Error *error);

/* Puts there what lies in the folder: FOLDER/oci/blobs/sha256 has the parts of an archive. */
int registry_push(const Registry *registry, const RegistryFolder *folder, const ArchiveParts *parts,
                  Error *error);

#endif
