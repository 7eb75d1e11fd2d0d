/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_ARCHIVE_ARCHIVE_READ_H
#define RAMET_ARCHIVE_ARCHIVE_READ_H

/* Reading an archive, of which nothing is believed. */

#include "archive/archive_member.h"

typedef struct ArchiveReader {
    int fd;           /* borrowed: a file or a pipe, read from where it stands to its end */
    json_t *manifest; /* owned */
    uint8_t hash[SHA256_SIZE];
    ArchiveMembers members; /* owned */
} ArchiveReader;

void archive_reader_free(ArchiveReader *reader);
#define _cleanup_archive_reader_ _cleanup_(archive_reader_free)

/* Reads head and manifest, and checks what the manifest says of the members. ERROR_CORRUPT,
 * ERROR_UNSUPPORTED (a newer version), or what its writer failed with. */
int archive_reader_open(ArchiveReader *reader, int fd, Error *error);

typedef struct ArchiveReadOptions {
    int cancel_fd; /* readable or hung up: ERROR_CANCELLED; -1: none */
    void (*progress)(void *data, uint64_t done_bytes, uint64_t total_bytes); /* may be NULL */
    void *data;                                                              /* borrowed */
} ArchiveReadOptions;

/* Reads the rest, by as many threads as there are cores. The members that are wanted are written
 * into their files (empty ones, which get holes where there are zeroes) and compared with their
 * digests; the others are compared alone, where anything of them came (a pull leaves out what is
 * here). ERROR_CORRUPT for anything that is no whole archive,
 * ERROR_NO_SPACE. */
int archive_reader_run(ArchiveReader *reader, const ArchiveReadOptions *options, Error *error);

#endif
