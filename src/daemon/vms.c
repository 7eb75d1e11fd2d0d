/* SPDX-License-Identifier: Apache-2.0 */
/* Requests about VMs: take the members, call the operation of src/vm. Types and limits were checked
 * against the table already. */

#include "vm/vm.h"

#include "daemon/handlers.h"

static bool member_bool(const Request *request, const char *name, bool otherwise) {
    const json_t *value = json_object_get(request->input, name);

    return json_is_boolean(value) ? json_is_true(value) : otherwise;
}

HANDLER(handle_vm_list) {
    return vm_list(request->ramet, member_bool(request, "all", false), answer, error);
}

HANDLER(handle_vm_inspect) {
    return vm_inspect(request->ramet, request->argument, answer, error);
}

HANDLER(handle_vm_stages) {
    return vm_stages(request->ramet, request->argument, answer, error);
}

HANDLER(handle_vm_create) {
    _cleanup_vm_spec_ VmSpec spec;
    int r;

    vm_spec_init(&spec);
    r = vm_spec_from_json(request->input, &spec, error);
    if (r < 0)
        return r;
    if (member_bool(request, "start", true))
        return vm_run(request->ramet, &request->operation, &spec, false, answer, error);
    return vm_create(request->ramet, &request->operation, &spec, answer, error);
}

HANDLER(handle_vm_remove) {
    (void)answer;
    return vm_remove(request->ramet, &request->operation, request->argument,
                     member_bool(request, "force", false), error);
}

HANDLER(handle_vm_start) {
    return vm_start(request->ramet, &request->operation, request->argument,
                    member_bool(request, "cold", false), answer, error);
}

HANDLER(handle_vm_restart) {
    return vm_restart(request->ramet, &request->operation, request->argument,
                      member_bool(request, "cold", false), VM_STOP_TIMEOUT_DEFAULT_USEC, answer,
                      error);
}

HANDLER(handle_vm_stop) {
    const json_t *seconds = json_object_get(request->input, "timeout_s");
    uint64_t timeout_usec = VM_STOP_TIMEOUT_DEFAULT_USEC;

    if (json_is_integer(seconds))
        timeout_usec = (uint64_t)json_integer_value(seconds) * USEC_PER_SEC;
    return vm_stop(request->ramet, &request->operation, request->argument, timeout_usec, answer,
                   error);
}

HANDLER(handle_vm_kill) {
    return vm_kill(request->ramet, &request->operation, request->argument, answer, error);
}

HANDLER(handle_vm_pause) {
    return vm_pause(request->ramet, &request->operation, request->argument, answer, error);
}

HANDLER(handle_vm_unpause) {
    return vm_unpause(request->ramet, &request->operation, request->argument, answer, error);
}

HANDLER(handle_vm_wait) {
    const char *state = json_string_value(json_object_get(request->input, "state"));

    return vm_wait(request->ramet, &request->operation, request->argument, state, answer, error);
}
