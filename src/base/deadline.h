/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BASE_DEADLINE_H
#define RAMET_BASE_DEADLINE_H

/* A moment in the future that is kept on disk. While the host stays up it is one of CLOCK_BOOTTIME,
 * which nobody sets and which goes on while the host sleeps; after a boot, which begins that clock
 * anew, it is one of the wall clock. So a clock that is set moves no deadline of this boot. */

#include <stdbool.h>
#include <stdint.h>

#define BOOT_ID_SIZE 37 /* a UUID and the NUL */

/* The clocks, all at one moment, in microseconds. */
typedef struct Now {
    uint64_t wall_usec; /* CLOCK_REALTIME */
    uint64_t boot_usec; /* CLOCK_BOOTTIME */
    char boot_id[BOOT_ID_SIZE];
} Now;

typedef struct Deadline {
    uint64_t wall_usec; /* 0: there is none */
    uint64_t boot_usec;
    char boot_id[BOOT_ID_SIZE]; /* of the boot that boot_usec is of */
} Deadline;

/* Reads them. */
Now now_read(void);

/* So long from now. */
Deadline deadline_in(const Now *now, uint64_t usec);

/* There is one. */
bool deadline_is_set(const Deadline *deadline);

/* Microseconds that are left; 0 when it passed, UINT64_MAX when there is none. */
uint64_t deadline_left(const Deadline *deadline, const Now *now);

/* What the wall clock will show then, if nobody sets it; 0 when there is none. */
uint64_t deadline_wall(const Deadline *deadline, const Now *now);

/* Makes one of an earlier boot one of this boot. True when that changed it. */
bool deadline_rebase(Deadline *deadline, const Now *now);

#endif
