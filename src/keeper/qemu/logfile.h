/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_KEEPER_QEMU_LOGFILE_H
#define RAMET_KEEPER_QEMU_LOGFILE_H

/* A bounded log of what another process says: console.log and qemu.log. Writing never fails for the
 * caller: what cannot be written is dropped, which is noted once in the keeper's own log. The last
 * bytes are also kept in memory, for error messages. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "keeper/qemu/log_times.h"

#define LOGFILE_TAIL_BYTES 4096

typedef struct LogFile {
    int dir_fd;       /* borrowed */
    const char *name; /* borrowed */
    bool rotate;      /* keep one older file, NAME.1; otherwise what exceeds the bound is dropped */
    int fd;           /* owned; -1: nothing is written */
    uint64_t size_bytes;
    uint64_t max_bytes;
    uint64_t total_bytes;   /* of all that came */
    const char *times_name; /* borrowed; NULL: nobody asks when it came */
    LogTimes times;
    bool dropping;    /* and it was noted */
    size_t tail_next; /* where the next byte goes; the tail is a ring */
    char tail[LOGFILE_TAIL_BYTES];
} LogFile;

#define LOGFILE_INIT ((LogFile){.fd = -1, .dir_fd = -1, .times = LOG_TIMES_INIT})

/* Opens NAME for appending, or makes it. With uid != 0 the file is given to that user. dir_fd and
 * name must stay valid. */
int logfile_open(LogFile *log, int dir_fd, const char *name, bool rotate, uint64_t max_bytes,
                 uid_t uid, gid_t gid, Error *error);

/* Notes from now on in the file `name`, which is rotated with the log, when its bytes came
 * (proto/log_times.h). A log whose marks take as much room as itself may is rotated as a full one
 * is. name must stay valid; uid and gid as above. */
int logfile_keep_times(LogFile *log, const char *name, uid_t uid, gid_t gid, Error *error);
void logfile_close(LogFile *log);
void logfile_write(LogFile *log, const void *data, size_t size);

/* The last lines (at most `lines`, at most LOGFILE_TAIL_BYTES), fit for a terminal. "" when there
 * was nothing. The caller owns it. */
char *logfile_tail(const LogFile *log, unsigned lines);

#endif
