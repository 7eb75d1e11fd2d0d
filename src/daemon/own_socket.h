/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DAEMON_OWN_SOCKET_H
#define RAMET_DAEMON_OWN_SOCKET_H

/* The socket at which this daemon listens. Who cannot find it starts another daemon, which waits
 * for the home until this one ends: so it ends when its socket was removed, and notes in the home
 * where the socket is, for those who look for it at another place. */

#include <stdbool.h>
#include <sys/stat.h>

typedef struct OwnSocket {
    const char *home, *path; /* borrowed */
    struct stat made;        /* what it was then */
    int watch_fd; /* owned: inotify(7), readable when something in its folder went; -1: none */
} OwnSocket;

/* made: this daemon made it; else somebody else did, who removes it, too. */
void own_socket_begin(OwnSocket *socket, const char *home, const char *path, bool made);

/* When watch_fd is readable: is it there still? */
bool own_socket_is_there(OwnSocket *socket);

/* Removes it, but not another that has taken its place, as in a home that was replaced. */
void own_socket_end(OwnSocket *socket);

/* Where the daemon of this home listened last; NULL: nobody knows. The caller's. */
char *own_socket_find(const char *home);

#endif
