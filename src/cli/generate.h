/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_GENERATE_H
#define RAMET_CLI_GENERATE_H

#include "base/error.h"

/* `ramet --generate man|man8|bash|zsh|fish FOLDER` writes them all into the folder. */
int generate_files(const char *what, const char *folder, Error *error);

#endif
