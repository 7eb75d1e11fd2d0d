/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_PROVE_PROVE_H
#define RAMET_PROVE_PROVE_H

#include "base/json.h"
#include "proto/api/http_client.h"

#define PROVE_CLONES_MIN 2
#define PROVE_CLONES_MAX 64
#define PROVE_CLONES_DEFAULT 8

/* Forks clones of a snapshot through the API at `socket` and shows that they are pairwise distinct,
 * were restored, keep the host's time, and cannot change what they grow from: {"id","name","ok",
 * "clones":[{"name","hostname",…}],"checks":[{"what","ok","message"}],"frozen":[{"what","path",
 * "inode","sha256","tree"}]}, the caller's. What is wrong is in the report. Nothing is left of the
 * clones, also when this process or the daemon dies. on_event hears of stages. */
int prove_snapshot(const char *socket, const char *reference, unsigned count,
                   HttpLineHandler on_event, void *data, json_t **report, Error *error);

#endif
