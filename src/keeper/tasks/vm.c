/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/tasks/vm.h"

#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/str.h"
#include "keeper/guest/identity_payload.h"
#include "proto/agent.h"
#include "proto/tlv.h"
#include "qemu/argv.h"

#define HOLE_END (4 * GIB)

const char *keeper_state_name(const Vm *vm) {
    static const char *const names[] = {"waiting", "starting", "warm",   "running",
                                        "paused",  "stopping", "stopped"};
    return names[vm->state];
}

int vm_require_up(const Vm *vm, Error *error) {
    if (vm->state == VM_RUNNING || vm->state == VM_PAUSED)
        return 0;
    return error_set(error, ERROR_CONFLICT, 0, "the VM is %s", keeper_state_name(vm));
}

uint64_t vm_memory_offset(const Vm *vm, uint64_t physical) {
    uint64_t hole = qemu_memory_hole(&vm->plan);
    return physical < HOLE_END ? physical : physical - (HOLE_END - hole);
}

bool vm_lacks_room(const Vm *vm) {
    return vm->state == VM_PAUSED && vm->room_timer;
}

json_t *vm_describe_state(const Vm *vm) {
    return json_pack("{s:s, s:s, s:b}", "event", "state", "state", keeper_state_name(vm), "no_room",
                     vm_lacks_room(vm));
}

/* The guest's clock may say anything. */
json_t *vm_describe_program(const Vm *vm) {
    const LinkProgram *program = &vm->channel.program;
    _cleanup_free_ char *time =
        clock_format_realtime(MIN_OF(program->ended_at_usec, clock_realtime_usec()));
    return program->ended
               ? json_pack("{s:i, s:s}", "exit_status", (int)program->exit_code, "ended_at", time)
               : json_null();
}

void vm_tell(Vm *vm, json_t *event) {
    vm->tell(vm->data, event);
    json_decref(event);
}

void vm_change_state(Vm *vm, VmState state) {
    vm->state = state;
    vm_tell(vm, vm_describe_state(vm));
}

static void on_time_told(void *data, const Frame *frame) {
    (void)data;
    agent_result_log_failure(frame, "cannot set the VM's clock");
}

void vm_tell_time(Vm *vm) {
    const ClockPair now = {0};
    uint8_t payload[64];
    TlvWriter writer;
    LinkStream *stream;
    int r;
    tlv_start(&writer, payload, sizeof(payload));
    identity_payload_add_clock(&writer, &now);
    r = link_open(&vm->channel.link, FRAME_CLOCK, payload, writer.size, on_time_told, vm, &stream);
    if (r < 0)
        log_warning("cannot tell the guest what time it is: %s", strerror(-r));
}

json_t *vm_describe_memory(const Vm *vm) {
    struct stat base = {0};
    (void)fstat(vm->memory_fd, &base);
    return json_pack("{s:s, s:I, s:I}", "owner", vm->memory_owner, "base_device",
                     (json_int_t)base.st_dev, "base_inode", (json_int_t)base.st_ino);
}

static json_t *hex_json(const uint8_t bytes[16]) {
    char text[2 * 16 + 1];
    hex_encode(bytes, 16, text);
    return json_string(text);
}

json_t *vm_describe_agent(const Vm *vm) {
    const LinkWelcome *welcome = &vm->channel.welcome;
    return json_pack("{s:o, s:o, s:I}", "marker", hex_json(vm->channel.link.marker), "ram_nonce",
                     hex_json(welcome->ram_nonce), "counter",
                     (json_int_t)MIN_OF(welcome->counter, (uint64_t)INT64_MAX));
}
