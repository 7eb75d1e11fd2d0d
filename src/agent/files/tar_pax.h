/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_FILES_TAR_PAX_H
#define RAMET_AGENT_FILES_TAR_PAX_H

#include "agent/files/tar.h"

/* What extended headers say about the entry that follows them. */
typedef struct TarPax {
    char *name, *link, *sparse_name; /* owned */
    bool has_size, has_mtime, has_real_size;
    uint64_t size, real_size;
    int64_t mtime_sec;
    uint32_t mtime_nsec;
    uint64_t sparse_major, sparse_minor;
    TarSegments segments;
} TarPax;

void tar_pax_free(TarPax *pax);

/* Reads records "LENGTH KEY=VALUE\n". 0, -EBADMSG, -ENOMEM, -E2BIG. */
int tar_pax_parse(TarPax *pax, const char *records, size_t size);

/* Notes one piece of data between holes. 0 or a negative errno. */
int tar_segments_add(TarSegments *segments, uint64_t offset, uint64_t size);

/* A decimal number that ends where text ends; false when it is none or too large. */
bool tar_decimal(const char *text, const char *end, uint64_t *value);

#endif
