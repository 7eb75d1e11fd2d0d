/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_ZYGOTE_CLIENT_H
#define RAMET_ZYGOTE_CLIENT_H

/* Starting QEMU without its dynamic linking: by forks of one that has it behind it
 * (docs/zygote.md; src/zygote/zygote.c is what runs in that process).
 *
 * The daemon's side asks for a keeper and gets one with a child; the keeper's side tells that child
 * what QEMU to be. Where there is no zygote, both are started by spawn_process() as ever. */

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/process/process.h"
#include "base/process/spawn.h"

/* The daemon's side. All calls may come from any thread. */

#define ZYGOTE_LIBRARY "ramet-zygote.so" /* lies beside ramet-keeper */

typedef struct Zygote Zygote;

/* library: path of ramet-zygote.so; NULL: there will never be a zygote. */
Zygote *zygote_new(const char *library);
/* Ends it; what was forked from it lives on. NULL is fine. */
void zygote_free(Zygote *zygote);

/* Begins to start one of this binary, and does not wait for it. */
void zygote_prepare(Zygote *zygote, const char *binary);

/* Starts one only to see whether it can be. NULL, or why not; the caller frees it. */
char *zygote_try(const char *library, const char *binary);

/* Has a keeper made of it, with a QEMU-to-be for its child. The keeper gets log_fd as its error
 * output, listener_fd as number 3, a session of its own, and the environment that this process had
 * when the zygote began; it dies with the zygote until it clears its parent-death signal.
 *
 * Returns 1, the keeper's identity and the number of its child, or 0 when there is no zygote of
 * this binary as it is now on disk (what was in the way is logged once), or the error of a step
 * that failed. */
int zygote_spawn_keeper(Zygote *zygote, const char *binary, const char *keeper, int log_fd,
                        int listener_fd, ProcessIdentity *identity, pid_t *qemu, Error *error);

/* The keeper's side. */

/* The userfaultfd of its memory that the QEMU-to-be at the other end of socket made, before all
 * else; the caller's. -1: it could make none, or is gone. *remaps: the socket serves remap_client.h
 * after zygote_launch. To be called once, before zygote_launch: a socket that is closed with
 * something unread in it tells its other end nothing any more. */
int zygote_receive_userfaultfd(int socket, bool *remaps);

/* Tells the QEMU-to-be at the other end of socket to go on: as what program_arguments say (as for
 * execve), with these descriptors (0 is /dev/null, 1 and 2 too unless named), as user uid and group
 * gid (0: as it is), without capabilities, and with kvm able to open /dev/kvm. It dies with this
 * process. A child that is gone already is no error here: its end tells. */
int zygote_launch(int socket, char *const *program_arguments, const SpawnFd *fds, size_t n_fds,
                  uid_t uid, gid_t gid, bool kvm, Error *error);

#endif
