/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DISK_EXTRACT_H
#define RAMET_DISK_EXTRACT_H

/* Makes a sparse raw disk of what users bring: raw, qcow2, either of them compressed (.zst .xz
 * .gz), or a tar, compressed or not, that holds disk.img. What it is is told by its first bytes,
 * never by its name. */

#include <stdbool.h>

#include "base/digest.h"
#include "base/error.h"
#include "base/tree_digest.h"
#include "disk/source.h"

typedef struct ExtractOptions {
    ExtractSource *source; /* consumed: read to its end */
    int output_fd;         /* empty regular file, O_RDWR; becomes the raw disk */
    const char
        *scratch_folder; /* $RAMET_HOME/tmp: qcow2 must be spooled when it comes through a pipe */
    const char *expected_sha256; /* of the source's bytes, as a user gives it; NULL: not checked */
    uint64_t max_bytes; /* bound on virtual size; 0: the free room of the file system, or 64 GiB
                         * when that is less (holes take no room) */
    ExtractProgress progress; /* may be NULL */
    void *progress_data;
    int cancel_fd; /* readable or hung up: ERROR_CANCELLED; -1: none */
} ExtractOptions;

typedef struct ExtractResult {
    uint64_t virtual_bytes;
    uint64_t allocated_bytes;
    char source_sha256[SHA256_HEX_SIZE]; /* "" when none was expected */
    char digest[TREE_DIGEST_SIZE];       /* of the raw content */
} ExtractResult;

/* Extracts, with holes for zeroes, verifies the digest, and makes the content durable (fdatasync).
 * ERROR_CORRUPT: truncated, damaged, trailing garbage, wrong digest, size no multiple of 512, over
 * max_bytes; ERROR_NO_SPACE; ERROR_UNSUPPORTED: qcow2 with backing file, data file or encryption;
 * ERROR_USAGE: EXTRACT_TAR_ROOTFS. After a failure the output is to be thrown away. */
int extract_disk(const ExtractOptions *options, ExtractResult *result, Error *error);

#endif
