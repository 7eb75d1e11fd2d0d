/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BASE_UTF8_H
#define RAMET_BASE_UTF8_H

/* UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF. */

#include <stdbool.h>
#include <stddef.h>

/* How many bytes the first character has; 0 when they are no UTF-8. `size` is at least 1. */
size_t utf8_length(const char *text, size_t size);

/* All of it; nothing at all is valid. */
bool utf8_is_valid(const char *text, size_t size);

/* A copy in which each byte that is no part of UTF-8 is written as \xNN, so that a message about it
 * stays text. Never NULL; the caller owns it. */
char *utf8_escape(const char *text, size_t size);

/* The same for a terminal: control characters but newline and tab become '?'. */
char *utf8_show(const char *text, size_t size);

#endif
