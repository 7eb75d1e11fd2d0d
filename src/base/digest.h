/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BASE_DIGEST_H
#define RAMET_BASE_DIGEST_H

/* SHA-256 (FIPS 180-4) by libcrypto, and random bytes. */

#include "base/error.h"

#define SHA256_SIZE 32
#define SHA256_HEX_SIZE 65 /* with the NUL */

typedef struct Sha256 Sha256; /* opaque */

Sha256 *sha256_new(void); /* aborts when out of memory */
void sha256_update(Sha256 *hash, const void *data, size_t size);

/* Adds `size` zero bytes, as a hole in a sparse file reads. */
void sha256_update_zeroes(Sha256 *hash, uint64_t size);

/* Writes the digest of all that was added, in hexadecimal or as it is. */
void sha256_finish(Sha256 *hash, char hex[SHA256_HEX_SIZE]);
void sha256_finish_bytes(Sha256 *hash, uint8_t digest[SHA256_SIZE]);
void sha256_free(Sha256 *hash);
DEFINE_CLEANUP(Sha256 *, sha256_free);

/* The digest of a whole file from offset 0, holes included (they are found with SEEK_DATA and not
 * read). */
int sha256_file(int fd, char hex[SHA256_HEX_SIZE], Error *error);

/* The same; cancel_fd readable or hung up ends it with ERROR_CANCELLED; -1: nothing does. */
int sha256_file_unless(int fd, int cancel_fd, char hex[SHA256_HEX_SIZE], Error *error);

/* The digest of one piece of memory. */
void sha256_data(const void *data, size_t size, char hex[SHA256_HEX_SIZE]);

/* getrandom(2); cannot fail. */
void random_bytes(void *data, size_t size);
char *random_hex(size_t bytes); /* 2 * bytes digits, owned by the caller */

#endif
