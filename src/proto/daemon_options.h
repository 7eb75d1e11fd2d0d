/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_PROTO_DAEMON_OPTIONS_H
#define RAMET_PROTO_DAEMON_OPTIONS_H

/* What rametd takes on its command line and from its environment: rametd parses and shows its
 * options by this table, and the manual page rametd(8) is made of it. */

#include <stddef.h>

typedef struct DaemonWord {
    const char *name;
    const char *value; /* "FOLDER"; NULL: takes none (an option), or of no interest (a variable) */
    const char *help;
} DaemonWord;

typedef enum DaemonOption {
    DAEMON_HOME,
    DAEMON_SOCKET,
    DAEMON_READY_FD,
    DAEMON_VERSION,
    DAEMON_HELP,
    DAEMON_OPTION_COUNT,
} DaemonOption;

/* In the order of DaemonOption. */
extern const DaemonWord daemon_options[DAEMON_OPTION_COUNT];

/* Ends with a NULL name. */
extern const DaemonWord daemon_variables[];

#endif
