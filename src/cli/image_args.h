/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_IMAGE_ARGS_H
#define RAMET_CLI_IMAGE_ARGS_H

/* The options that image build and image import share. */

#include "cli/args.h"

#define IMAGE_OPTIONS                                                                     \
    {0, "size", ARG_SIZE, .max = API_DISK_MAX, .help = "size of the disk"},               \
        {0, "kernel", ARG_FILE, .help = "kernel to use instead of the distribution's"}, { \
        0, "modules", ARG_FOLDER, .help = "folder of that kernel's modules"               \
    }

/* Adds size, kernel and modules; paths are made absolute, since the daemon has another working
 * folder. ERROR_NOT_FOUND when one is not there. */
int image_args_add(const Args *args, json_t *request, Error *error);

/* The absolute path of a file that is there. The caller owns it. */
int image_args_path(const char *path, char **absolute, Error *error);

#endif
