/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BASE_SSH_KEY_H
#define RAMET_BASE_SSH_KEY_H

#include "base/error.h"

/* Room for both texts of a key pair, with their NULs. */
#define SSH_PRIVATE_KEY_SIZE 512
#define SSH_PUBLIC_KEY_SIZE 192
#define SSH_COMMENT_MAX 64

/* Makes an Ed25519 key pair for an SSH server: what ssh_host_ed25519_key.pub has as its line,
 * without the newline, and what ssh_host_ed25519_key has between its first and last line, as one
 * line of base64. No passphrase. It takes some 0.1 ms here, and an emulated guest seconds. The
 * comment is cut at SSH_COMMENT_MAX characters. */
int ssh_key_make(const char *comment, char private_key[SSH_PRIVATE_KEY_SIZE],
                 char public_key[SSH_PUBLIC_KEY_SIZE], Error *error);

/* The text of a private key's file, for what ssh_key_make gave; the caller's. */
char *ssh_key_wrap(const char *private_key);

#endif
