/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_TAR_HELPER_H
#define RAMET_CLI_TAR_HELPER_H

/* ramet-tar as a child that makes or takes a tar stream (copy_archive.h). */

#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

typedef struct TarHelper {
    pid_t pid;  /* 0: none is needed */
    int pipe;   /* owned: our end */
    int errors; /* owned: its standard error, a memory file */
} TarHelper;

#define TAR_HELPER_INIT ((TarHelper){.pipe = -1, .errors = -1})

/* "create" or "extract", with CopyFlags of proto/agent.h. To be finished on success. */
int tar_helper_start(const char *what, uint64_t flags, const char *path, TarHelper *helper,
                     Error *error);

/* Closes our end, waits for it, and gives its error. */
int tar_helper_finish(TarHelper *helper, Error *error);

#endif
