/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BASE_JSON_BYTES_H
#define RAMET_BASE_JSON_BYTES_H

#include <jansson.h>
#include <stdio.h>

#include "base/util.h"

static inline void json_free_p(json_t **json) {
    json_decref(*json);
}
#define _cleanup_json_ _cleanup_(json_free_p)

/* Bytes of Linux (arguments, environment, paths, names of files and users, output), which need not
 * be UTF-8. In memory they are a string. Written, they are a string when they are UTF-8 without
 * NUL, else {"base64":"…"}; json_parse makes a string of either. Never NULL, but json null for
 * NULL. */
json_t *json_from_bytes(const void *bytes, size_t size);
json_t *json_from_cstring(const char *text);

/* Either form as an owned copy with a NUL behind it, which `size` does not count. -EINVAL for
 * another type or bad base64. */
int json_to_bytes(const json_t *json, char **bytes, size_t *size);

/* As json_pack(3), with the signs {}[]snbiIfoO, '%' behind s, and '?' and '*' behind s, o and O.
 * Never NULL: text may be any bytes, and a NULL becomes null. */
json_t *json_make(const char *format, ...);

/* As json_dumps(3) and json_dumpf(3), with bytes encoded as said above. */
char *json_write(const json_t *json, size_t flags);
int json_write_file(const json_t *json, FILE *file, size_t flags);

/* Makes strings of encoded bytes anywhere in the document. Takes it and gives what it became. */
json_t *json_decode_bytes(json_t *json);

/* The library's own give NULL for text that is no UTF-8, which is easily taken for "absent"; nobody
 * shall call them by mistake. */
#define json_string(text) json_from_cstring(text)
#define json_stringn(bytes, size) json_from_bytes(bytes, size)
#define json_pack(...) json_make(__VA_ARGS__)
#define json_dumps(json, flags) json_write(json, flags)
#define json_dumpf(json, file, flags) json_write_file(json, file, flags)

#endif
