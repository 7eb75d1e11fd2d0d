/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/tasks/room.h"

#include <errno.h>
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
    bool stopping = vm->state == VM_STOPPING;
    if (!stopping && vm->state != VM_PAUSED) {
        room_await_no_more(vm);
    } else if (vm->snapshot || !has_room(vm)) {
        look_again(vm);
    } else {
        log_info("the host has room again");
        room_await_no_more(vm);
        if (machine_call(&vm->machine, "cont", NULL, NULL, &error) < 0) {
            log_error("cannot go on: %s", error_message(&error));
            return;
        }
        vm_tell_time(vm);
        if (!stopping)
            vm_change_state(vm, VM_RUNNING);
    }
}

void room_await(Vm *vm) {
    log_warning("the host has no room for what the guest writes; it waits for some");
    if (vm->room_timer)
        look_again(vm);
    else
        vm->room_timer = loop_add_timer(vm->loop, clock_monotonic_usec() + LOOK_USEC, on_look, vm);
    if (vm->state != VM_STOPPING)
        vm_change_state(vm, VM_PAUSED);
}

int room_error(Error *error) {
    int r =
        error_set(error, ERROR_NO_SPACE, ENOSPC, "the host has no room for what the guest writes");
    error_set_hint(error, "free some on the host's disk: ramet df tells what takes it, ramet prune "
                          "removes what nothing uses");
    return r;
}

void room_await_no_more(Vm *vm) {
    vm->room_timer = loop_remove(vm->room_timer);
}
