/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_SSH_CONFIG_H
#define RAMET_CLI_SSH_CONFIG_H

/* Blocks of ssh_config(5) that lead to VMs by `ramet proxy`. */

#include "base/str.h"

typedef struct SshConfig {
    const char *program; /* "ramet", or where it is; all are borrowed */
    const char *home;    /* where the keys that were seen are kept, and its own */
    const char *env[3];  /* "K=V" that the program needs to find the daemon; NULL at the end */
} SshConfig;

/* The block of one VM. */
void ssh_config_add_vm(const SshConfig *config, const char *name, const char *id, StrBuf *out);

/* The block of all others, those to come too. */
void ssh_config_add_others(const SshConfig *config, StrBuf *out);

#endif
