/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_FROZEN_PACKED_H
#define RAMET_FROZEN_PACKED_H

/* Saved memory, compressed: one zstd frame (RFC 8878) with the content's size and a checksum, and
 * nothing after it, so `zstd -d` reads it as well. */

#include "base/digest.h"
#include "base/error.h"

/* Compresses all of `from`, a file of any content, holes included, into the empty file `to`. sha256
 * is of the content, bytes its size (may be NULL). */
int packed_write(int from, int to, char sha256[SHA256_HEX_SIZE], uint64_t *bytes, Error *error);

/* Decompresses `from` into the empty file `to` (-1: only hashes it), which has `bytes` bytes then
 * and holes where there were zeroes. ERROR_CORRUPT, with what is wrong, for a file that is cut,
 * damaged, holds more or less than exactly `bytes`, or has something after its end; never are more
 * than `bytes` written. sha256 is of the content: the caller compares it. */
int packed_read(int from, uint64_t bytes, int to, char sha256[SHA256_HEX_SIZE], Error *error);

#endif
