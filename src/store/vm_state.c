/* SPDX-License-Identifier: Apache-2.0 */

#include "store/vm_state.h"

#include <errno.h>
#include <stddef.h>

#include "base/str.h"

#define BIT(state) (1u << STATE_##state)
#define ACTIVE \
    (BIT(STARTING) | BIT(RUNNING) | BIT(PAUSED) | BIT(STOPPING) | BIT(UNKNOWN) | BIT(WARM))
#define ENDED (BIT(STOPPED) | BIT(FAILED) | BIT(REMOVING))

/* Whoever asks a keeper again finds it in any active state, or its run over. */
static const struct {
    const char *name;
    unsigned next; /* bits of the states that may follow */
} states[] = {
    [STATE_CREATING] = {"creating", BIT(CREATED) | BIT(STARTING) | BIT(RUNNING) | BIT(WARM) |
                                        BIT(STOPPED) | BIT(FAILED) | BIT(REMOVING)},
    [STATE_REMOVING] = {"removing", BIT(FAILED)},
    [STATE_CREATED] = {"created", BIT(STARTING) | BIT(FAILED) | BIT(REMOVING)},
    [STATE_STARTING] = {"starting", ACTIVE | ENDED | BIT(STANDBY) | BIT(CREATED)},
    [STATE_RUNNING] = {"running", ACTIVE | ENDED | BIT(STANDBY)},
    [STATE_PAUSED] = {"paused", ACTIVE | ENDED | BIT(STANDBY)},
    [STATE_STOPPING] = {"stopping", ACTIVE | ENDED},
    [STATE_STANDBY] = {"standby", BIT(STARTING) | ENDED},
    [STATE_STOPPED] = {"stopped", BIT(STARTING) | BIT(FAILED) | BIT(REMOVING)},
    [STATE_FAILED] = {"failed", BIT(STARTING) | BIT(REMOVING)},
    [STATE_UNKNOWN] = {"unknown", ACTIVE | ENDED | BIT(STANDBY)},
    [STATE_WARM] = {"warm", ACTIVE | ENDED | BIT(CREATING)},
};

const char *vm_state_name(VmState state) {
    return states[state].name;
}

int vm_state_from_name(const char *name, VmState *state) {
    for (size_t i = 0; i < ARRAY_SIZE(states); i++)
        if (str_equal(states[i].name, name)) {
            *state = (VmState)i;
            return 0;
        }
    return -ENOENT;
}

bool vm_state_may_follow(VmState from, VmState to) {
    return from == to || states[from].next & (1u << to);
}

bool vm_state_is_active(VmState state) {
    return ACTIVE & (1u << state);
}

bool vm_state_is_hidden(VmState state) {
    return state == STATE_CREATING || state == STATE_REMOVING;
}

int vm_state_hint(VmState state, const char *name, Error *error) {
    const char *verb = "ps -a -f name=", *what = "wait until that is over";
    switch (state) {
    case STATE_CREATED:
    case STATE_STOPPED:
    case STATE_FAILED:
        verb = "start ", what = "start it";
        break;
    case STATE_STANDBY:
        verb = "resume ", what = "resume it";
        break;
    case STATE_PAUSED:
        verb = "unpause ", what = "unpause it";
        break;
    case STATE_RUNNING:
        verb = "stop ", what = "stop it";
        break;
    default:
        break;
    }
    error_set_hint(error, "%s: ramet %s%s", what, verb, name);
    return -EBUSY;
}
