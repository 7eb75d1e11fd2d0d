/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_COPY_H
#define RAMET_AGENT_COPY_H

#include "agent/util.h"

typedef struct CopyRequest {
    const char *path; /* borrowed */
    uint64_t flags;   /* CopyFlags */
} CopyRequest;

/* Workers (worker.h) with a CopyRequest as their data: a tar stream comes from `in`, or goes to
 * `out`. */
void copy_in_worker(void *data, int in, int out, Result *result);
void copy_out_worker(void *data, int in, int out, Result *result);

#endif
