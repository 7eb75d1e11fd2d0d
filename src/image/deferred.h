/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_IMAGE_DEFERRED_H
#define RAMET_IMAGE_DEFERRED_H

/* Bases whose digest is not known yet: images/src-HEX.raw, HEX being the SHA-256 of the file that
 * was imported. Whoever needs the digest does, one at a time for each source,
 *
 *     find ── known? ──▶ done
 *      │ no
 *     compute (reads the whole base) ▶ settle: link to images/sha256-HEX.raw, then the record
 *
 * A crash anywhere in between leaves a base whose digest is not known yet. */

#include "disk/base_file.h"
#include "image/context.h"

/* Is it known? The answer comes from the record of the source, and counts while that base exists.
 */
bool image_digest_find(const char *home, const char *source_sha256, char sha256[SHA256_HEX_SIZE]);

/* ERROR_NOT_FOUND when the base was removed; ERROR_CANCELLED. */
int image_digest_compute(const ImageContext *context, const char *source_sha256,
                         char sha256[SHA256_HEX_SIZE], Error *error);

/* Gives the base its name. Doing it again changes nothing. */
int image_digest_settle(const char *home, const char *source_sha256, const char *sha256,
                        Error *error);

#endif
