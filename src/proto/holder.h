/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_PROTO_HOLDER_H
#define RAMET_PROTO_HOLDER_H

/* The memory holder: `ramet-keeper --hold`, one for each home. It keeps sealed memory bases
 * (memfds), so that they outlive a restart of the daemon, and knows when each was last used. It
 * decides nothing: the daemon has the budget and drops what it does not want.
 *
 * Its socket is SOCK_SEQPACKET, "holder.sock" in the home. A connection carries one request and its
 * answer, {"ok":…} or {"error":…} as a keeper's:
 *
 *   put   {"key"} with the memfd → {}       the key is in use: error of kind conflict
 *   get   {"key"} → {"bytes"} with the memfd; counts as a use
 *   drop  {"key"} → {"dropped":bool}        VMs that map it keep it
 *   list  → {"bases":[{"key","bytes","allocated_bytes","inode","uses","used_at_us"}]}, least
 * recently used first; monotonic times quit  → {}, and it ends
 *
 * It also ends when its socket's file is gone or is another's, which it looks for every 10 s. It
 * takes only memfds that are sealed against writing, shrinking and growing; at most
 * HOLDER_BASES_MAX. */

#include "base/json.h"

#define HOLDER_SOCKET_NAME "holder.sock"
#define HOLDER_KEY_SIZE 129 /* with its NUL; [A-Za-z0-9_.:-] */
#define HOLDER_BASES_MAX 1024

/* Each connects anew. home_dir_fd: the home's folder. ERROR_NOT_FOUND: no holder runs, or, for
 * get, it has no such base. All of them are quick; none waits
 * longer than 60 s. */
int holder_put(int home_dir_fd, const char *key, int memfd, Error *error);  /* borrowed */
int holder_get(int home_dir_fd, const char *key, int *memfd, Error *error); /* the caller's */
int holder_drop(int home_dir_fd, const char *key, Error *error);            /* absent is success */
int holder_list(int home_dir_fd, json_t **bases, Error *error); /* the array; the caller's */
int holder_quit(int home_dir_fd, Error *error);                 /* none is success */

/* Starts one unless one answers. keeper: path of ramet-keeper. The caller holds a lock, so that
 * only one is started. */
int holder_ensure(int home_dir_fd, const char *keeper, Error *error);

#endif
