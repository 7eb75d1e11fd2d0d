/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_LOOP_H
#define RAMET_AGENT_LOOP_H

#include "agent/session/session.h"

/* Blocks SIGCHLD, and as init the signals that ask for a power action (power.h), and gives a
 * descriptor for them; to be called before any child is started. */
int loop_open_signals(bool is_init);

/* Serves until a power action was asked for and its answer sent, or, with until_hangup, until the
 * other side went away. 0 or a negative errno. */
int loop_serve(Session *session, int signal_fd, bool until_hangup);

#endif
