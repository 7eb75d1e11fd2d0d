/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_SWITCH_CONTROL_H
#define RAMET_SWITCH_CONTROL_H

/* The control socket: connections, each a request and its answer after the other. */

#include "switch/ports/switch.h"

#define CONTROL_CONNECTIONS 16

typedef struct Control Control;

/* Listens on a socket (taken over on success). Only its own user and root may connect. */
int control_new(Switch *net, int listen_fd, Control **control, Error *error);
void control_free(Control *control);

#endif
