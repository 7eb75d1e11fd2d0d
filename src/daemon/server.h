/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DAEMON_SERVER_H
#define RAMET_DAEMON_SERVER_H

/* The HTTP server: accepts, bounds, routes. One connection, one thread; a request runs in the
 * thread of its connection from its first byte to its last. */

#include <stdbool.h>

#include "home/home.h"

typedef struct Server Server;

typedef struct ServerOptions {
    Home *home;    /* borrowed */
    int listen_fd; /* owned by the server once it has started */
    int stop_fd; /* borrowed: an eventfd that is written to when a client asks the daemon to stop */
} ServerOptions;

#define SERVER_CONNECTIONS_MAX 512
#define SERVER_HEADERS_MAX (32u * 1024u) /* request line, headers and query */

/* Listens and serves, on threads of its own. */
int server_start(const ServerOptions *options, Server **server, Error *error);

/* Takes no more connections. Requests that only watch (events, logs, wait) end at once; the others
 * get wait_usec to finish, and then as much again to notice that they are cancelled. Returns 0 and
 * frees the server, or -EBUSY when some would not end: then the process has to exit with them. */
int server_stop(Server *server, uint64_t wait_usec);

#endif
