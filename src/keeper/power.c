/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "keeper/keeper.h"

/* Stop is asked of the agent; when the guest has not ended in time, or no agent listens, QEMU is
 * killed. There is no power button to press: microvm has none. Requests that wait for the end are
 * answered by end.c. */

#define QMP_TIMEOUT_USEC (30 * USEC_PER_SEC)

static int check_state(const Keeper *keeper, Error *error) {
    if (keeper->state == KEEPER_RUNNING || keeper->state == KEEPER_PAUSED)
        return 0;
    return error_set(error, ERROR_CONFLICT, 0, "the VM is %s", keeper_state_name(keeper));
}

static void tell_state(Keeper *keeper, KeeperState state) {
    keeper->state = state;
    request_tell_watchers(
        keeper, json_pack("{s:s, s:s}", "event", "state", "state", keeper_state_name(keeper)));
}

static int command(Keeper *keeper, const char *name, Error *error) {
    int r = qmp_call(keeper->machine.qmp, name, NULL, clock_monotonic_usec() + QMP_TIMEOUT_USEC,
                     NULL, error);
    machine_take_events(keeper);
    return r;
}

int power_pause(Keeper *keeper, Error *error) {
    int r = check_state(keeper, error);
    if (r < 0 || keeper->state == KEEPER_PAUSED)
        return r;
    keeper->state = KEEPER_PAUSED; /* before its STOP event comes */
    r = command(keeper, "stop", error);
    tell_state(keeper, r == 0 ? KEEPER_PAUSED : KEEPER_RUNNING);
    return r;
}

static void on_thawed(void *data, const Frame *frame) {
}

static void thaw(Keeper *keeper) {
    LinkStream *stream;
    keeper->machine.held = false;
    (void)link_open(&keeper->link, FRAME_THAW, NULL, 0, on_thawed, keeper, &stream);
    port_flush(keeper);
}

int power_resume(Keeper *keeper, Error *error) {
    int r = check_state(keeper, error);
    if (r < 0 || keeper->state == KEEPER_RUNNING)
        return r;
    r = command(keeper, "cont", error);
    if (r == 0 && keeper->machine.held)
        thaw(keeper);
    if (r == 0)
        tell_state(keeper, KEEPER_RUNNING);
    return r;
}

static void on_stop_timeout(void *data) {
    machine_kill(data, "killed");
}

/* DONE says only that the agent has begun; the link's loss is no news either. */
static void on_power_off(void *data, const Frame *frame) {
}

static int ask_agent(Keeper *keeper) {
    LinkStream *stream;
    if (keeper->state == KEEPER_PAUSED && power_resume(keeper, NULL) < 0)
        return -EIO;
    int r = link_open(&keeper->link, FRAME_POWER_OFF, NULL, 0, on_power_off, keeper, &stream);
    port_flush(keeper);
    return r;
}

int power_stop(Keeper *keeper, uint64_t timeout_usec, Error *error) {
    if (keeper->state == KEEPER_WAITING || keeper->state == KEEPER_ENDED)
        return error_set(error, ERROR_CONFLICT, 0, "the VM is %s", keeper_state_name(keeper));
    uint64_t when = clock_monotonic_usec() + MIN_OF(timeout_usec, UINT64_MAX / 2);
    if (keeper->state == KEEPER_STOPPING) {
        loop_set_timer(keeper->stop_timer, when); /* the latest word counts */
        return 0;
    }
    bool up = keeper->state == KEEPER_RUNNING || keeper->state == KEEPER_PAUSED;
    bool asked = up && ask_agent(keeper) == 0;
    keeper->stop_timer = loop_add_timer(keeper->loop, when, on_stop_timeout, keeper);
    if (keeper->state != KEEPER_STARTING)
        tell_state(keeper, KEEPER_STOPPING);
    if (!asked)
        machine_kill(keeper, "killed");
    return 0;
}
