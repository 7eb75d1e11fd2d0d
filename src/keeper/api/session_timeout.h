/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_KEEPER_API_SESSION_TIMEOUT_H
#define RAMET_KEEPER_API_SESSION_TIMEOUT_H

/* A command's time. It is the host's clock that counts, so that a paused or silent guest cannot
 * put the end off: TERM to the command's process group when the time is over, KILL a little later,
 * and when the guest does not even tell then that the command has ended, the session ends without
 * that. The exit status is 124 from the first step on, whatever the command makes of TERM. */

#include "keeper/api/session.h"

/* The command has so long from now on. */
void session_set_timeout(Session *session, uint64_t timeout_usec);

/* A signal to its process group. -EBUSY: the guest does not read. */
int session_send_signal(Session *session, int number);

#endif
