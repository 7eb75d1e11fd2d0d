/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_IMAGE_OCI_OCI_PARTS_H
#define RAMET_IMAGE_OCI_OCI_PARTS_H

/* Within this folder: what readers of manifests and configurations share. */

#include "base/digest.h"
#include "base/json.h"

/* ERROR_CORRUPT. */
int oci_bad(const char *why, Error *error);

/* An object; whatever is wrong with it is ERROR_CORRUPT. */
int oci_read_json(const char *what, const char *text, size_t size, json_t **json, Error *error);

/* "sha256:HEX"; another kind of digest is ERROR_UNSUPPORTED. */
int oci_read_digest(const char *text, char digest[SHA256_HEX_SIZE], Error *error);

#endif
