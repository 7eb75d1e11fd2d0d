/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_TEND_STEPS_H
#define RAMET_TEND_STEPS_H

#include "base/error.h"
#include "home/home.h"

typedef enum TendWish {
    TEND_POLICY, /* what is due (home/policy.h) */
    TEND_DOZE,   /* standby, since it was idle */
    TEND_WAKE,   /* out of that */
} TendWish;

/* Takes the VM's lock and does that, unless there is nothing to be done by then: success. */
int tend_step(Home *home, const char *id, TendWish wish, Error *error);

#endif
