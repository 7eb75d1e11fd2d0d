/* SPDX-License-Identifier: Apache-2.0 */
/* What a registry sends: manifests, indexes and configurations; and what a user names. */
#include <string.h>

#include "base/str.h"
#include "image/oci/oci_manifest.h"

static void try_manifest(const char *text, size_t size) {
    static const OciPlatform platform = {"linux", "amd64", ""};
    _cleanup_(oci_manifest_free) OciManifest manifest = {0};
    _cleanup_error_ Error error = ERROR_INIT;
    const OciDescriptor *entry = NULL;
    if (oci_manifest_parse(text, size, &manifest, &error) < 0 || !manifest.is_index)
        return;
    if (oci_index_choose(&manifest, &platform, &entry, &error) == 0 && strlen(entry->digest) != 64)
        abort();
    (void)oci_index_find_tag(&manifest, "tag", &entry, &error);
}

static void try_config(const char *text, size_t size) {
    _cleanup_(oci_config_free) OciConfig config = {0};
    _cleanup_error_ Error error = ERROR_INIT;
    (void)oci_config_parse(text, size, &config, &error);
}

static void try_reference(const char *text, size_t size) {
    _cleanup_free_ char *copy = strndup(text, size), *name = NULL;
    _cleanup_(oci_reference_free) OciReference reference = {0};
    _cleanup_error_ Error error = ERROR_INIT;
    OciPlatform platform;
    (void)oci_platform_parse(copy, &platform, &error);
    if (oci_reference_parse(copy, &reference, &error) == 0)
        (void)oci_reference_name(&reference, &name, &error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    try_manifest((const char *)data, size);
    try_config((const char *)data, size);
    try_reference((const char *)data, size);
    return 0;
}
