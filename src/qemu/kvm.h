/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_QEMU_KVM_H
#define RAMET_QEMU_KVM_H

#include "base/error.h"

typedef enum AccelOutcome {
    ACCEL_OUTCOME_WORKS,
    ACCEL_OUTCOME_NO_DEVICE,     /* no /dev/kvm */
    ACCEL_OUTCOME_NO_PERMISSION, /* it is there, but not for us */
    ACCEL_OUTCOME_BROKEN,        /* it opens, but an ioctl fails */
    ACCEL_OUTCOME_INTERPRETED,   /* it runs guest code far too slowly */
    ACCEL_OUTCOME_HUNG,          /* no answer within the bound */
    ACCEL_OUTCOME_COUNT,
} AccelOutcome;

typedef struct AccelProbe {
    AccelOutcome outcome;
    int errnum;             /* of what failed, for NO_DEVICE, NO_PERMISSION and BROKEN */
    char step[32];          /* what failed: "KVM_CREATE_VM" */
    uint64_t turns;         /* turns of the loop that were done */
    uint64_t guest_usec;    /* in so much processor time */
    uint64_t duration_usec; /* of the whole probe */
} AccelProbe;

#define ACCEL_LOOP_TURNS 1000000u
#define ACCEL_LOOP_BUDGET_USEC ((uint64_t)80000)

/* The probe itself, in this thread; it may hang. Give device NULL for /dev/kvm. For use in a
 * process of its own only: it sets a timer and a handler for SIGALRM. */
void accel_probe_run(const char *device, AccelProbe *probe);

#endif
