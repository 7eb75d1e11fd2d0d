/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_IDENTITY_NETWORK6_H
#define RAMET_AGENT_IDENTITY_NETWORK6_H

#include "agent/identity/network_settings.h"

/* The card speaks no IPv6. Without this, each clone solicits routers and probes for its own address
 * for some seconds once its link is up, which is a fifth of all that an idle one ever does. */
void network6_leave_out(const char *card);

/* What another agent set on the card. */
void network6_learn(const char *card, Network *network);

/* Before a snapshot: has at hand what network6_apply will need for card `index`. */
void network6_prepare(size_t index, const char *card);

/* Changes the card's address and route from what `was` has to what `now` has; nothing else is ever
 * on it: no address of its own making, no probing for it. A kernel without IPv6 stays without. */
int network6_apply(size_t index, const char *card, const Network *was, const Network *now,
                   Result *result);

#endif
