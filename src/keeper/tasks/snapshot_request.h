/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_KEEPER_TASKS_SNAPSHOT_REQUEST_H
#define RAMET_KEEPER_TASKS_SNAPSHOT_REQUEST_H

/* What a snapshot was asked to be (proto/keeper.h). */

#include "keeper/tasks/pause.h"

/* Into one that was just made. Takes those descriptors over that the request names. ERROR_USAGE */
int snapshot_request_read(Snapshot *snapshot, const json_t *request, int *fds, size_t n_fds,
                          Error *error);

#endif
