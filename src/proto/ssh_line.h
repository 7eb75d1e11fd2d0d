/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_PROTO_SSH_LINE_H
#define RAMET_PROTO_SSH_LINE_H

#include "base/error.h"

/* Of a line of authorized_keys as it is taken here, and of all lines of a VM. */
#define SSH_AUTHORIZED_LINE_MAX 3000
#define SSH_AUTHORIZED_KEYS_SIZE 4096

/* Is it a public key as OpenSSH writes it into a file of its own: a type, base64, and perhaps a
 * comment, on one line, without options before them? ERROR_USAGE: no. */
int ssh_key_check_public(const char *line, Error *error);

#endif
