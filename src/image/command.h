/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_IMAGE_COMMAND_H
#define RAMET_IMAGE_COMMAND_H

/* Running a tool that takes minutes, with its lines seen as they come. */

#include "base/process/spawn.h"
#include "image/context.h"

/* A line that the tool wrote, without its end; printable ASCII only. */
typedef void (*CommandLine)(void *data, const char *line);

/* Runs argv (NULL-terminated, argv[0] looked up in $PATH) to its end with both outputs on one pipe.
 * When the context is cancelled it is killed. A tool that cannot start or fails is an error that
 * carries its last complaints up to the first "E:", or its last line when it did not complain. */
int command_run(const ImageContext *context, char *const *argv, CommandLine line, void *data,
                Error *error);

#endif
