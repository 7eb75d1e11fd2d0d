/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_NETWORK_BRIDGE_LINE_H
#define RAMET_NETWORK_BRIDGE_LINE_H

/* Lines on which frames of a bridge are late, or wait for their turn. What goes to a card waits in
 * the queue of its TAP device. What comes from it waits in that of an ifb device, which has
 * nothing but a queue: a filter on the TAP device's way in leads there and back. An ifb is one
 * card's, or all those cards' of a network that have none of their own.
 *
 * The TAP device's part ends with it. An ifb lives on when a daemon is killed, so the next one
 * looks for those that nobody needs (line_is_of_home). */

#include "network/bridge/link_message.h"
#include "network/bridge/taps.h"

/* What a card's ifb is called, and a network's. Who has the one has the other. */
void line_card_name(const Tap *tap, char name[IFNAMSIZ]);
void line_network_name(const BridgeNames *names, const char *network_id, char name[IFNAMSIZ]);

/* Is the device an ifb of this home? */
bool line_is_of_home(const BridgeNames *names, const Link *link);

/* The network's own line, for cards that share it: made, changed, or removed, which is for when no
 * card leads there any more. Negative errno. */
int line_set_network(const BridgeNames *names, const char *network_id, const ShapeLine *line);

/* The card's device gets the lines of its shape; negative errno. */
int line_set_card(const BridgeNames *names, const Tap *tap);

/* An ifb goes; one that is not there is fine. */
void line_remove(const char *name);

/* Can this host have such a line, both ways? It is tried on devices made for that. Negative errno;
 * ERROR_UNSUPPORTED tells what the kernel lacks. */
int line_probe(const BridgeNames *names, const ShapeLine *line, Error *error);

#endif
