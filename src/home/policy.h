/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_HOME_POLICY_H
#define RAMET_HOME_POLICY_H

/* When a VM ends, starts again and so on by itself. These change the row alone; the caller writes
 * it. src/tend does what is due. docs/lifecycle.md tells what the rules are for. */

#include "base/deadline.h"
#include "base/error.h"
#include "base/json.h"
#include "store/vms.h"

#define POLICY_USEC_MAX (UINT64_C(3650) * 24 * 3600 * 1000000)

/* Takes "ttl_ms", "restart", "idle_standby_ms", "snapshot_every_ms" and "snapshot_keep" of what a
 * client sent; what is absent stays as it
 * is, 0 and "no" end it. ERROR_USAGE */
int vm_policy_parse(const json_t *json, VmPolicy *policy, Error *error);

/* Somebody starts it: time to live and restarts count from here. */
void policy_begin(VmRow *row);

/* Its state becomes `to`. */
void policy_note_state(VmRow *row, VmState to, const Now *now);

/* How a run ended. */
typedef enum PolicyEnd {
    END_ASKED,    /* somebody stopped it */
    END_POWEROFF, /* the guest did */
    END_FAILURE,  /* anything else */
} PolicyEnd;

/* A run ended that had gone on for so long. Plans the next one where the policy says so: true. */
bool policy_note_end(VmRow *row, PolicyEnd end, uint64_t ran_usec, const Now *now);

/* A start by the policy failed: plans another one, unless there were enough. */
bool policy_retry(VmRow *row, const Now *now);

/* What is to be done now with a VM of the table of those that are tended. */
typedef enum PolicyStep {
    STEP_NONE,
    STEP_REBASE, /* deadlines of an earlier boot become ones of this: policy_rebase */
    STEP_EXPIRE,
    STEP_RESTART,
    STEP_SNAPSHOT,
} PolicyStep;

/* Of one that is not hidden. *left_usec: until there may be another step; UINT64_MAX: never. */
PolicyStep policy_next(const VmRow *row, const Now *now, uint64_t *left_usec);
void policy_rebase(VmRow *row, const Now *now);

/* {"ttl_ms","expires_at","restart","restarts","restart_at","idle_standby_ms","idle",
 * "snapshot_every_ms","snapshot_keep","snapshot_at"}, the caller's. */
json_t *policy_describe(const VmRow *row, const Now *now);

#endif
