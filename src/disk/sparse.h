/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DISK_SPARSE_H
#define RAMET_DISK_SPARSE_H

/* Copies of files that never store what is a hole or zeroes, and reflinks where the file system has
 * them. */

#include <stdbool.h>

#include "base/error.h"

/* Writes data at offset, except blocks of 4 KiB (aligned in the file) that are all zero: the range
 * must be a hole yet. *stored, when not NULL, gets the count of bytes written. 0 or a negative
 * errno. */
int sparse_write(int fd, const void *data, size_t size, uint64_t offset, uint64_t *stored);

/* Copies a whole file from offset 0 into an empty file, holes and zero blocks as holes. The size is
 * exactly the source's. */
int sparse_copy(int source_fd, int target_fd, Error *error);

/* Does this errno of FICLONE mean "not here" (true), or is it a real error (false)? */
bool reflink_is_absent(int errnum);

/* Tries FICLONE on two scratch files in the folder. ERROR_* only for real errors. */
int reflink_probe(const char *folder, bool *supported, Error *error);

/* A reflink when the file system can do it, else a sparse copy; never a dense one. The target must
 * be empty and in the right place. *cloned may be NULL. */
int file_clone_or_sparse_copy(int source_fd, int target_fd, bool *cloned, Error *error);

#endif
