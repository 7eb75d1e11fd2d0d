/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_IMAGE_OCI_OCI_MANIFEST_H
#define RAMET_IMAGE_OCI_OCI_MANIFEST_H

/* Manifests, indexes and configurations: the OCI image specification's manifest.md, image-index.md
 * and config.md, and what Docker has in their place (distribution's manifest-v2-2.md). All of it
 * comes from outside; ERROR_CORRUPT says what is wrong. */

#include "base/json.h"
#include "base/str.h"
#include "image/oci/oci_reference.h"

#define OCI_LAYERS_MAX 512
#define OCI_ENTRIES_MAX 1024

typedef struct OciDescriptor {
    char digest[SHA256_HEX_SIZE];
    uint64_t size;
    OciPlatform platform; /* of an index's entry; os "": it says none */
    char *tag;            /* owned: of an entry of a folder's index; NULL: none */
    char *title;          /* owned: of a part of an archive; NULL: none */
} OciDescriptor;

typedef struct OciManifest {
    bool is_index;
    char archive[16];     /* "": an image of a container; else what kind of archive of Ramet's its
                           * layers are the parts of: "image", "snapshot" */
    OciDescriptor config; /* of an image */
    OciDescriptor *items; /* owned: its layers, the lowest first; or an index's entries */
    size_t n_items;
} OciManifest;

/* Of a document of at most a few MiB. */
int oci_manifest_parse(const char *text, size_t size, OciManifest *manifest, Error *error);
void oci_manifest_free(OciManifest *manifest);

/* The entry of a folder's index.json that a tag means; without a tag the only one there is. */
int oci_index_find_tag(const OciManifest *index, const char *tag, const OciDescriptor **entry,
                       Error *error);

/* The entry for a platform. ERROR_NOT_FOUND tells which ones there are. An entry that names no
 * platform is taken where it is the only one. */
int oci_index_choose(const OciManifest *index, const OciPlatform *platform,
                     const OciDescriptor **entry, Error *error);

typedef struct OciConfig {
    OciPlatform platform;
    char (*decoded)[SHA256_HEX_SIZE]; /* owned: of each layer, decoded */
    size_t n_decoded;
    json_t *settings; /* owned: {"entrypoint","command","env","ports":[…],"directory","user",
                       * "stop_signal":N,"labels"}, as store/image/image_config.h keeps it */
    StrList volumes;  /* owned: folders that are there when it runs, also where no layer has them */
} OciConfig;

/* The same. The platform is what it says, checked by nobody. */
int oci_config_parse(const char *text, size_t size, OciConfig *config, Error *error);
void oci_config_free(OciConfig *config);

/* "SIGTERM", "TERM", "15", "SIGRTMIN+3" as a number of Linux x86-64; 0 when it is none. */
int oci_signal_number(const char *name);

#endif
