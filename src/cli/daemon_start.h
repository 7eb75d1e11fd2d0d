/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_DAEMON_START_H
#define RAMET_CLI_DAEMON_START_H

#include "base/error.h"

/* Starts rametd for this home and connects to it. Of several callers at once one starts it and the
 * others find it; all succeed. The error carries the last lines of rametd.log when it does not come
 * up within 60 s. */
int daemon_start(const char *socket_path, int *fd, Error *error);

#endif
