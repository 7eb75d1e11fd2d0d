/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_PROVE_VIEW_H
#define RAMET_CLI_PROVE_VIEW_H

/* What verbs that prove something have in common. */

#include "cli/args.h"
#include "proto/api/http_client.h"

/* One of src/prove. */
typedef int (*ProveCall)(const char *socket, const char *reference, unsigned count,
                         HttpLineHandler on_event, void *data, json_t **report, Error *error);

/* Calls it with the first operand and --count, and shows its progress. A daemon that was not
 * running is started. */
int prove_run(const Args *args, unsigned count, ProveCall call, json_t **report, Error *error);

/* The checks of a report, as a table. */
int prove_print_checks(const json_t *report, Error *error);

#endif
