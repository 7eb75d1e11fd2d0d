/* SPDX-License-Identifier: Apache-2.0 */
#include "image/oci/oci_parts.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"

int oci_bad(const char *why, Error *error) {
    return error_set(error, ERROR_CORRUPT, EBADMSG, "%s", why);
}

int oci_read_json(const char *what, const char *text, size_t size, json_t **json, Error *error) {
    _cleanup_error_ Error found = ERROR_INIT;
    _cleanup_json_ json_t *read = NULL;
    if (json_parse(what, text, size, &read, &found) < 0)
        return oci_bad(error_message(&found), error);
    if (!json_is_object(read))
        return error_set(error, ERROR_CORRUPT, EBADMSG, "%s is no JSON object", what);
    *json = TAKE_PTR(read);
    return 0;
}

int oci_read_digest(const char *text, char digest[SHA256_HEX_SIZE], Error *error) {
    uint8_t bytes[SHA256_SIZE];
    if (text && strchr(text, ':') && !str_has_prefix(text, "sha256:"))
        return error_set(error, ERROR_UNSUPPORTED, ENOTSUP, "a digest of another kind than sha256");
    if (!text || !str_has_prefix(text, "sha256:") ||
        hex_decode(text + strlen("sha256:"), bytes, sizeof(bytes)) < 0)
        return oci_bad("a digest is none", error);
    hex_encode(bytes, sizeof(bytes), digest);
    return 0;
}
