/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_EXPORT_FILE_H
#define RAMET_CLI_EXPORT_FILE_H

#include "proto/api/api.h"

/* Writes what an operation sends as its body into a file, which is there once it is whole, or to
 * standard output ("-"). ERROR_USAGE for a terminal. */
int export_file(ApiId id, const char *argument, const char *query, const char *file,
                uint64_t *bytes, Error *error);

/* The same to whoever takes the bytes as they come, and fails with an Error. */
typedef int (*ExportTake)(void *data, const void *bytes, size_t size, Error *error);
int export_stream(ApiId id, const char *argument, const char *query, ExportTake take, void *data,
                  uint64_t *bytes, Error *error);

#endif
