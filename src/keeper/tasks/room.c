/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/tasks/room.h"

#include <sys/statvfs.h>

#include "base/log.h"

#define LOOK_USEC USEC_PER_SEC
#define ROOM_BYTES ((uint64_t)16 << 20) /* less would be gone before the next look */

static bool has_room(const Vm *vm) {
    struct statvfs host;
    return fstatvfs(vm->vm_dir_fd, &host) == 0 &&
           (uint64_t)host.f_bavail * host.f_frsize >= ROOM_BYTES;
}

static void look_again(const Vm *vm) {
    loop_set_timer(vm->room_timer, clock_monotonic_usec() + LOOK_USEC);
}

static void on_look(void *data) {
    Vm *vm = data;
    _cleanup_error_ Error error = ERROR_INIT;
    if (vm->state != VM_PAUSED) {
        room_await_no_more(vm);
    } else if (vm->snapshot || !has_room(vm)) {
        look_again(vm);
    } else {
        log_info("the host has room again");
        room_await_no_more(vm);
        if (machine_call(&vm->machine, "cont", NULL, NULL, &error) == 0)
            vm_change_state(vm, VM_RUNNING);
        else
            log_error("cannot go on: %s", error_message(&error));
    }
}

void room_await(Vm *vm) {
    log_warning("the host has no room for what the guest writes; it waits for some");
    if (vm->room_timer)
        look_again(vm);
    else
        vm->room_timer = loop_add_timer(vm->loop, clock_monotonic_usec() + LOOK_USEC, on_look, vm);
    vm_change_state(vm, VM_PAUSED);
}

void room_await_no_more(Vm *vm) {
    vm->room_timer = loop_remove(vm->room_timer);
}
