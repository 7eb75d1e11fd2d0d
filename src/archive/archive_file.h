/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_ARCHIVE_ARCHIVE_FILE_H
#define RAMET_ARCHIVE_ARCHIVE_FILE_H

/* What a member is made of, or becomes: one file, or the files of a folder one after the other. */

#include "base/error.h"
#include "base/str.h"
#include "base/tree_digest.h"

typedef struct ArchivePart {
    char *path;     /* owned: below the folder */
    uint64_t start; /* in the member */
    uint64_t bytes;
} ArchivePart;

typedef struct ArchiveFile {
    int fd; /* owned: the file; or the folder of the parts */
    uint64_t bytes;
    size_t n_parts;     /* 0: one file */
    ArchivePart *parts; /* owned: ascending by path, without gaps */
    uint8_t *head;      /* owned: stands for the first bytes of it; NULL: they are as they are */
    size_t head_bytes;
} ArchiveFile;

#define ARCHIVE_FILE_INIT ((ArchiveFile){.fd = -1})
void archive_file_free(ArchiveFile *file);
#define _cleanup_archive_file_ _cleanup_(archive_file_free)

/* Takes over the descriptor of one file, and finds out its size. */
int archive_file_of_fd(ArchiveFile *file, int fd, Error *error);

/* Adds a part at the end; the caller sees to their order. */
void archive_file_add(ArchiveFile *file, const char *path, uint64_t bytes);

/* The next chunk at or after `index` that is no hole, or UINT64_MAX. The descriptor's position
 * moves: one thread at a time. */
uint64_t archive_file_next(const ArchiveFile *file, uint64_t index);

/* A chunk's bytes (the last one's may be fewer), from any thread. */
size_t archive_file_chunk_bytes(const ArchiveFile *file, uint64_t index);
int archive_file_read(const ArchiveFile *file, uint64_t index, uint8_t *chunk, Error *error);

/* Writes bytes where they belong: parts are made (0644) when they are written to first. 0 or a
 * negative errno; from any thread, for parts that were made before. */
int archive_file_write(const ArchiveFile *file, uint64_t offset, const uint8_t *bytes, size_t size);

/* Makes all parts, empty and as long as they will be, and their folders. */
int archive_file_make(const ArchiveFile *file, Error *error);

/* The digest of it all, by several threads. */
int archive_file_digest(const ArchiveFile *file, int cancel_fd, char digest[TREE_DIGEST_SIZE],
                        Error *error);

#endif
