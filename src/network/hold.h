/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_NETWORK_HOLD_H
#define RAMET_NETWORK_HOLD_H

/* Networks that pass no frames for a moment, while VMs in them are frozen or come out of a
 * snapshot. What is sent meanwhile is kept, and delivered when that ends (SWITCH_HOLD). */

#include "base/str.h"
#include "home/home.h"
#include "store/vms.h"

typedef struct NetworkHolds {
    Home *home;    /* borrowed */
    StrList names; /* owned: of those that hold; NULL: none */
} NetworkHolds;

/* Has all networks with a name that cards of these VMs are in hold all frames. The VMs need not be
 * plugged in yet: a network that has no switch gets one. On failure none holds. */
int network_holds_begin(Home *home, const VmRow *vms, size_t count, NetworkHolds *holds,
                        Error *error);

/* Lets all of it go to whom it was sent, and forgets the networks. A switch that ended meanwhile
 * has nothing left to let go. */
void network_holds_end(NetworkHolds *holds);

/* At the daemon's start: has all switches let go of what the one before it had them hold. Nobody
 * waits for it. */
void network_holds_recover(Home *home);

#endif
