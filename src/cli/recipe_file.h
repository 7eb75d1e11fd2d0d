/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_RECIPE_FILE_H
#define RAMET_CLI_RECIPE_FILE_H

/* A recipe for an image, in YAML, as the API takes it (docs/recipes.md):
 *
 *   base: IMAGE
 *   memory, cpus, disk, network, env, timeout
 *   steps: [{packages: [..]} or {copy: FROM, to: PATH} or {run: LINE}; each with network, timeout]
 *   user, directory, entrypoint, command, ports
 *   snapshot-after: LINE, snapshot-timeout
 *
 * What can be checked without the daemon is checked here, where the line is known. */

#include "base/error.h"
#include "base/json.h"

/* name: of the file, for messages, which is the request's "file", too. *recipe becomes the request,
 * the caller's; a step that copies has "from", a path as the file has it. ERROR_USAGE
 * "NAME:LINE: …". */
int recipe_file_parse(const char *name, const char *text, size_t size, json_t **recipe,
                      Error *error);

#endif
