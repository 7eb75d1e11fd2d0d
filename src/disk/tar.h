/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DISK_TAR_H
#define RAMET_DISK_TAR_H

/* libarchive's reader over what a source decodes to. */

#include <archive.h>
#include <archive_entry.h>
#include <locale.h>

#include "disk/source.h"

/* Gives the next bytes of a tar, which stay until the next call: their count, 0 at the end, or a
 * negative errno. */
typedef ssize_t (*TarRead)(void *data, const void **bytes, Error *error);

/* An archive reader over the decoded stream. Its failures go to *error through tar_error. */
typedef struct TarReader {
    struct archive *archive; /* owned */
    TarRead read;
    void *data;              /* borrowed: of read */
    ExtractSource *source;   /* borrowed; NULL: the tar comes from elsewhere */
    Error error;             /* of the source, when a read of it failed */
    uint8_t *buffer;         /* owned */
    locale_t locale, before; /* names in pax headers are UTF-8: this thread's locale meanwhile */
} TarReader;

/* The source is borrowed. To be closed even when this fails. */
int tar_reader_open(TarReader *reader, ExtractSource *source, Error *error);

/* The same for a tar that comes from anywhere; one without any bytes is an empty one. */
int tar_reader_open_with(TarReader *reader, TarRead read, void *data, Error *error);

/* The next entry: 1, 0 at the end, or a negative errno. */
int tar_reader_next(TarReader *reader, struct archive_entry **entry, Error *error);

/* What went wrong: the source's own error if it has one, else the archive's as ERROR_CORRUPT. */
int tar_reader_error(TarReader *reader, Error *error);

/* Reads the decoded stream to its end, so that truncation and damage behind the archive's end are
 * seen. */
int tar_reader_drain(TarReader *reader, Error *error);
void tar_reader_close(TarReader *reader);

#endif
