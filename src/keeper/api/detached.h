/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_KEEPER_API_DETACHED_H
#define RAMET_KEEPER_API_DETACHED_H

/* Detached commands: sessions without a client. What such a command prints is taken at once, so it
 * never waits for a reader, and the last of it is kept (answer.h). When it has ended it stays in
 * the list, so that it can be waited for later, and more than once; the oldest that has ended makes
 * room for a new one. All of them are gone with the keeper, as the VM's processes are.
 *
 * A wait is a session that only has a client. It is answered when the command ends, or when its own
 * time is over. */

#include "keeper/api/session.h"

/* Makes a session one that nobody listens to. */
int detached_begin(Session *session, const json_t *request, Error *error);
void detached_free(Session *session);

/* Makes a session one that waits for the end of the command with the request's "id". */
int detached_wait(Session *session, const json_t *request, Error *error);

/* Answers who waits for commands that have ended; at the end of a round. */
void detached_finish(Sessions *sessions);

/* All that are remembered. */
json_t *detached_list(const Sessions *sessions);

/* Sends the request's "signal" (TERM) to the command with its "id". */
int detached_signal(Sessions *sessions, const json_t *request, Error *error);

#endif
