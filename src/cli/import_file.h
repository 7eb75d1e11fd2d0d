/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_IMPORT_FILE_H
#define RAMET_CLI_IMPORT_FILE_H

#include "base/json.h"
#include "proto/api/api.h"

/* Has the daemon import a file, or standard input ("-"). The request gets "path", or becomes the
 * query of an upload. ERROR_USAGE for a terminal. *image is the caller's. */
int import_file(ApiId id, const char *file, json_t *request, json_t **image, Error *error);

#endif
