/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_PREFIX_H
#define RAMET_CLI_PREFIX_H

/* Lines of several sources on one output: each begins with the name of its source, and none is
 * torn by another's. */

#include "base/str.h"

#define PREFIX_LINE_MAX 65536 /* a longer line is shown as several */

typedef struct Prefix {
    const char *text; /* borrowed */
    StrBuf line;      /* what has no end yet; prefix_free() */
} Prefix;

/* Takes the next bytes, and adds the lines that are whole by now to `out`. */
void prefix_add(Prefix *prefix, const char *data, size_t size, StrBuf *out);

/* The source has ended: adds a line without an end, with one, to `out`. */
void prefix_end(Prefix *prefix, StrBuf *out);
void prefix_free(Prefix *prefix);

#endif
