/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_KEEPER_API_SESSIONS_H
#define RAMET_KEEPER_API_SESSIONS_H

/* All clients: each has a stream socket, and for exec and copies a stream of the link. A client of
 * plain HTTP sends nothing; input, when there is any, comes from a file. A detached command has no
 * client at all (detached.h).
 *
 * The client goes away: the stream is cancelled, and when the client owned a VM that is to be
 * removed, QEMU is killed. The guest goes away: the last frame is ERROR. A session that is over is
 * freed by sessions_finish only. */

#include "keeper/api/session.h"

void sessions_init(Sessions *sessions, Vm *vm);
void sessions_free(Sessions *sessions);

/* Opens one. It takes duplicates or, of the client's descriptor (the first, unless the command is
 * detached), the descriptor itself; that on success only. The other one is a file that is the
 * input. *answer is set for a detached command: its id. */
int sessions_open(Sessions *sessions, const char *operation, const json_t *request, const int *fds,
                  size_t n_fds, json_t **answer, Error *error);

/* The link has room again. */
void sessions_go_on(Sessions *sessions);

/* At the end of a round: frees what is over; ends the VM of an owner that is gone. */
void sessions_finish(Sessions *sessions);

/* Ends them all with that error, as soon as their clients have read it. */
void sessions_end_all(Sessions *sessions, const Error *error);

/* Those that have a client. */
unsigned sessions_count(const Sessions *sessions);
bool sessions_have_owner(const Sessions *sessions);

#endif
