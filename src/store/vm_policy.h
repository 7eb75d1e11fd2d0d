/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_STORE_VM_POLICY_H
#define RAMET_STORE_VM_POLICY_H

/* What happens to a VM by itself: what was asked for (part of its specification), and where it is
 * with that (part of its runtime). docs/lifecycle.md. */

#include "base/deadline.h"
#include "base/json.h"
#include "store/row_fields.h"

typedef enum RestartKind { RESTART_NO, RESTART_ON_FAILURE, RESTART_ALWAYS } RestartKind;

typedef struct VmPolicy {
    uint64_t ttl_usec;       /* 0: it lives on */
    RestartKind restart;     /* after its end, unless that was asked for */
    uint64_t restart_max;    /* of RESTART_ON_FAILURE; 0: no limit */
    uint64_t idle_usec;      /* 0: it never goes to standby by itself */
    uint64_t snapshot_usec;  /* between snapshots; 0: none are made */
    uint64_t snapshots_kept; /* so many of them */
} VmPolicy;

typedef struct VmTimers {
    Deadline expires;      /* the time to live is over then */
    Deadline restart;      /* it starts again then */
    uint64_t restarts;     /* since somebody started it */
    uint64_t restart_usec; /* how long the last restart was put off */
    Deadline snapshot;     /* the next one of its schedule */
    bool dozing;           /* in standby since it was idle: it wakes when it is wanted */
} VmTimers;

extern const RowField vm_policy_fields[6], vm_timers_fields[6];

/* "no", "always", "on-failure" or "on-failure:N", N at least 1. -EINVAL */
int restart_parse(const char *text, RestartKind *kind, uint64_t *max);

/* The same text, the caller's. */
char *restart_format(RestartKind kind, uint64_t max);

/* Nothing happens by itself. */
bool vm_policy_is_none(const VmPolicy *policy);

#endif
