/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_STAGES_VIEW_H
#define RAMET_CLI_STAGES_VIEW_H

/* The stages of a start as a table with bars, and as a trace. */

#include <stdio.h>

#include "base/json.h"

/* A table with one bar for each stage where its time lies in the whole. title may be NULL. */
int stages_print(FILE *stream, const char *title, const json_t *stages, Error *error);

/* {"traceEvents":[…],"displayTimeUnit":"ms"} in the JSON format of the Chrome trace viewer ("Trace
 * Event Format", complete and metadata events), which Perfetto opens. The caller owns it. */
int stages_to_trace(const char *vm, const json_t *stages, json_t **trace, Error *error);

#endif
