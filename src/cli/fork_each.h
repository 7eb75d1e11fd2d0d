/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_FORK_EACH_H
#define RAMET_CLI_FORK_EACH_H

/* A command in each of several clones at the same time. */

#include "cli/args.h"

/* Runs args->command in each of `vms`, with those options of args that exec has, too: one
 * `ramet exec` for each. Their lines come here with the clone's name before them, or with --json
 * one document for all. With --interactive each of them reads a copy of our input, as fast as the
 * slowest takes it. Returns the first exit status that is not 0, or a negative errno.
 *
 * *summary (the caller owns it) says which failed, "3 of 4 ok; ci-3 exited 3", where `errors` are
 * the clones that did not get ready; NULL when none failed. */
int fork_each_run(const Args *args, const json_t *vms, const json_t *errors, char **summary,
                  Error *error);

#endif
