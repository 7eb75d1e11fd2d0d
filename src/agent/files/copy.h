/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_FILES_COPY_H
#define RAMET_AGENT_FILES_COPY_H

#include "agent/base/result.h"

/* Both sides of a copy: the agent does it in the guest, and ramet-tar on the host with the same
 * code. */

typedef struct CopyRequest {
    const char *path; /* borrowed */
    uint64_t flags;   /* CopyFlags */
} CopyRequest;

/* For the host's own use, beside CopyFlags: set-id bits of a stranger's files are left out. */
#define COPY_NO_SET_ID (1ull << 32)

/* Workers (worker.h) with a CopyRequest as their data: a tar stream comes from `in`, or goes to
 * `out`. What cannot be copied while all else can is counted, and makes the result an error. */
void copy_in_worker(void *data, int in, int out, Result *result);
void copy_out_worker(void *data, int in, int out, Result *result);

/* What a copy has not, although all else came: how many, and the first. */
typedef struct LeftOut {
    unsigned n;
    char first[400];
} LeftOut;

/* Notes that `name` was left out, since it is, or has, `what`. */
void left_out_note(LeftOut *left_out, const char *name, const char *what);

/* Makes it the result when nothing worse is. */
void left_out_tell(const LeftOut *left_out, Result *result);

#endif
