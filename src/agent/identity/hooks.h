/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_IDENTITY_HOOKS_H
#define RAMET_AGENT_IDENTITY_HOOKS_H

#include "agent/base/util.h"

#define HOOKS_FOLDER "/etc/ramet/clone.d"

/* Runs every executable file of HOOKS_FOLDER in the order of names; the first failure ends it. */
bool hooks_exist(void);
int hooks_run(Result *result);

/* New SSH host keys in place of all that are there, and a reload of the server that has the old
 * ones in memory. key, public_key: of an Ed25519 key, as TAG_SSH_KEY brings them. With ""
 * ssh-keygen makes them, and where the server's configuration insists on others those too. The
 * result says whether the key is in use; a read-only disk stays as it is. */
bool hooks_have_ssh_server(void);
bool hooks_have_ssh_keys(void);
int hooks_renew_ssh_keys(const char *key, const char *public_key, Result *result);

#endif
