/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_KEEPER_API_REQUEST_H
#define RAMET_KEEPER_API_REQUEST_H

/* The daemon's requests: the operations of proto/keeper.h. */

#include "keeper/api/connection.h"
#include "keeper/api/sessions.h"

typedef struct Api {
    Vm *vm; /* borrowed */
    Connections connections;
    Sessions sessions;
} Api;

/* Takes the listening socket over. 0 or a negative errno. */
int api_listen(Api *api, Vm *vm, int listen_fd);
void api_free(Api *api);

/* The guest does not answer: all that wait for its agent are told. */
void api_fail_waiting(Api *api, const Error *error);

/* QEMU is gone: that is what watchers hear ("cause" among it), and what others waited for. */
void api_tell_end(Api *api, const json_t *exit);

#endif
