/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_PROTO_ARCHIVE_FORMAT_H
#define RAMET_PROTO_ARCHIVE_FORMAT_H

/* The file in which images and snapshots go out (docs/archive.md). All numbers are little-endian.
 *
 *     head      16 bytes   "RAMETARC", u32 version, u32 0
 *     manifest  a record   JSON: what it is, and its members with size and tree digest
 *     chunks    records    of 1 MiB of a member each, ascending by member and index; what is all
 *                          zero has none
 *     end       a record
 *
 * A record is 64 bytes and what it holds:
 *     0   4 bytes   "MANI", "CHNK", "FAIL" or "ENDS"
 *     4   u32       the member's number
 *     8   u64       which chunk of it; of the end: how many chunks there were
 *     16  u32       bytes of content; 20: u32 bytes that follow
 *     24  8 bytes   zero
 *     32  32 bytes  of a chunk: the map of its pages that follow (as in base/tree_digest.h), in one
 *                   zstd frame; else: SHA-256 of the manifest's text
 *
 * In the place of the end may stand a failure, an error object as JSON: who wrote could not go on.
 */

#include <stdbool.h>

#include "base/digest.h"
#include "base/error.h"
#include "base/tree_digest.h"

#define ARCHIVE_VERSION 2
#define ARCHIVE_VERSION_PLAIN 1 /* of what earlier versions of ramet read, too */
#define ARCHIVE_HEAD_BYTES 16
#define ARCHIVE_RECORD_BYTES 64
#define ARCHIVE_MANIFEST_MAX (8u << 20)
#define ARCHIVE_STORED_MAX                                                 \
    (TREE_DIGEST_CHUNK_BYTES + 65536) /* more than ZSTD_compressBound says \
                                       */
#define ARCHIVE_PAGE_BYTES ((uint64_t)4096)

typedef enum ArchiveRecordKind {
    ARCHIVE_MANIFEST,
    ARCHIVE_CHUNK,
    ARCHIVE_FAILURE,
    ARCHIVE_END,
} ArchiveRecordKind;

typedef struct ArchiveRecord {
    ArchiveRecordKind kind;
    uint32_t member;
    uint64_t index;
    uint32_t raw_bytes, stored_bytes;
    uint8_t map[SHA256_SIZE]; /* or the manifest's SHA-256 */
} ArchiveRecord;

/* Does it begin as an archive of any version does? */
bool archive_is_head(const void *data, size_t size);

/* ERROR_UNSUPPORTED for a newer version, ERROR_CORRUPT for no archive at all. */
int archive_check_head(const uint8_t head[ARCHIVE_HEAD_BYTES], Error *error);
void archive_write_head(unsigned version, uint8_t head[ARCHIVE_HEAD_BYTES]);

/* ERROR_CORRUPT with the reason for what no writer writes: kinds, sizes, a map that does not fit
 * the size. */
int archive_read_record(const uint8_t bytes[ARCHIVE_RECORD_BYTES], ArchiveRecord *record,
                        Error *error);
void archive_write_record(const ArchiveRecord *record, uint8_t bytes[ARCHIVE_RECORD_BYTES]);

/* What the failure at the end of a stream that was cut says, from its last bytes: 1 and the error,
 * or 0. */
int archive_find_failure(const void *tail, size_t size, Error *error);

#endif
