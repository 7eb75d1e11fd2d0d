/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_NETWORK_LOW_PORT_H
#define RAMET_NETWORK_LOW_PORT_H

/* Ports of the host that only root may have: a daemon of root's binds them for the switch, which
 * is never root. */

#include "proto/switch.h"

/* The bound socket for the forward, which listens if it is TCP's; the caller's. -1 where the switch
 * can do it itself, and where it cannot be had: the switch then says why, or has it already. */
int low_port_open(const SwitchForward *forward);

#endif
