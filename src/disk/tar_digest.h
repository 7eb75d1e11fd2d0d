/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DISK_TAR_DIGEST_H
#define RAMET_DISK_TAR_DIGEST_H

#include "base/digest.h"

/* The digest of what a tar archive, a stretch of a file, holds: names, kinds, modes, links and
 * contents, and neither times nor owners. ERROR_CORRUPT when it is none; cancel_fd readable or hung
 * up ends it with ERROR_CANCELLED (-1: nothing does). */
int tar_digest(int fd, uint64_t offset, uint64_t bytes, int cancel_fd, char hex[SHA256_HEX_SIZE],
               Error *error);

#endif
