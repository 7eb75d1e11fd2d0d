/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_FILES_FILE_H
#define RAMET_AGENT_FILES_FILE_H

#include "agent/base/util.h"

typedef struct FileRequest {
    const char *path; /* borrowed */
    uint64_t mode;    /* WRITE: permissions of a new file */
    uint64_t size;    /* WRITE: of what comes; UINT64_MAX: whatever comes */
} FileRequest;

/* Workers (worker.h) with a FileRequest as their data. read gives a byte of ReadKind and the
 * content of a file, or a tar stream of a folder. write replaces a file as a whole: until all of it
 * came the old one stays. stat gives fields. */
void file_read_worker(void *data, int in, int out, Result *result);
void file_write_worker(void *data, int in, int out, Result *result);
void file_stat_worker(void *data, int in, int out, Result *result);

#endif
