/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_FROZEN_STAMP_H
#define RAMET_FROZEN_STAMP_H

/* A frozen file is remembered by its digest and by a stamp: size, time of its last change, inode.
 * The stamp is compared at each use, which costs a fstat; the digest where the stamp differs, at
 * the first use of a memory base, and by `snapshot verify`.
 *
 * The digest is the SHA-256 of the content, or of a memory base, most of which is holes, the tree
 * digest (base/tree_digest.h). Which one it is can be seen from the text. */

#include "base/error.h"
#include "base/tree_digest.h"
#include "store/frozen.h"

#define FROZEN_DIGEST_SIZE TREE_DIGEST_SIZE /* the longer of both */

/* Which of both it is, by its text. NULL: no. */
bool frozen_digest_is_tree(const char *digest);

/* The digest of an open file, of the kind that was recorded, to be compared with it. */
int frozen_digest(int fd, const char *recorded, char found[FROZEN_DIGEST_SIZE], Error *error);

/* The stamp of an open file. */
int stamp_make(int fd, FileStamp *stamp, Error *error);

/* Is the open file the one that was frozen? ERROR_CORRUPT with the reason. digest "" cannot decide
 * a difference, which then is one. path is for messages. */
int stamp_check(int fd, const FileStamp *stamp, const char *digest, const char *path, Error *error);

#endif
