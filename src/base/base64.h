/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BASE_BASE64_H
#define RAMET_BASE_BASE64_H

/* Base64 with the standard alphabet and padding (RFC 4648, section 4), for bytes in JSON. */

#include <stddef.h>

/* Never NULL; the caller owns the text. */
char *base64_encode(const void *bytes, size_t size);

/* An owned copy with a NUL behind it, which `size` does not count. -EINVAL for anything but whole
 * groups of four with padding at the end alone, and for padding bits that are not 0: each run of
 * bytes has one text only. */
int base64_decode(const char *text, size_t length, char **bytes, size_t *size);

#endif
