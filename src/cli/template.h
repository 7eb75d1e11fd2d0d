/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_TEMPLATE_H
#define RAMET_CLI_TEMPLATE_H

/* What --format prints of a thing: text with fields in it, as docker's templates have them.
 *
 *     {{.Name}} {{.Disk.Path}}   a member; letters' case and '_' do not matter (.MemoryBytes)
 *     {name} {disk.path}         the same, shorter
 *     {{json .}} {{json .Disk}}  as JSON
 *     \t \n                      tab and newline
 *     json                       alone: the whole as one line of JSON */

#include "base/json.h"
#include "base/str.h"

/* Adds the line, without a newline, for `thing`. A member that is null is empty; a list or an
 * object is shown as JSON. ERROR_USAGE for a field that `thing` lacks, or braces that do not end.
 */
int template_apply(const char *template, const json_t *thing, StrBuf *line, Error *error);

#endif
