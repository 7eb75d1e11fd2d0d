/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_SWITCH_PORTS_ANNOUNCE_H
#define RAMET_SWITCH_PORTS_ANNOUNCE_H

/* Gratuitous ARP and unsolicited neighbor advertisements, on behalf of a port whose address another
 * MAC had before. The switch knows that, and when; a guest would have to send them itself, and wake
 * all others each time that there is nothing to correct. */

#include "switch/ports/switch.h"

/* Remembers what a lease had, when it ends or changes. */
void announce_note(Switch *net, const SwitchPort *lease);

/* Tells all others where the port's addresses are now, if they may remember something else. */
void announce(Switch *net, const Port *port);

#endif
