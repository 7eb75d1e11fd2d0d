/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_SWITCH_OUTSIDE_UPLINK_FILTER_H
#define RAMET_SWITCH_OUTSIDE_UPLINK_FILTER_H

/* Which of the guests' frames may reach the uplink. */

#include "switch/frame/flows.h"
#include "switch/ports/switch.h"

/* flows: what came from there; NULL: there is no uplink. DROP_NONE, or why not. */
int uplink_filter(const Port *port, const Flows *flows, const Packet *packet);

/* Would it begin a conversation, as far as can be seen? */
bool uplink_filter_begins(const Flows *flows, const Packet *packet);

#endif
