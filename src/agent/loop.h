/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_LOOP_H
#define RAMET_AGENT_LOOP_H

#include "agent/session.h"

/* Blocks SIGCHLD and gives a descriptor for it; to be called before any child is started. */
int loop_open_signals(void);

/* Serves until a power action was asked for and its answer sent, or, with until_hangup, until the
 * other side went away. 0 or a negative errno. */
int loop_run(Session *session, int signal_fd, bool until_hangup);

#endif
