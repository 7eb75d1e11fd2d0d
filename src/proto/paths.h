/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_PROTO_PATHS_H
#define RAMET_PROTO_PATHS_H

/* Where a client and its daemon meet: both follow these rules, so that each finds the other. */

#include "base/error.h"

/* The folder that everything is kept in, absolute: $RAMET_HOME; else /var/lib/ramet for root; else
 * $XDG_DATA_HOME/ramet, ~/.local/share/ramet. It need not exist. The caller owns it. ERROR_USAGE
 * when there is nothing to go by. */
int paths_home(char **home, Error *error);

/* The API's socket, absolute: $RAMET_SOCKET; else $RAMET_HOME/ramet.sock when RAMET_HOME is set;
 * else /run/ramet/ramet.sock for root; else $XDG_RUNTIME_DIR/ramet/ramet.sock; else ramet.sock in
 * the home. The caller owns it. */
int paths_socket(char **path, Error *error);

#endif
