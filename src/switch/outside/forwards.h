/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_SWITCH_OUTSIDE_FORWARDS_H
#define RAMET_SWITCH_OUTSIDE_FORWARDS_H

/* Ports of the host that lead to ports of guests. libslirp listens; what is asked for is remembered
 * here. */

#include "switch/ports/switch.h"

/* Listens; socket_fd: where that is to be done (borrowed); -1: by a new socket. The same again is
 * no change. ERROR_CONFLICT when the host's port is another's, here or on the host; ERROR_NOT_FOUND
 * for an unknown port of the network. */
int forward_add(Switch *net, const SwitchForward *forward, int socket_fd, Error *error);

/* Where it listens counts. ERROR_NOT_FOUND. Connections that are there go on. */
int forward_remove(Switch *net, const SwitchForward *forward, Error *error);

/* All that lead to a port. */
void forwards_remove_to(Switch *net, const char *id);

/* The same ones anew, since the port has another address. */
int forwards_renew_to(Switch *net, const char *id, Error *error);

#endif
