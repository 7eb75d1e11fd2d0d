/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_SPEC_H
#define RAMET_CLI_SPEC_H

/* The options that `run` and `create` share, and the specification made of them. */

#include "cli/args.h"

#define SPEC_OPTIONS                                                                        \
    {0, "name", ARG_NAME, .help = "name of the VM; one is made up when absent"},            \
        {'m', "memory", ARG_SIZE, .help = "memory of the VM"},                              \
        {'c', "cpus", ARG_NUMBER, .help = "virtual CPUs", .min = 1, .max = 255},            \
        {0, "disk", ARG_SIZE,                                                               \
         .help = "size of the disk, at least the image's; the file system "                 \
                 "grows with it"},                                                          \
        {0, "network", ARG_CHOICE, .choices = "user|none",                                  \
         .help = "user-mode network (default), or none"},                                   \
        {'p', "publish", ARG_FORWARD, .many = true,                                         \
         .help = "lead a port of this host to the VM; IP is 127.0.0.1 when absent"},        \
    {                                                                                       \
        'e', "env", ARG_ENV,                                                                \
            .many = true,                                                                   \
            .help = "variable for the commands in the VM; K alone takes the caller's value" \
    }

/* The request for args; the caller owns it. */
json_t *spec_from_args(const Args *args, bool start);

#endif
