/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_STORE_VM_STATE_H
#define RAMET_STORE_VM_STATE_H

/* The states of a VM, and which may follow which. */

#include <stdbool.h>

#include "base/error.h"

typedef enum VmState {
    STATE_CREATING, /* half made or half removed: never shown, and removed by */
    STATE_REMOVING, /* reconcile */
    STATE_CREATED,
    STATE_STARTING,
    STATE_RUNNING,
    STATE_PAUSED,
    STATE_STOPPING,
    STATE_STANDBY, /* its memory is a snapshot of its own; no process */
    STATE_STOPPED,
    STATE_FAILED,
    STATE_UNKNOWN,
    STATE_WARM, /* a pool's: paused, nobody yet, never shown */
} VmState;

/* "running". Static. */
const char *vm_state_name(VmState state);

/* -ENOENT: it is no state's name. */
int vm_state_from_name(const char *name, VmState *state);

/* A state may always follow itself. */
bool vm_state_may_follow(VmState from, VmState to);

/* starting, running, paused, stopping, unknown, warm: there may be processes. */
bool vm_state_is_active(VmState state);

/* creating, removing: nobody but the one who does it sees such a VM. */
bool vm_state_is_hidden(VmState state);

/* The hint of an error that this state is the reason for: what takes the VM out of it. Returns
 * -EBUSY, so that it can end a function. */
int vm_state_hint(VmState state, const char *name, Error *error);

#endif
