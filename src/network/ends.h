/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_NETWORK_ENDS_H
#define RAMET_NETWORK_ENDS_H

/* The switches' ends of a VM's cards, which its keeper keeps. */

#include "home/home.h"
#include "store/vms.h"

typedef struct Ends {
    int fds[PLAN_CARDS_MAX]; /* owned, by card; -1: none */
} Ends;

#define ENDS_INIT                 \
    {                             \
        .fds = { -1, -1, -1, -1 } \
    }
#define _cleanup_ends_ _cleanup_(ends_close)
void ends_close(Ends *ends);

/* Asks the keeper for duplicates of them. */
int ends_ask(Home *home, const VmRow *vm, Ends *ends, Error *error);

#endif
