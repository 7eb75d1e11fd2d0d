/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DISK_EXTRACT_H
#define RAMET_DISK_EXTRACT_H

/* Makes a sparse raw disk of what users bring: raw, qcow2, either of them compressed (.zst .xz
 * .gz), or a tar, compressed or not, that holds disk.img. What it is is told by its first bytes,
 * never by its name. */

#include <stdbool.h>

#include "base/digest.h"
#include "base/error.h"

typedef enum ExtractKind {
    EXTRACT_RAW, /* anything that nothing below matches */
    EXTRACT_QCOW2,
    EXTRACT_TAR_DISK,   /* a tar with disk.img at its root */
    EXTRACT_TAR_ROOTFS, /* any other tar: for rootfs_tar_to_ext4 */
} ExtractKind;

typedef enum ExtractCompression {
    EXTRACT_PLAIN,
    EXTRACT_ZSTD,
    EXTRACT_XZ,
    EXTRACT_GZIP,
} ExtractCompression;

/* A file or pipe with its beginning read ahead (up to 1 MiB), so that it can be looked at first. */
typedef struct ExtractSource ExtractSource;

/* fd is borrowed and must outlive the source; it is read from its current position. cancel_fd as in
 * ExtractOptions, for this and all reading that follows. Empty input is ERROR_CORRUPT, as is a
 * compressed one whose beginning cannot be decoded. */
int extract_source_new(int fd, int cancel_fd, ExtractSource **source, Error *error);
ExtractKind extract_source_kind(const ExtractSource *source);
ExtractCompression extract_source_compression(const ExtractSource *source);
void extract_source_free(ExtractSource *source);
DEFINE_CLEANUP(ExtractSource *, extract_source_free);

/* "raw", "qcow2", "tar-disk", "tar-rootfs"; "none", "zstd", "xz", "gzip". */
const char *extract_kind_name(ExtractKind kind);
const char *extract_compression_name(ExtractCompression compression);

/* What a seekable file is, without a source; its position does not move. */
int extract_sniff(int fd, ExtractKind *kind, ExtractCompression *compression, Error *error);

/* done and total count bytes of the source; total is 0 when unknown (a pipe). Called from the
 * thread that called extract_disk, a few times a second. */
typedef void (*ExtractProgress)(void *data, uint64_t done_bytes, uint64_t total_bytes);

typedef struct ExtractOptions {
    ExtractSource *source; /* consumed: read to its end */
    int output_fd;         /* empty regular file, O_RDWR; becomes the raw disk */
    const char
        *scratch_folder; /* $RAMET_HOME/tmp: qcow2 must be spooled when it comes through a pipe */
    const char *expected_sha256; /* of the source's bytes, as a user gives it; NULL: not checked */
    uint64_t max_bytes; /* bound on virtual size; 0: the free room of the file system, or 64 GiB
                         * when that is less (holes take no room) */
    bool skip_content_sha256; /* leave content_sha256 empty, for callers that hash later or not */
    ExtractProgress progress; /* may be NULL */
    void *progress_data;
    int cancel_fd; /* readable or hung up: ERROR_CANCELLED; -1: none */
} ExtractOptions;

typedef struct ExtractResult {
    uint64_t virtual_bytes;
    uint64_t allocated_bytes;
    char source_sha256[SHA256_HEX_SIZE];
    char content_sha256[SHA256_HEX_SIZE]; /* what `sha256sum` says of the raw file */
} ExtractResult;

/* Extracts, with holes for zeroes, verifies the digest, and makes the content durable (fdatasync).
 * ERROR_CORRUPT: truncated, damaged, trailing garbage, wrong digest, size no multiple of 512, over
 * max_bytes; ERROR_NO_SPACE; ERROR_UNSUPPORTED: qcow2 with backing file, data file or encryption;
 * ERROR_USAGE: EXTRACT_TAR_ROOTFS. After a failure the output is to be thrown away. */
int extract_disk(const ExtractOptions *options, ExtractResult *result, Error *error);

/* The same way in for others that unpack (rootfs.h): the decoded stream. Returns the count of
 * bytes, 0 at the end, or a negative errno with the error set. */
ssize_t extract_source_read(ExtractSource *source, void *buffer, size_t size, Error *error);

/* Reads raw bytes to the end of the source and finishes its digest. */
int extract_source_finish(ExtractSource *source, const char *expected_sha256,
                          char sha256[SHA256_HEX_SIZE], Error *error);

#endif
