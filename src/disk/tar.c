/* SPDX-License-Identifier: Apache-2.0 */

/* libarchive's reader over a source's decoded stream. */

#include <errno.h>

#include "base/str.h"
#include "disk/tar.h"

#define BUFFER_BYTES ((size_t)256 << 10)

static ssize_t read_source(void *data, const void **bytes, Error *error) {
    TarReader *reader = data;
    *bytes = reader->buffer;
    return extract_source_read(reader->source, reader->buffer, BUFFER_BYTES, error);
}

static la_ssize_t read_stream(struct archive *archive, void *data, const void **buffer) {
    TarReader *reader = data;
    ssize_t n = reader->read(reader->data, buffer, &reader->error);
    if (n < 0) {
        archive_set_error(archive, EIO, "cannot read the source");
        return ARCHIVE_FATAL;
    }
    return n;
}

static int open_archive(TarReader *reader, Error *error) {
    reader->archive = archive_read_new();
    if (!reader->archive)
        abort();
    reader->locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    if (reader->locale)
        reader->before = uselocale(reader->locale);
    archive_read_support_format_tar(reader->archive);
    if (!reader->source)
        archive_read_support_format_empty(reader->archive);
    if (archive_read_open(reader->archive, reader, NULL, read_stream, NULL) != ARCHIVE_OK)
        return tar_reader_error(reader, error);
    return 0;
}

int tar_reader_open(TarReader *reader, ExtractSource *source, Error *error) {
    *reader = (TarReader){
        .source = source, .read = read_source, .data = reader, .buffer = malloc(BUFFER_BYTES)};
    if (!reader->buffer)
        abort();
    return open_archive(reader, error);
}

int tar_reader_open_with(TarReader *reader, TarRead read, void *data, Error *error) {
    *reader = (TarReader){.read = read, .data = data};
    return open_archive(reader, error);
}

int tar_reader_error(TarReader *reader, Error *error) {
    const char *text = archive_error_string(reader->archive);
    if (reader->error.kind != ERROR_NONE)
        return error_move(error, &reader->error);
    return error_set(error, ERROR_CORRUPT, EBADMSG, "damaged tar: %s",
                     text ? text : "cannot be read");
}

int tar_reader_next(TarReader *reader, struct archive_entry **entry, Error *error) {
    int r = archive_read_next_header(reader->archive, entry);
    if (r == ARCHIVE_EOF)
        return 0;
    return r == ARCHIVE_OK ? 1 : tar_reader_error(reader, error);
}

int tar_reader_drain(TarReader *reader, Error *error) {
    ssize_t n;
    do
        n = extract_source_read(reader->source, reader->buffer, BUFFER_BYTES, error);
    while (n > 0);
    return (int)n;
}

void tar_reader_close(TarReader *reader) {
    if (reader->archive)
        archive_read_free(reader->archive);
    if (reader->locale) {
        (void)uselocale(reader->before);
        freelocale(reader->locale);
    }
    free(reader->buffer);
    error_clear(&reader->error);
    *reader = (TarReader){0};
}
