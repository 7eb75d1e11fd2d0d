/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_ARCHIVE_ARCHIVE_WRITE_H
#define RAMET_ARCHIVE_ARCHIVE_WRITE_H

#include "archive/archive_member.h"

/* Where an archive goes. */
typedef struct ArchiveOutput {
    /* Takes all bytes or fails. Never called by two threads at once. */
    int (*send)(void *data, const void *bytes, size_t size, Error *error);
    void (*progress)(void *data, uint64_t done_bytes, uint64_t total_bytes); /* may be NULL */
    void *data;                                                              /* borrowed */
    int cancel_fd;    /* readable or hung up: ERROR_CANCELLED; -1: none */
    unsigned version; /* of the format; 0: ARCHIVE_VERSION_PLAIN */
} ArchiveOutput;

/* Writes an archive: the manifest (an object, which gets "members"), then the members, compressed
 * by as many threads as there are cores. The same input gives the same bytes. A member that is not
 * what its digest says is ERROR_CORRUPT. What fails is told at the end of the stream as well. */
int archive_write(const ArchiveOutput *output, json_t *manifest, ArchiveMembers *members,
                  Error *error);

#endif
