/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_IMAGE_CONTEXT_H
#define RAMET_IMAGE_CONTEXT_H

/* What every function of this folder needs to know about its caller. */

#include <stdbool.h>

#include "base/error.h"
#include "disk/publish.h"

/* Called now and then while long work goes on, from the thread that does it. `step` is a short
 * phrase for people ("extracting image", "unpacking redis-server"). `total` is 0 when nobody knows
 * it; both are then counted in whatever the step counts, bytes mostly. */
typedef void (*ImageProgress)(void *data, const char *step, uint64_t done, uint64_t total);

typedef struct ImageContext {
    const char *home;       /* borrowed: $RAMET_HOME */
    const char *tmp;        /* borrowed: scratch on the same file system; NULL: HOME/tmp */
    ImageProgress progress; /* NULL: none */
    void *progress_data;    /* borrowed, handed to progress */
    int cancel_fd;          /* readable or hung up: stop with ERROR_CANCELLED; -1: none */
} ImageContext;

/* Tells the caller's progress function, when there is one. */
void image_context_progress(const ImageContext *context, const char *step, uint64_t done,
                            uint64_t total);

/* To publish HOME/KIND/NAME, a file, until the caller asks to stop. Borrows both names. */
PublishOptions image_publish_options(const ImageContext *context, const char *kind,
                                     const char *name);

/* Has the caller asked to stop? Returns 0, or ERROR_CANCELLED. */
int image_context_check(const ImageContext *context, Error *error);

#endif
