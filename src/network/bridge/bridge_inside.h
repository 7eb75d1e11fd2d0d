/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_NETWORK_BRIDGE_BRIDGE_INSIDE_H
#define RAMET_NETWORK_BRIDGE_BRIDGE_INSIDE_H

/* What the files of this room have in common. */

#include <pthread.h>
#include <stdatomic.h>

#include "home/inside.h"
#include "network/bridge/nft.h"
#include "network/bridge/taps.h"

typedef struct Bridges {
    BridgeNames names;
    pthread_mutex_t mutex; /* guards what follows */
    Nft *nft;              /* owned; NULL: nothing was told to nftables yet */
    Taps taps;
    struct BridgeWatch *watch; /* owned; NULL: none */
    void (*changed)(Home *home);
    atomic_bool fresh; /* what an earlier daemon did last is not known */
    atomic_int news;   /* of what went, that nobody has looked at yet */
} Bridges;

#endif
