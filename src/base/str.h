/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BASE_STR_H
#define RAMET_BASE_STR_H

/* Strings, string lists and numbers. Allocation failure aborts the program: none of these sizes
 * comes unbounded from outside. */

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/util.h"

char *str_format(const char *format, ...) PRINTF_LIKE(1, 2);
char *str_format_va(const char *format, va_list args) PRINTF_LIKE(1, 0);
/* Into a char array, cut to its size. */
#define str_set(array, text) ((void)snprintf(array, sizeof(array), "%s", text))

/* Frees what was there and puts a copy in its place. */
void str_replace(char **text, const char *with);
const char *str_or_empty(const char *text);   /* "" for NULL */
char *str_copy(const char *text);             /* NULL gives NULL */
bool str_equal(const char *a, const char *b); /* NULL equals only NULL */
bool str_has_prefix(const char *text, const char *prefix);
bool str_has_suffix(const char *text, const char *suffix);

/* A growing buffer of text, always NUL-terminated once something was added. */
typedef struct StrBuf {
    char *data; /* owned */
    size_t size;
    size_t room;
} StrBuf;
void strbuf_add(StrBuf *buffer, const char *data, size_t size);
void strbuf_add_text(StrBuf *buffer, const char *text);
void strbuf_add_format(StrBuf *buffer, const char *format, ...) PRINTF_LIKE(2, 3);
char *strbuf_steal(StrBuf *buffer); /* never NULL; the caller owns it */
void strbuf_free(StrBuf *buffer);

/* A NULL-terminated list of owned strings, for argv and the like. */
typedef struct StrList {
    char **items; /* owned, NULL-terminated once something was added */
    size_t count;
} StrList;
void strlist_add(StrList *list, const char *text);
void strlist_add_format(StrList *list, const char *format, ...) PRINTF_LIKE(2, 3);
void strlist_add_many(StrList *list, const char *first, ...) __attribute__((sentinel));
void strlist_free(StrList *list);

/* Whole text as an unsigned number; -EINVAL for anything else, -ERANGE above max. */
int parse_u64(const char *text, uint64_t max, uint64_t *value);

/* SIZE: bytes, or a number with K, M, G or T (powers of 1024, optional "iB" or "B"). 0 is refused.
 */
int parse_size(const char *text, uint64_t *bytes);

/* "1.6 GiB", "13 KiB", "17 B". Caller owns. */
char *format_size(uint64_t bytes);

/* "13 ms", "1.84 s", "640 us". Caller owns. */
char *format_duration(uint64_t usec);

/* Lower-case hexadecimal; `text` needs 2 * size + 1 bytes. */
void hex_encode(const uint8_t *data, size_t size, char *text);
int hex_decode(const char *text, uint8_t *data,
               size_t size); /* -EINVAL unless exactly 2 * size digits */

/* Copies text, with bytes that are not printable ASCII (or newline, tab) replaced by '?', so that a
 * guest's bytes cannot drive a terminal. Caller owns. */
char *str_sanitize(const char *data, size_t size);

#endif
