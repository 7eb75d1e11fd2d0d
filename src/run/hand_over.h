/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_RUN_HAND_OVER_H
#define RAMET_RUN_HAND_OVER_H

#include "base/error.h"
#include "base/json.h"
#include "home/home.h"
#include "store/vms.h"

/* Gives the client's stream (borrowed: the keeper gets a duplicate) to the keeper. op is "exec",
 * "attach", "copy_in" or "copy_out"; request has the members that src/proto/keeper.h lists. The
 * VM's own environment is put before the request's "env". ERROR_CONFLICT when it does not run. On
 * success the daemon writes nothing more to the stream. */
int vm_hand_stream(Home *home, const char *reference, const char *op, const json_t *request,
                   int client_fd, Error *error);

/* The same for all that a keeper does for clients of plain HTTP: also "read", "write", "stat",
 * "exec_detached", "exec_wait", "exec_list" and "exec_kill", with the descriptors that they want
 * (borrowed). answer (may be NULL): what the keeper said to us; nothing of it is from the guest. */
int vm_ask_keeper(Home *home, const char *reference, const char *op, const json_t *request,
                  const int *fds, size_t n_fds, json_t **answer, Error *error);

/* The same by the row of a VM whose keeper says that it runs, whatever the row says. */
int vm_ask_keeper_of(Home *home, const VmRow *row, const char *op, const json_t *request,
                     const int *fds, size_t n_fds, json_t **answer, Error *error);

/* The folder of its console.log and console.log.1 (opened O_PATH-free, for openat; the caller owns
 * it) and its id. */
int vm_open_folder(Home *home, const char *reference, char id[33], int *fd, Error *error);

#endif
