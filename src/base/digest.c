/* SPDX-License-Identifier: Apache-2.0 */
#include "base/digest.h"

#include <errno.h>
#include <openssl/evp.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

#define CHUNK_BYTES (256 * KIB)
#define HOLE_BYTES (16 * MIB)

struct Sha256 {
    EVP_MD_CTX *context; /* owned */
};

/* libcrypto fails here only when memory ran out or it lacks SHA-256; neither can be handled. */
static void require(int success) {
    if (!success)
        abort();
}

Sha256 *sha256_new(void) {
    Sha256 *hash = calloc(1, sizeof(*hash));
    require(hash != NULL);
    hash->context = EVP_MD_CTX_new();
    require(hash->context != NULL);
    require(EVP_DigestInit_ex(hash->context, EVP_sha256(), NULL));
    return hash;
}

void sha256_update(Sha256 *hash, const void *data, size_t size) {
    require(EVP_DigestUpdate(hash->context, data, size));
}

void sha256_update_zeroes(Sha256 *hash, uint64_t size) {
    static const uint8_t zeroes[CHUNK_BYTES];
    while (size > 0) {
        size_t part = (size_t)MIN_OF(size, (uint64_t)sizeof(zeroes));
        sha256_update(hash, zeroes, part);
        size -= part;
    }
}

void sha256_finish_bytes(Sha256 *hash, uint8_t digest[SHA256_SIZE]) {
    require(EVP_DigestFinal_ex(hash->context, digest, NULL));
}

void sha256_finish(Sha256 *hash, char hex[SHA256_HEX_SIZE]) {
    uint8_t digest[SHA256_SIZE];
    sha256_finish_bytes(hash, digest);
    hex_encode(digest, sizeof(digest), hex);
}

void sha256_free(Sha256 *hash) {
    if (!hash)
        return;
    EVP_MD_CTX_free(hash->context);
    free(hash);
}

/* A file that is being hashed. */
typedef struct Hashing {
    Sha256 *hash;    /* borrowed */
    int fd;          /* borrowed */
    int cancel_fd;   /* borrowed; -1: none */
    uint8_t *buffer; /* borrowed: CHUNK_BYTES */
} Hashing;

/* Adds the bytes from `offset` to `end`; a file that ends before is an error (it shrank). */
static int hash_range(const Hashing *hashing, uint64_t offset, uint64_t end) {
    while (offset < end) {
        size_t want = (size_t)MIN_OF(end - offset, CHUNK_BYTES);
        if (fd_is_cancelled(hashing->cancel_fd))
            return -ECANCELED;
        ssize_t got = fd_pread_full(hashing->fd, hashing->buffer, want, offset);
        if (got < 0)
            return (int)got;
        if (got == 0)
            return -EIO;
        sha256_update(hashing->hash, hashing->buffer, (size_t)got);
        offset += (uint64_t)got;
    }
    return 0;
}

/* A hole is as long as it is: it is hashed in parts, so that a cancelled one ends soon. */
static int hash_hole(const Hashing *hashing, uint64_t size) {
    for (uint64_t part; size > 0; size -= part) {
        part = MIN_OF(size, HOLE_BYTES);
        if (fd_is_cancelled(hashing->cancel_fd))
            return -ECANCELED;
        sha256_update_zeroes(hashing->hash, part);
    }
    return 0;
}

static int hash_file(const Hashing *hashing, uint64_t size) {
    for (uint64_t offset = 0; offset < size;) {
        uint64_t start, end;
        fd_find_data(hashing->fd, offset, size, &start, &end);
        int r = hash_hole(hashing, start - offset);
        if (r >= 0)
            r = hash_range(hashing, start, end);
        if (r < 0)
            return r;
        offset = end;
    }
    return 0;
}

int sha256_file_unless(int fd, int cancel_fd, char hex[SHA256_HEX_SIZE], Error *error) {
    _cleanup_free_ uint8_t *buffer = malloc(CHUNK_BYTES);
    off_t size = lseek(fd, 0, SEEK_END); /* works for block devices too */
    if (size < 0)
        return error_set_errno(error, errno, "cannot find the size of the file");
    _cleanup_(sha256_free_p) Sha256 *hash = sha256_new();
    const Hashing hashing = {.hash = hash, .fd = fd, .cancel_fd = cancel_fd, .buffer = buffer};
    require(buffer != NULL);
    int r = hash_file(&hashing, (uint64_t)size);
    if (r == -ECANCELED)
        return error_set(error, ERROR_CANCELLED, ECANCELED, "reading the file was cancelled");
    if (r < 0)
        return error_set_errno(error, -r, "cannot read the file");
    sha256_finish(hash, hex);
    return 0;
}

int sha256_file(int fd, char hex[SHA256_HEX_SIZE], Error *error) {
    return sha256_file_unless(fd, -1, hex, error);
}

void sha256_data(const void *data, size_t size, char hex[SHA256_HEX_SIZE]) {
    _cleanup_(sha256_free_p) Sha256 *hash = sha256_new();
    sha256_update(hash, data, size);
    sha256_finish(hash, hex);
}
