/* SPDX-License-Identifier: Apache-2.0 */
#include "recipe/step_vm.h"

#include "base/digest.h"
#include "base/log.h"
#include "base/str.h"
#include "frozen/snapshot_files.h"
#include "home/inside.h"
#include "home/row.h"
#include "machine/clone.h"
#include "machine/create.h"
#include "machine/remove.h"
#include "machine/snapshot/snapshot_create.h"
#include "machine/start.h"
#include "run/restore.h"

/* The variables are the image's own, once it is run as that. */
static void set_env(const StepVmOptions *options, VmSpec *spec) {
    strlist_free(&spec->env);
    if (!options->settings) {
        words_copy(options->env, &spec->env);
        return;
    }
    image_config_free(&spec->config);
    image_config_from_json(options->settings, &spec->config);
    spec->has_program = spec->config.entrypoint.count + spec->config.command.count > 0;
    spec->warm = true;
}

int step_vm_fork(Home *home, Operation *operation, const SnapshotRow *from,
                 const StepVmOptions *options, StepVm *vm, Error *error) {
    const Restore how = {.snapshot = from, .boot = "forked", .clone = true};
    const CloneShape shape = {.network = options->network, .disk_bytes = options->disk_bytes};
    _cleanup_free_ char *random = random_hex(8), *made_up = str_format("step-%s", random);
    _cleanup_vm_row_ VmRow planned = {0};
    int r;
    *vm = (StepVm){0};
    r = clone_plan(from, options->name ? options->name : made_up, &shape, &planned, error);
    if (r < 0)
        return r;
    set_env(options, &planned.spec);
    str_set(planned.runtime.hidden, "step");
    r = vm_create_planned(home, operation, &planned, CREATE_TO_RUN, &vm->lock, &vm->row, error);
    if (r >= 0)
        r = clone_restore(home, operation, &vm->row, &how, operation->cancel_fd, error);
    if (r < 0)
        return r;
    vm->row.state = STATE_RUNNING; /* for who looks at the row; in the store it is `creating` */
    return 0;
}

int step_vm_freeze(Home *home, Operation *operation, StepVm *vm, const char *purpose,
                   const char *key, SnapshotRow *snapshot, Error *error) {
    const SnapshotOptions options = {.purpose = purpose, .key = key};
    return snapshot_create_locked(home, operation, &vm->row, &options, snapshot, error);
}

int step_vm_keep(Home *home, StepVm *vm, Error *error) {
    int r;
    vm->row.runtime.hidden[0] = '\0';
    vm->row.state = STATE_CREATING;
    r = row_set_state(home, &vm->row, STATE_STARTING, NULL, error);
    if (r >= 0)
        r = vm_become_running(home, &vm->row, error);
    if (r < 0) {
        str_set(vm->row.runtime.hidden, "step");
        return r;
    }
    vm->lock = op_unlock(vm->lock);
    vm_row_free(&vm->row);
    *vm = (StepVm){0};
    return 0;
}

void step_vm_remove(Home *home, StepVm *vm) {
    _cleanup_error_ Error error = ERROR_INIT;
    if (*vm->row.id && vm_remove_locked(home, &vm->row, &error) < 0)
        log_warning("cannot remove %s: %s", vm->row.name, error_message(&error));
    (void)op_unlock(vm->lock);
    vm_row_free(&vm->row);
    *vm = (StepVm){0};
}
