/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/keeper.h"

#include "base/fd.h"
#include "base/log.h"
#include "keeper/tasks/adopt.h"
#include "keeper/tasks/end.h"
#include "keeper/tasks/room.h"
#include "keeper/tasks/snapshot.h"
#include "keeper/tasks/start.h"

#define IDLE_TIMEOUT_USEC (30 * USEC_PER_SEC)
#define LINGER_USEC (10 * USEC_PER_SEC)

/* What the rooms report */

static void on_console_output(void *data) {
    Keeper *keeper = data;
    start_heard(&keeper->vm);
}

static void on_cpus_stopped(void *data) {
    Keeper *keeper = data;
    Vm *vm = &keeper->vm;
    bool asked_for = vm->state == VM_WARM || (vm->state == VM_PAUSED && !snapshot_needs_guest(vm));
    if (asked_for || !machine_lacks_room(&vm->machine))
        return;
    if (vm->state == VM_STARTING) {
        start_lacks_room(vm);
        return;
    }
    if (vm->state != VM_PAUSED)
        room_await(vm);
    snapshot_lacks_room(vm);
}

static bool is_running(void *data) {
    const Keeper *keeper = data;
    return keeper->vm.state == VM_RUNNING && !keeper->vm.snapshot;
}

static void on_pulse_changed(void *data, bool silent) {
    Keeper *keeper = data;
    _cleanup_error_ Error error = ERROR_INIT;
    vm_tell(&keeper->vm, json_pack("{s:s, s:b}", "event", "pulse", "responsive", !silent));
    if (pulse_require(&keeper->vm.pulse, &error) < 0)
        api_fail_waiting(&keeper->api, &error);
}

static void on_clock_jump(void *data) {
    Keeper *keeper = data;
    keeper->clock_jumped = true;
}

/* One that is paused is told when it goes on. */
static void tell_time(Keeper *keeper) {
    if (!keeper->clock_jumped || !is_running(keeper))
        return;
    keeper->clock_jumped = false;
    log_info("the host's clock was set, or the host slept: telling the guest what time it is");
    vm_tell_time(&keeper->vm);
}

static void on_event(void *data, const json_t *event) {
    Keeper *keeper = data;
    connections_tell(&keeper->api.connections, event);
}

/* The end */

static void on_time_over(void *data) {
    Keeper *keeper = data;
    loop_quit(keeper->loop);
}

/* A keeper without a start is of no use: its daemon died between spawning it and asking. */
static void on_idle(void *data) {
    Keeper *keeper = data;
    if (keeper->vm.state == VM_WAITING) {
        log_warning("no start was asked for");
        loop_quit(keeper->loop);
    }
}

/* Clients get their last bytes for a bounded while. */
static void end(Keeper *keeper) {
    _cleanup_json_ json_t *exit = end_run(&keeper->vm);
    _cleanup_error_ Error error = ERROR_INIT;
    (void)error_set(&error, ERROR_FAILED, 0, "the VM has ended: %s",
                    json_string_value(json_object_get(exit, "cause")));
    sessions_end_all(&keeper->api.sessions, &error);
    agent_channel_close(&keeper->vm.channel);
    api_tell_end(&keeper->api, exit);
    (void)loop_add_timer(keeper->loop, clock_monotonic_usec() + LINGER_USEC, on_time_over, keeper);
}

/* What any handler may have made due. Sessions that go on, and those that are freed, have more to
 * say to the agent. */
static void after_round(void *data) {
    Keeper *keeper = data;
    if (end_is_due(&keeper->vm))
        end(keeper);
    tell_time(keeper);
    if (agent_channel_flush(&keeper->vm.channel) > 0)
        sessions_go_on(&keeper->api.sessions);
    sessions_finish(&keeper->api.sessions);
    (void)agent_channel_flush(&keeper->vm.channel);
    if (keeper->vm.state == VM_ENDED && !keeper->api.sessions.list)
        loop_quit(keeper->loop);
}

/* The keeper */

static int init_vm(Vm *vm, Keeper *keeper, const QemuChild *child) {
    static const MachineHandlers machine_handlers = {.console_output = on_console_output,
                                                     .cpus_stopped = on_cpus_stopped};
    static const PulseHandlers pulse_handlers = {.is_running = is_running,
                                                 .changed = on_pulse_changed};
    *vm = (Vm){.loop = keeper->loop,
               .tell = on_event,
               .data = keeper,
               .boot = "cold",
               .vm_dir_fd = -1,
               .memory_fd = -1,
               .peer_fds = {-1, -1, -1, -1},
               .child = *child};
    plan_init(&vm->plan);
    machine_init(&vm->machine, vm->loop, &machine_handlers, keeper);
    pulse_init(&vm->pulse, vm->loop, &vm->channel.link, &pulse_handlers, keeper);
    handshake_init(&vm->handshake, &vm->channel, &vm->plan, &start_handshake_handlers, vm);
    return agent_channel_init(&vm->channel, vm->loop, &start_channel_handlers, vm);
}

int keeper_new(int listen_fd, const QemuChild *child, Keeper *keeper, Error *error) {
    int r = loop_new(&keeper->loop);
    if (r == 0)
        r = init_vm(&keeper->vm, keeper, child);
    if (r == 0)
        r = api_listen(&keeper->api, &keeper->vm, listen_fd);
    if (r < 0)
        return error_set_errno(error, -r, "cannot listen");
    r = clock_watch_start(&keeper->clock_watch, keeper->loop, on_clock_jump, keeper);
    if (r < 0)
        return error_set_errno(error, -r, "cannot watch the clock");
    loop_set_after_round(keeper->loop, after_round, keeper);
    (void)loop_add_timer(keeper->loop, clock_monotonic_usec() + IDLE_TIMEOUT_USEC, on_idle, keeper);
    return 0;
}

void keeper_free(Keeper *keeper) {
    Vm *vm = &keeper->vm;
    api_free(&keeper->api);
    adopt_end(vm);
    snapshot_free(vm);
    agent_channel_free(&vm->channel);
    clock_watch_stop(&keeper->clock_watch);
    machine_free(&vm->machine);
    loop_free(keeper->loop);
    plan_free(&vm->plan);
    error_clear(&vm->start.error);
    vm->child.socket = fd_close(vm->child.socket);
    for (size_t i = 0; i < ARRAY_SIZE(vm->peer_fds); i++)
        vm->peer_fds[i] = fd_close(vm->peer_fds[i]);
    vm->vm_dir_fd = fd_close(vm->vm_dir_fd);
    vm->memory_fd = fd_close(vm->memory_fd);
}
