/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_SWITCH_PORTS_PORT_H
#define RAMET_SWITCH_PORTS_PORT_H

/* Ports: the sockets to the guests' cards. Another end that is gone is no reason to end anything:
 * its frames are dropped, and the port waits to be given another socket. */

#include "switch/ports/switch.h"

/* Makes a port or changes the one with that id. fd: -1 keeps the socket that it has; otherwise it
 * is taken over on success. ERROR_CONFLICT when its MAC, an address or its name is another port's
 * or the gateway's; ERROR_USAGE for a lease that is none. */
int port_set(Switch *net, const SwitchPort *lease, int fd, ShaperHandler on_shaped, Error *error);

/* Forgets it, with what waits for it. */
void port_remove(Port *port);

/* Puts a frame into its queue, to be written at the end of the round; takes over the reference. */
void port_queue(Port *port, Buffer *buffer);

/* Writes what is queued, as far as sockets take it. */
void ports_flush(Switch *net);

/* The same for all ports, after a hold. */
void ports_resume(Switch *net);

/* Counts a frame that is not delivered, at whoever sent it. */
void count_drop(Switch *net, uint16_t source, SwitchDrop reason);

#endif
