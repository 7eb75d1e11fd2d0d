/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_EACH_H
#define RAMET_CLI_EACH_H

#include "cli/args.h"

/* One operand's work: fills *answer (may stay NULL) or the error. */
typedef int (*EachHandler)(const Args *args, const char *operand, json_t **answer, Error *error);

/* Does it for every operand, and goes on after an error: all are told, and the first one decides
 * the exit status. Prints each operand that went well on a line of its own (quiet: nothing); with
 * --json one answer for one operand, a list for several; {"name":OPERAND} where there is none. */
int each_operand(const Args *args, EachHandler handler, bool quiet, Error *error);

/* An EachHandler's body: one POST with `body` (given up to it; may be NULL) to a VM. */
int each_post(int api_id, const char *vm, json_t *body, json_t **answer, Error *error);

#endif
