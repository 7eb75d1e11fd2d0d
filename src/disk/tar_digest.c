/* SPDX-License-Identifier: Apache-2.0 */
#include "disk/tar_digest.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/str.h"
#include "disk/tar.h"

#define PIECE_BYTES (64 * 1024)

typedef struct Archive {
    int fd, cancel_fd; /* borrowed */
    uint64_t offset, left;
    uint8_t piece[PIECE_BYTES];
} Archive;

static ssize_t read_piece(void *data, const void **bytes, Error *error) {
    Archive *archive = data;
    struct pollfd client = {.fd = archive->cancel_fd, .events = POLLIN};
    size_t size = MIN_OF(archive->left, (uint64_t)PIECE_BYTES);
    if (archive->cancel_fd >= 0 && poll(&client, 1, 0) > 0)
        return error_set(error, ERROR_CANCELLED, ECANCELED, "the client went away");
    if (fd_pread_full(archive->fd, archive->piece, size, (off_t)archive->offset) != (ssize_t)size)
        return error_set_errno(error, EIO, "cannot read the upload");
    archive->offset += size;
    archive->left -= size;
    *bytes = archive->piece;
    return (ssize_t)size;
}

static void add_text(Sha256 *hash, const char *text) {
    sha256_update(hash, str_or_empty(text), strlen(str_or_empty(text)) + 1);
}

static void add_number(Sha256 *hash, uint64_t number) {
    _cleanup_free_ char *text = str_format("%llu", (unsigned long long)number);
    add_text(hash, text);
}

/* Stretches of data with their places, so that holes cost nothing. */
static int add_content(Sha256 *hash, TarReader *reader, Error *error) {
    const void *bytes;
    size_t size;
    la_int64_t offset;
    int r;
    while ((r = archive_read_data_block(reader->archive, &bytes, &size, &offset)) == ARCHIVE_OK) {
        if (size == 0)
            continue;
        add_number(hash, (uint64_t)offset);
        add_number(hash, size);
        sha256_update(hash, bytes, size);
    }
    return r == ARCHIVE_EOF ? 0 : tar_reader_error(reader, error);
}

static int add_entry(Sha256 *hash, TarReader *reader, struct archive_entry *entry, Error *error) {
    add_text(hash, archive_entry_pathname(entry));
    add_text(hash, archive_entry_symlink(entry));
    add_text(hash, archive_entry_hardlink(entry));
    add_number(hash, archive_entry_mode(entry));
    add_number(hash, (uint64_t)archive_entry_size(entry));
    return add_content(hash, reader, error);
}

int tar_digest(int fd, uint64_t offset, uint64_t bytes, int cancel_fd, char hex[SHA256_HEX_SIZE],
               Error *error) {
    _cleanup_free_ Archive *archive = malloc(sizeof(*archive));
    _cleanup_(sha256_free_p) Sha256 *hash = sha256_new();
    struct archive_entry *entry;
    TarReader reader = {0};
    int r;
    if (!archive)
        abort();
    archive->fd = fd;
    archive->cancel_fd = cancel_fd;
    archive->offset = offset;
    archive->left = bytes;
    r = tar_reader_open_with(&reader, read_piece, archive, error);
    while (r >= 0 && (r = tar_reader_next(&reader, &entry, error)) > 0)
        r = add_entry(hash, &reader, entry, error);
    tar_reader_close(&reader);
    sha256_finish(hash, hex);
    return r;
}
