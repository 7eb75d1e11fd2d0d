/* SPDX-License-Identifier: Apache-2.0 */

/* Reading and writing a VM's row, and its states. */

#include "home/row.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "base/process/process.h"
#include "base/str.h"
#include "home/home.h"
#include "home/inside.h"
#include "home/op_lock.h"
#include "home/policy.h"
#include "store/vms.h"

bool row_is_hidden(const VmRow *row) {
    return vm_state_is_hidden(row->state) || row->state == STATE_WARM || *row->runtime.hidden;
}

/* The table is what tests hold us to; a daemon that serves only tells. */
static void check_step(const VmRow *row, VmState state) {
    if (vm_state_may_follow(row->state, state))
        return;
    log_error("%s is %s and becomes %s, which is no step that it may take", row->name,
              vm_state_name(row->state), vm_state_name(state));
#ifdef RAMET_STRICT
    abort();
#endif
}

int row_write_state(Home *home, VmRow *row, VmState state, Error *error) {
    check_step(row, state);
    if (state == STATE_RUNNING)
        row->runtime.half_run = false;
    if (!vm_policy_is_none(&row->spec.policy)) {
        Now now = now_read();
        policy_note_state(row, state, &now);
    }
    row->state = state;
    return vms_update(home->store, row, error);
}

void row_tell_state(Home *home, const VmRow *row, const json_t *detail) {
    _cleanup_free_ char *type = str_format("vm.%s", vm_state_name(row->state));
    if (!row_is_hidden(row))
        home_event(home, type, row->id, row->name, detail);
    if (!vm_policy_is_none(&row->spec.policy))
        home_tend_changed(home);
}

int row_set_state(Home *home, VmRow *row, VmState state, const json_t *detail, Error *error) {
    bool changed = row->state != state;
    int r = row_write_state(home, row, state, error);
    if (r >= 0 && changed)
        row_tell_state(home, row, detail);
    return r;
}

void row_clear_processes(VmRow *row) {
    row->runtime.keeper = row->runtime.qemu = (ProcessIdentity){0};
    row->runtime.memory_snapshot[0] = row->runtime.memory_owner[0] = '\0';
    row->runtime.memory_adopted = false;
}

bool row_is_booted_kernel(const VmRow *row) {
    return str_equal(row->runtime.hidden, "kernel");
}

void row_clear_run(VmRow *row) {
    VmRuntime *runtime = &row->runtime;
    json_t **const told[] = {&runtime->stages,   &runtime->exit, &runtime->error,
                             &runtime->fallback, &runtime->held, &runtime->program};
    row_clear_processes(row);
    for (size_t i = 0; i < ARRAY_SIZE(told); i++)
        json_replace(told[i], NULL);
    runtime->boot[0] = runtime->accel[0] = runtime->agent_version[0] = '\0';
    str_replace(&runtime->memory_base, NULL);
    runtime->memory_inode = 0;
    runtime->silent = false;
}

int row_lock(Home *home, const char *reference, const char *what, int cancel_fd, OpLock **lock,
             VmRow *row, Error *error) {
    _cleanup_op_lock_ OpLock *taken = NULL;
    _cleanup_vm_row_ VmRow found = {0};
    VmRow again = {0};
    int r;
    r = vms_find(home->store, reference, &found, error);
    if (r < 0)
        return r;
    r = op_lock(home->locks, found.id, what, cancel_fd, &taken, error);
    if (r < 0)
        return error_add_context(error, "cannot work on %s", found.name);
    r = vms_get(home->store, found.id, &again, error);
    if (r < 0)
        return r;
    *row = again;
    *lock = TAKE_PTR(taken);
    return 0;
}

int vm_folder_open(Home *home, const char *id, int *fd, Error *error) {
    int opened = openat(home->vms_fd, id, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (opened < 0)
        return error_set_errno(error, errno, "cannot open %s/vms/%s", home->path, id);
    *fd = opened;
    return 0;
}

json_t *row_tell_fallback(Home *home, Operation *operation, const VmRow *row, const char *what,
                          const Error *failure) {
    _cleanup_json_ json_t *wrapped = json_from_error(failure);
    json_t *detail = json_object_get(wrapped, "error");

    operation_note(operation, "%s: %s", what, error_message(failure));
    log_warning("%s: %s: %s", row->name, what, error_message(failure));
    home_event(home, "vm.fallback", row->id, row->name, detail);
    return json_incref(detail);
}
