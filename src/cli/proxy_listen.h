/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_PROXY_LISTEN_H
#define RAMET_CLI_PROXY_LISTEN_H

/* `ramet proxy --listen`: a listener here, and for each connection a `ramet proxy` of its own,
 * whose standard input and output the connection is. They end with the listener. */

#include "base/error.h"

/* A port, or IP:PORT (IPv4). ERROR_USAGE. address may be NULL. */
struct sockaddr_in;
int proxy_listen_parse(const char *text, struct sockaddr_in *address, Error *error);

/* Prints where it listens, and serves until it is ended by a signal. wait_s: a number, as --wait
 * has it. */
int proxy_listen(const char *where, const char *vm, const char *port, const char *wait_s,
                 Error *error);

#endif
