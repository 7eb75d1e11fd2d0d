/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_FILES_TAR_H
#define RAMET_AGENT_FILES_TAR_H

#include "agent/base/util.h"

/* Tar archives: POSIX.1-2017 pax interchange format (ustar headers with extended records), the GNU
 * long name entries, and the sparse formats 0.0, 0.1 and 1.0 of GNU tar's manual, appendix D.3. */

#define TAR_BLOCK 512
#define TAR_NAME_MAX 4096
#define TAR_RECORDS_MAX (8u << 20) /* bytes of one extended header */
#define TAR_SEGMENTS_MAX (1u << 18)

/* A stretch of a file that has data; the rest is a hole. */
typedef struct TarSegment {
    uint64_t offset;
    uint64_t size;
} TarSegment;

typedef struct TarSegments {
    TarSegment *list; /* owned */
    size_t n;
} TarSegments;

typedef enum TarType {
    TAR_FILE = '0',
    TAR_HARD_LINK = '1',
    TAR_SYMLINK = '2',
    TAR_DEVICE = '3', /* of either kind */
    TAR_FOLDER = '5',
    TAR_FIFO = '6',
} TarType;

typedef struct TarEntry {
    TarType type;
    char name[TAR_NAME_MAX]; /* as in the archive: hostile */
    char link[TAR_NAME_MAX];
    unsigned mode;
    int64_t mtime_sec;
    uint32_t mtime_nsec;
    uint64_t size;        /* of the file */
    TarSegments segments; /* where its data goes: ordered, disjoint, within size */
} TarEntry;

typedef struct TarReader {
    int fd;             /* borrowed */
    uint64_t data_left; /* of the current entry, unread */
    uint64_t padding;
    size_t start, end;
    uint8_t buffer[64 * 1024];
} TarReader;

void tar_reader_init(TarReader *reader, int fd);

/* 1 and the next entry, 0 at the end of the archive, or a negative errno. Unread data of the entry
 * before is skipped. The entry's segments are freed by tar_entry_free. */
int tar_reader_next(TarReader *reader, TarEntry *entry, Result *result);
void tar_entry_free(TarEntry *entry);

/* Reads what follows the archive's end, so that who sends it can finish. */
void tar_reader_drain(TarReader *reader);

/* Data of the current entry, segment after segment, each at most as much as asked for: points into
 * the reader, valid until the next call. The number of bytes, 0 at the end, or a negative errno. */
ssize_t tar_reader_data(TarReader *reader, uint64_t size, const uint8_t **data, Result *result);

#endif
