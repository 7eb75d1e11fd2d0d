/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_KEEPER_API_CONNECTION_H
#define RAMET_KEEPER_API_CONNECTION_H

/* Connections of the daemon (proto/keeper.h). One gathers descriptors until its request comes, has
 * that one request, and gets its answers; then it only waits to be closed by the other side. While
 * a task works on the request, it may be told to go on, where it waits for that. A watch stays and
 * gets events. An answer that does not fit into the socket's buffer means that nobody reads: the
 * connection is closed, never waited for. One message a connection and round. */

#include "base/loop.h"
#include "keeper/guest/link.h"
#include "keeper/tasks/reply.h"

typedef struct Connection Connection;
typedef struct Connections Connections;

typedef enum Waiting {
    WAITING_REQUEST,
    WAITING_REPLY,
    WAITING_END, /* of QEMU */
    WAITING_EVENTS,
    WAITING_NOTHING, /* it was answered */
} Waiting;

struct Connection {
    Connections *all; /* borrowed */
    Connection *next; /* owned by the list */
    Watched socket;
    Waiting waiting;
    Reply reply;
    const char *operation; /* static; of its request */
    LinkStream *stream;    /* borrowed from the link; while waiting for the agent */
    int *fds;              /* owned, as are they; until the request was run */
    size_t n_fds;
};

/* Runs the connection's request: answers its reply, or returns an error, or keeps the reply. */
typedef int (*ConnectionHandler)(Connection *connection, void *data, const json_t *request,
                                 Error *error);

struct Connections {
    Loop *loop; /* borrowed */
    Watched listener;
    uid_t starter;    /* who may talk to us, beside root */
    Connection *list; /* owned */
    ConnectionHandler handler;
    void *data; /* borrowed; for the handler */
};

/* Takes the listening socket over. 0 or a negative errno. */
int connections_listen(Connections *connections, Loop *loop, int listen_fd,
                       ConnectionHandler handler, void *data);
void connections_free(Connections *connections);

/* The answer of a request, with descriptors beside it (borrowed). */
void connection_answer_with(Connection *connection, const json_t *ok, const int *fds, size_t n_fds);

/* Tells all that watch. */
void connections_tell(Connections *connections, const json_t *event);

#endif
