/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_PROGRESS_H
#define RAMET_CLI_PROGRESS_H

/* Shows the events of a long operation on standard error: stages and progress as one line that
 * changes, on a terminal only; notes, and what guests print, as lines of their own. */

#include <stdbool.h>

#include "base/json.h"

typedef struct Progress {
    bool terminal;
    bool shown; /* a line stands on the terminal */
    uint64_t last_usec;
} Progress;

/* From here on this process shows no events. */
void progress_be_quiet(void);

/* Shows nothing yet; finds out whether standard error is a terminal. */
void progress_start(Progress *progress);

/* An HttpLineHandler; data is a Progress. Always 0. */
int progress_event(void *data, const json_t *event);

/* Shows "what: 3.1 MiB of 7.0 MiB" (total 0: unknown), a few times a second at most. */
void progress_show(Progress *progress, const char *what, uint64_t done_bytes, uint64_t total_bytes);

/* Wipes the line. */
void progress_end(Progress *progress);

#endif
