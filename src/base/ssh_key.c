/* SPDX-License-Identifier: Apache-2.0 */
/* The private key's file is openssh-key-v1 (OpenSSH, PROTOCOL.key) without encryption, in base64
 * between two lines; the public one is a line of RFC 4253, section 6.6, and RFC 8709. */

#include "base/ssh_key.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

#include "base/base64.h"
#include "base/digest.h"
#include "base/str.h"

#define TYPE "ssh-ed25519"
#define KEY_BYTES 32
#define BLOCK_BYTES 8 /* of the cipher `none` */

typedef struct Pair {
    uint8_t seed[KEY_BYTES];
    uint8_t public[KEY_BYTES];
} Pair;

/* A growing piece of the format; all that goes into it fits by far. */
typedef struct Blob {
    uint8_t bytes[384];
    size_t size;
} Blob;

static void add(Blob *blob, const void *bytes, size_t size) {
    if (size > sizeof(blob->bytes) - blob->size)
        abort();
    if (size > 0)
        memcpy(blob->bytes + blob->size, bytes, size);
    blob->size += size;
}

static void add_number(Blob *blob, uint32_t number) {
    uint32_t big = htobe32(number);
    add(blob, &big, sizeof(big));
}

static void add_string(Blob *blob, const void *bytes, size_t size) {
    add_number(blob, (uint32_t)size);
    add(blob, bytes, size);
}

static void add_text(Blob *blob, const char *text) {
    add_string(blob, text, strlen(text));
}

static int make_pair(Pair *pair, Error *error) {
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    size_t seed = sizeof(pair->seed), public = sizeof(pair->public);
    bool made = key && EVP_PKEY_get_raw_private_key(key, pair->seed, &seed) == 1 &&
                EVP_PKEY_get_raw_public_key(key, pair->public, &public) == 1 &&
                seed == sizeof(pair->seed) && public == sizeof(pair->public);
    EVP_PKEY_free(key);
    return made ? 0 : error_set(error, ERROR_FAILED, EIO, "cannot make an SSH host key");
}

static void describe_public(const Pair *pair, Blob *blob) {
    add_text(blob, TYPE);
    add_string(blob, pair->public, sizeof(pair->public));
}

/* The same random number twice tells a reader that a passphrase was right. */
static void describe_private(const Pair *pair, const char *comment, Blob *blob) {
    uint8_t both[2 * KEY_BYTES];
    uint32_t check;
    random_bytes(&check, sizeof(check));
    add_number(blob, check);
    add_number(blob, check);
    describe_public(pair, blob);
    memcpy(both, pair->seed, KEY_BYTES);
    memcpy(both + KEY_BYTES, pair->public, KEY_BYTES);
    add_string(blob, both, sizeof(both));
    OPENSSL_cleanse(both, sizeof(both));
    add_text(blob, comment);
    for (uint8_t i = 1; blob->size % BLOCK_BYTES != 0; i++)
        add(blob, &i, 1);
}

static void describe_file(const Pair *pair, const char *comment, Blob *blob) {
    Blob public = {0}, private = {0};
    describe_public(pair, &public);
    describe_private(pair, comment, &private);
    add(blob, "openssh-key-v1", sizeof("openssh-key-v1"));
    add_text(blob, "none"); /* cipher */
    add_text(blob, "none"); /* derivation of its key */
    add_text(blob, "");
    add_number(blob, 1); /* one key */
    add_string(blob, public.bytes, public.size);
    add_string(blob, private.bytes, private.size);
    OPENSSL_cleanse(&private, sizeof(private));
}

static bool write_private(const Blob *file, char *text, size_t room) {
    char *code = base64_encode(file->bytes, file->size);
    int length = snprintf(text, room, "%s", code);
    OPENSSL_cleanse(code, strlen(code));
    free(code);
    return length > 0 && (size_t)length < room;
}

static bool write_public(const Pair *pair, const char *comment, char *text, size_t room) {
    Blob blob = {0};
    describe_public(pair, &blob);
    _cleanup_free_ char *code = base64_encode(blob.bytes, blob.size);
    int length = snprintf(text, room, TYPE " %s %s", code, comment);
    return length > 0 && (size_t)length < room;
}

int ssh_key_make(const char *comment, char private_key[SSH_PRIVATE_KEY_SIZE],
                 char public_key[SSH_PUBLIC_KEY_SIZE], Error *error) {
    char cut[SSH_COMMENT_MAX + 1];
    Blob file = {0};
    Pair pair;
    int r = make_pair(&pair, error);
    if (r < 0)
        return r;
    (void)snprintf(cut, sizeof(cut), "%s", comment);
    describe_file(&pair, cut, &file);
    if (!write_private(&file, private_key, SSH_PRIVATE_KEY_SIZE) ||
        !write_public(&pair, cut, public_key, SSH_PUBLIC_KEY_SIZE))
        r = error_set(error, ERROR_FAILED, ENOSPC, "cannot write an SSH host key");
    OPENSSL_cleanse(&file, sizeof(file));
    OPENSSL_cleanse(&pair, sizeof(pair));
    return r;
}

#define LINE 70 /* characters, as ssh-keygen writes them */

char *ssh_key_wrap(const char *private_key) {
    StrBuf text = {0};
    strbuf_add_text(&text, "-----BEGIN OPENSSH PRIVATE KEY-----\n");
    for (size_t i = 0; i < strlen(private_key); i += LINE)
        strbuf_add_format(&text, "%.*s\n", LINE, private_key + i);
    strbuf_add_text(&text, "-----END OPENSSH PRIVATE KEY-----\n");
    return strbuf_steal(&text);
}
