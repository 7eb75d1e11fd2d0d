/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/tasks/power.h"

#include <errno.h>

#include "base/log.h"
#include "keeper/tasks/room.h"
#include "proto/agent.h"
#include "proto/tlv.h"

#define SILENT_STOP_USEC (3 * USEC_PER_SEC)
#define ANSWER_USEC (5 * USEC_PER_SEC) /* in which an agent that lives says that it has begun */
#define REST_USEC (10 * USEC_PER_SEC)  /* for all that is not the program */
#define SYNC_USEC (30 * USEC_PER_SEC)

int power_pause(Vm *vm, Error *error) {
    int r = vm_require_up(vm, error);
    room_await_no_more(vm);
    if (r < 0 || vm->state == VM_PAUSED)
        return r;
    vm->state = VM_PAUSED; /* before its STOP event comes */
    r = machine_call(&vm->machine, "stop", NULL, NULL, error);
    vm_change_state(vm, r == 0 ? VM_PAUSED : VM_RUNNING);
    return r;
}

int power_resume(Vm *vm, Error *error) {
    int r = vm_require_up(vm, error);
    if (r < 0 || vm->state == VM_RUNNING)
        return r;
    r = machine_call(&vm->machine, "cont", NULL, NULL, error);
    if (r == 0)
        vm_tell_time(vm);
    if (r == 0 && vm->left_frozen) {
        vm->left_frozen = false;
        (void)agent_channel_thaw(&vm->channel);
    }
    if (r == 0)
        vm_change_state(vm, VM_RUNNING);
    return r;
}

static void on_stop_timeout(void *data) {
    Vm *vm = data;
    machine_kill(&vm->machine, "killed");
}

/* RESULT says only that the agent has begun, which is enough; the link's loss is no news. */
static void on_power_off(void *data, const Frame *frame) {
    Vm *vm = data;
    if (frame && frame->type == FRAME_RESULT)
        vm->button_timer = loop_remove(vm->button_timer);
}

/* The signal is for the VM's program, which gets most of the time to end. */
static int ask_agent(Vm *vm, uint64_t timeout_usec, uint64_t signal) {
    uint64_t rest = MIN_OF(timeout_usec / 2, REST_USEC);
    LinkStream *stream;
    uint8_t payload[64];
    TlvWriter writer;
    tlv_start(&writer, payload, sizeof(payload));
    if (signal > 0) {
        tlv_add_u64(&writer, TAG_SIGNAL, signal);
        tlv_add_u64(&writer, TAG_LIMIT_USEC, timeout_usec - rest);
    }
    if (vm->state == VM_PAUSED && power_resume(vm, NULL) < 0)
        return -EIO;
    return link_open(&vm->channel.link, FRAME_POWER_OFF, payload, writer.size, on_power_off, vm,
                     &stream);
}

/* A PC has one, and most systems heed it. */
static int press_button(Vm *vm) {
    if (!vm->plan.firmware || (vm->state == VM_PAUSED && power_resume(vm, NULL) < 0))
        return -ENOTSUP;
    return machine_call(&vm->machine, "system_powerdown", NULL, NULL, NULL);
}

static void on_no_answer(void *data) {
    Vm *vm = data;
    vm->button_timer = loop_remove(vm->button_timer);
    if (vm->state != VM_STOPPING)
        return;
    log_info("the agent does not answer, so the power button is pressed");
    (void)press_button(vm);
}

/* An agent that is known to be silent is asked all the same: it may come back. One that died only
 * now does not say that it has begun; the button is pressed then. */
static bool ask_to_stop(Vm *vm, uint64_t timeout_usec, uint64_t signal) {
    if (vm->state != VM_RUNNING && vm->state != VM_PAUSED)
        return false;
    if (!vm->plan.firmware)
        return ask_agent(vm, timeout_usec, signal) == 0;
    bool pressed = vm->pulse.silent && press_button(vm) == 0;
    if (ask_agent(vm, timeout_usec, signal) < 0)
        return pressed || press_button(vm) == 0;
    if (!pressed)
        vm->button_timer =
            loop_add_timer(vm->loop, clock_monotonic_usec() + ANSWER_USEC, on_no_answer, vm);
    return true;
}

int power_stop(Vm *vm, uint64_t timeout_usec, uint64_t signal, Error *error) {
    if (vm->state == VM_WAITING || vm->state == VM_ENDED)
        return error_set(error, ERROR_CONFLICT, 0, "the VM is %s", keeper_state_name(vm));
    if (vm->pulse.silent && !vm->plan.firmware) /* it has been waited for already */
        timeout_usec = MIN_OF(timeout_usec, SILENT_STOP_USEC);
    uint64_t when = clock_monotonic_usec() + MIN_OF(timeout_usec, UINT64_MAX / 2);
    if (vm->state == VM_STOPPING) {
        loop_set_timer(vm->stop_timer, when);
        return 0;
    }
    bool asked = ask_to_stop(vm, timeout_usec, signal);
    vm->stop_timer = loop_add_timer(vm->loop, when, on_stop_timeout, vm);
    if (vm->state != VM_STARTING)
        vm_change_state(vm, VM_STOPPING);
    if (!asked)
        machine_kill(&vm->machine, "killed");
    return 0;
}

int power_kill(Vm *vm, Error *error) {
    if (vm->machine.pid.fd < 0)
        return error_set(error, ERROR_CONFLICT, 0, "the VM is %s", keeper_state_name(vm));
    machine_kill(&vm->machine, "killed");
    return 0;
}

static void kill_abandoned(void *data) {
    Vm *vm = data;
    machine_kill(&vm->machine, vm->abandoned);
}

static void on_frozen(void *data, const Frame *frame) {
    kill_abandoned(data);
}

/* Freezing leaves nothing in the journal, which who only reads the disk could not play back. */
static void on_synced(void *data, const Frame *frame) {
    Vm *vm = data;
    LinkStream *stream;
    if (link_open(&vm->channel.link, FRAME_FREEZE, NULL, 0, on_frozen, vm, &stream) < 0)
        kill_abandoned(vm);
}

static bool has_disk_that_outlives(const Plan *plan) {
    for (size_t i = 0; i < plan->n_disks; i++)
        if (plan->disks[i].outlives)
            return true;
    return false;
}

void power_abandon(Vm *vm, const char *cause) {
    LinkStream *stream;
    if (vm->abandoned)
        return;
    vm->abandoned = cause;
    if (vm->state != VM_RUNNING || vm->pulse.silent || !has_disk_that_outlives(&vm->plan) ||
        link_open(&vm->channel.link, FRAME_SYNC, NULL, 0, on_synced, vm, &stream) < 0) {
        kill_abandoned(vm);
        return;
    }
    vm->stop_timer =
        loop_add_timer(vm->loop, clock_monotonic_usec() + SYNC_USEC, kill_abandoned, vm);
    vm_change_state(vm, VM_STOPPING);
}
