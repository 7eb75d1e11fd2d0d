/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_HOOKS_H
#define RAMET_AGENT_HOOKS_H

#include "agent/util.h"

#define HOOKS_FOLDER "/etc/ramet/clone.d"

/* Runs every executable file of HOOKS_FOLDER in the order of names; the first failure ends it. */
bool hooks_exist(void);
int hooks_run(Result *result);

/* New SSH host keys, and a reload of the server that has the old ones in memory. */
bool hooks_have_ssh_keys(void);
int hooks_renew_ssh_keys(Result *result);

#endif
