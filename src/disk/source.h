/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DISK_SOURCE_H
#define RAMET_DISK_SOURCE_H

/* What the parts of this folder know of a source beyond disk/extract.h. */

#include <archive.h>
#include <archive_entry.h>
#include <locale.h>

#include "disk/extract.h"

/* Bytes of the source taken so far and in all (0: unknown). */
void source_progress(const ExtractSource *source, uint64_t *done, uint64_t *total);

/* Leaves the digest of the source out, as the caller gets it elsewhere. Before the first read. */
void source_skip_hash(ExtractSource *source);

/* The descriptor, when it is a regular file that holds the content as it is from its offset 0; else
 * -1. Before the first read. */
int source_seekable_fd(const ExtractSource *source);

/* Compares digests ("sha256:" in front and capital letters allowed); expected NULL matches all.
 * With found NULL only the form of `expected` is checked. */
int sha256_check(const char *found, const char *expected, Error *error);

/* Is it a regular file with a disk image's name? */
bool tar_entry_is_disk(struct archive_entry *entry);

/* An archive reader over the decoded stream. Its failures go to *error through tar_error. */
typedef struct TarReader {
    struct archive *archive; /* owned */
    ExtractSource *source;   /* borrowed */
    Error error;             /* of the source, when a read of it failed */
    uint8_t *buffer;         /* owned */
    locale_t locale, before; /* names in pax headers are UTF-8: this thread's locale meanwhile */
} TarReader;

/* The source is borrowed. To be closed even when this fails. */
int tar_reader_open(TarReader *reader, ExtractSource *source, Error *error);

/* The next entry: 1, 0 at the end, or a negative errno. */
int tar_reader_next(TarReader *reader, struct archive_entry **entry, Error *error);

/* What went wrong: the source's own error if it has one, else the archive's as ERROR_CORRUPT. */
int tar_reader_error(TarReader *reader, Error *error);

/* Reads the decoded stream to its end, so that truncation and damage behind the archive's end are
 * seen. */
int tar_reader_drain(TarReader *reader, Error *error);
void tar_reader_close(TarReader *reader);

#endif
