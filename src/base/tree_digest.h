/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BASE_TREE_DIGEST_H
#define RAMET_BASE_TREE_DIGEST_H

/* A digest of a sparse file that costs what the file holds and not what it spans.
 *
 *     chunk   1 MiB of the file; the last one may be shorter
 *     page    4 KiB of a chunk; the file's last one may be shorter
 *     leaf    SHA-256(0x00 | map | the chunk's pages that are not all zero, in order)
 *             map, 32 bytes: bit i % 8 (1 << it) of byte i / 8 is set for those pages
 *     root    SHA-256(0x01 | size | for each chunk that is not all zero, ascending: index | leaf)
 *             size of the file in bytes and index of the chunk: u64, little-endian
 *     text    "tree1:" and the root in hexadecimal
 *
 * A hole and zeroes that were written give the same digest, and neither is hashed. Two different
 * files would need a collision of SHA-256: the map tells how many pages follow and where in the
 * chunk they lie, the index where the chunk lies, the size how long the file and its last page are,
 * and all entries are equally long. That a leaf cannot be passed off as a root and the other way
 * round is the first byte's doing, as in the trees of Certificate Transparency (RFC 6962, section
 * 2.1; RFC 9162, section 2.1.1). One level of leaves does: a dense GiB has 40 KiB of them.
 *
 * Unlike with the SHA-256 of the whole file, which is one chain, chunks can be hashed by several
 * threads, and whoever copies the file can do so in the same pass. */

#include "base/digest.h"

#define TREE_DIGEST_PREFIX "tree1:" /* the number changes with the formula */
#define TREE_DIGEST_SIZE (sizeof(TREE_DIGEST_PREFIX) - 1 + SHA256_HEX_SIZE) /* with the NUL */

/* Gets runs of pages that are not all zero, each page once. 0 or a negative errno, which ends it.
 */
typedef int (*TreeDigestVisitor)(void *data, uint64_t offset, const uint8_t *bytes, size_t size);

/* The digest of a file whose chunks are at hand, by as many threads as like. */
#define TREE_DIGEST_CHUNK_BYTES MIB
typedef struct TreeDigest TreeDigest; /* opaque */
TreeDigest *tree_digest_new(void);    /* aborts when out of memory */
void tree_digest_free(TreeDigest *tree);
DEFINE_CLEANUP(TreeDigest *, tree_digest_free);

/* Adds chunk number `index`, once, in any order; one that is all zero need not be. All are whole,
 * but for the last. visit may be NULL; what it returns when it fails. */
int tree_digest_add(TreeDigest *tree, uint64_t index, const uint8_t *chunk, size_t size,
                    TreeDigestVisitor visit, void *data);

/* When nobody adds any more; size_bytes: the whole file's. */
void tree_digest_finish(TreeDigest *tree, uint64_t size_bytes, char digest[TREE_DIGEST_SIZE]);

typedef struct TreeDigestOptions {
    int cancel_fd;           /* borrowed; readable or hung up: ERROR_CANCELLED; -1: none */
    unsigned threads;        /* 1: the caller's only, which visits runs in order; else they come in
                                any order, several at once; 0: as many as there are cores, but few
                              */
    TreeDigestVisitor visit; /* may be NULL */
    void *data;              /* borrowed, for visit */
} TreeDigestOptions;

/* Of the whole file. The file must not change meanwhile; one that shrinks is an error. */
int tree_digest_file(int fd, const TreeDigestOptions *options, char digest[TREE_DIGEST_SIZE],
                     Error *error);

/* The tree digest and the SHA-256 of the whole content (what sha256sum says), both of the same
 * bytes, which are read once. */
int tree_digest_and_sha256(int fd, int cancel_fd, char digest[TREE_DIGEST_SIZE],
                           char sha256[SHA256_HEX_SIZE], Error *error);

#endif
