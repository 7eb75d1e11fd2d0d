/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_PROTO_LOG_TIMES_H
#define RAMET_PROTO_LOG_TIMES_H

/* What stands beside a console.log in console.times: when its bytes came. The keeper writes it, the
 * daemon reads it. A header and then marks, in the byte order of the host. The bytes from a mark's
 * offset to the next one's came at its time, or less than LOG_TIMES_STEP_USEC after it; those after
 * the offset that belong to the same line may have come before. What stands before the first mark
 * came before that, nobody knows when. */

#include <stdint.h>

#include "base/clock.h"

#define LOG_TIMES_MAGIC UINT64_C(0x31656d6974676f6c) /* "logtime1" */
#define LOG_TIMES_STEP_USEC (10 * USEC_PER_MSEC)

typedef struct LogTimesHeader {
    uint64_t magic;
    uint64_t inode; /* of the log that it belongs to; logs and marks are renamed one by one */
} LogTimesHeader;

typedef struct LogTimesMark {
    uint64_t offset;
    uint64_t realtime_usec;
} LogTimesMark;

#endif
