/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_SWITCH_NETWORK_H
#define RAMET_SWITCH_NETWORK_H

/* The switch as a whole: made, and taken apart. */

#include "switch/ports/switch.h"

/* Initialises *net, which must stay where it is. resolv_conf: the content of that file, or NULL. */
int network_init(Switch *net, Loop *loop, const char *resolv_conf, Error *error);
void network_free(Switch *net);

/* Removes a port with what it has outside, but not the forwards to it. */
void network_remove_port(Port *port);

#endif
