/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_LOGS_VIEW_H
#define RAMET_CLI_LOGS_VIEW_H

/* The console logs of VMs as `logs` and `lab logs` show them. */

#include "cli/args.h"

#define LOGS_OPTIONS                                                               \
    {'f', "follow", ARG_FLAG, .help = "go on with what comes until the VM ends"},  \
        {'n',                                                                      \
         "tail",                                                                   \
         ARG_NUMBER,                                                               \
         .help = "only the last N lines",                                          \
         .max = UINT32_MAX,                                                        \
         .aliases = "lines"},                                                      \
    {                                                                              \
        0, "since", ARG_TIME,                                                      \
            .help = "only lines from that time on: 10m ago (also 1h30m, 90s), or " \
                    "2026-11-20T17:33:17Z"                                         \
    }

/* Prints the logs of the VMs that are the operands; of several, or of a lab's, each line begins
 * with the VM's name. Returns the exit status, or a negative errno. */
int logs_show(const Args *args, bool of_lab, Error *error);

/* An EachHandler: {"name","log"}. */
int logs_document(const Args *args, const char *vm, json_t **answer, Error *error);

#endif
