/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_READ_TEXT_FILE_H
#define RAMET_CLI_READ_TEXT_FILE_H

#include <stddef.h>

#include "base/error.h"

/* Reads a file, or with "-" standard input: at most one byte more than max, which shows that there
 * is too much. The text, which need not end with NUL, is the caller's. */
int read_text_file(const char *name, size_t max, char **text, size_t *size, Error *error);

#endif
