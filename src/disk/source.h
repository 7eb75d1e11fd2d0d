/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DISK_SOURCE_H
#define RAMET_DISK_SOURCE_H

/* What is imported: read ahead so that it can be looked at first, hashed, and decoded. */

#include <stdbool.h>

#include "base/digest.h"
#include "base/error.h"
#include "disk/formats.h"

/* A file or pipe with its beginning read ahead (up to 1 MiB), so that it can be looked at first. */
typedef struct ExtractSource ExtractSource;

/* fd is borrowed and must outlive the source; it is read from its current position. cancel_fd as in
 * ExtractOptions (extract.h), for this and all reading that follows. Empty input is ERROR_CORRUPT,
 * as is a compressed one whose beginning cannot be decoded. */
int extract_source_new(int fd, int cancel_fd, ExtractSource **source, Error *error);

/* The same when the kind is known: ERROR_CORRUPT when it is another. */
int extract_source_new_as(int fd, int cancel_fd, ExtractWanted wanted, ExtractSource **source,
                          Error *error);
ExtractKind extract_source_kind(const ExtractSource *source);
ExtractCompression extract_source_compression(const ExtractSource *source);
void extract_source_free(ExtractSource *source);
DEFINE_CLEANUP(ExtractSource *, extract_source_free);

/* What a seekable file is, without a source; its position does not move. */
int extract_sniff(int fd, ExtractKind *kind, ExtractCompression *compression, Error *error);

/* The same way in for others that unpack (rootfs.h): the decoded stream. Returns the count of
 * bytes, 0 at the end, or a negative errno with the error set. */
ssize_t extract_source_read(ExtractSource *source, void *buffer, size_t size, Error *error);

/* Reads raw bytes to the end of the source and finishes its digest. */
int extract_source_finish(ExtractSource *source, const char *expected_sha256,
                          char sha256[SHA256_HEX_SIZE], Error *error);

/* done and total count bytes of the source; total is 0 when unknown (a pipe). Called from the
 * thread that reads, a few times a second. */
typedef void (*ExtractProgress)(void *data, uint64_t done_bytes, uint64_t total_bytes);

/* Bytes of the source taken so far and in all (0: unknown). */
void source_progress(const ExtractSource *source, uint64_t *done, uint64_t *total);

/* Leaves the digest of the source out, as nobody asks for it. Before the first read. */
void source_skip_hash(ExtractSource *source);

/* The descriptor, when it is a regular file that holds the content as it is from its offset 0; else
 * -1. Before the first read. */
int source_seekable_fd(const ExtractSource *source);

/* Compares digests ("sha256:" in front and capital letters allowed); expected NULL matches all.
 * With found NULL only the form of `expected` is checked. */
int sha256_check(const char *found, const char *expected, Error *error);

#endif
