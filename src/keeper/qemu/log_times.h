/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_KEEPER_QEMU_LOG_TIMES_H
#define RAMET_KEEPER_QEMU_LOG_TIMES_H

/* The marks beside a log (proto/log_times.h), written as it grows. There is at most one for each
 * line of the log. Like the log itself they never fail their writer: when a mark cannot be written
 * the file is emptied, so that nobody takes what it says for the whole. */

#include <stdbool.h>
#include <stddef.h>

#include "proto/log_times.h"

typedef struct LogTimes {
    int fd; /* owned; -1: nothing is written */
    uint64_t size_bytes;
    LogTimesMark last;
    bool same_line; /* no line ended since the last mark */
} LogTimes;

#define LOG_TIMES_INIT ((LogTimes){.fd = -1})

/* Goes on with the marks in `fd` (open for reading and writing) when they are those of the log, or
 * begins anew. Takes fd over. */
void log_times_start(LogTimes *times, int fd, int log_fd);
void log_times_close(LogTimes *times);

/* Tells of bytes that are about to be written at that offset of the log. */
void log_times_note(LogTimes *times, uint64_t offset, const void *data, size_t size,
                    uint64_t realtime_usec);

#endif
