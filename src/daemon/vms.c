/* SPDX-License-Identifier: Apache-2.0 */
/* Requests about VMs: take the members, call the verb. Types and limits were checked
 * against the table already. */

#include "base/clock.h"
#include "daemon/handlers.h"
#include "home/spec.h"
#include "lab/lab_run.h"
#include "machine/look/stats.h"
#include "machine/machine.h"
#include "machine/program.h"
#include "machine/update.h"
#include "run/hand_over.h"
#include "verbs/verbs.h"

HANDLER(handle_vm_list) {
    return vm_list(request->home, request_flag(request, "all"),
                   json_object_get(request->input, "filter"), answer, error);
}

HANDLER(handle_stats) {
    return vm_stats(request->home, &request->operation, request_list(request, "vm"),
                    request_number(request, "interval_ms", 0) * USEC_PER_MSEC, answer, error);
}

HANDLER(handle_vm_rename) {
    return vm_rename(request->home, &request->operation, request->argument,
                     request_text(request, "name"), answer, error);
}

HANDLER(handle_vm_inspect) {
    return vm_inspect(request->home, request->argument, answer, error);
}

HANDLER(handle_vm_agent) {
    _cleanup_json_ json_t *pong = NULL, *status = NULL;
    int r = vm_ask_keeper(request->home, request->argument, "ping", NULL, NULL, 0, &pong, error);
    if (r >= 0)
        r = vm_ask_keeper(request->home, request->argument, "status", NULL, NULL, 0, &status,
                          error);
    if (r >= 0)
        *answer = json_pack("{s:O, s:O, s:O}", "clock_us", json_object_get(pong, "value"),
                            "ram_nonce", json_object_get(status, "ram_nonce"), "counter",
                            json_object_get(status, "counter"));
    return r;
}

HANDLER(handle_vm_stages) {
    return vm_stages(request->home, request->argument, answer, error);
}

static int after_start(Request *request, json_t **answer, Error *error) {
    int r = lab_run_again(request->home, &request->operation, *answer, error);
    if (r >= 0)
        r = program_start_in(request->home, *answer, error);
    if (r >= 0)
        return wait_for_ready(request, answer, error);
    json_decref(*answer);
    *answer = NULL;
    return r;
}

HANDLER(handle_vm_create) {
    _cleanup_vm_spec_ VmSpec spec;
    int r;
    vm_spec_init(&spec);
    r = vm_spec_parse(request->input, &spec, error);
    if (r < 0)
        return r;
    if (!json_is_false(json_object_get(request->input, "start"))) {
        r = vm_run(request->home, &request->operation, &spec, false, answer, error);
        return r < 0 ? r : after_start(request, answer, error);
    }
    return vm_create(request->home, &request->operation, &spec, answer, error);
}

HANDLER(handle_vm_remove) {
    return vm_remove(request->home, &request->operation, request->argument,
                     request_flag(request, "force"), answer, error);
}

HANDLER(handle_vm_start) {
    int r = vm_start(request->home, &request->operation, request->argument,
                     request_flag(request, "cold"), answer, error);
    return r < 0 ? r : after_start(request, answer, error);
}

HANDLER(handle_vm_restart) {
    int r = vm_restart(request->home, &request->operation, request->argument,
                       request_flag(request, "cold"), VM_STOP_TIMEOUT_DEFAULT_USEC, answer, error);
    return r < 0 ? r : after_start(request, answer, error);
}

HANDLER(handle_vm_stop) {
    uint64_t seconds =
        request_number(request, "timeout_s", VM_STOP_TIMEOUT_DEFAULT_USEC / USEC_PER_SEC);
    return vm_stop(request->home, &request->operation, request->argument, seconds * USEC_PER_SEC,
                   answer, error);
}

HANDLER(handle_vm_kill) {
    return vm_kill(request->home, &request->operation, request->argument, answer, error);
}

HANDLER(handle_vm_pause) {
    return vm_pause(request->home, &request->operation, request->argument, answer, error);
}

HANDLER(handle_vm_unpause) {
    return vm_unpause(request->home, &request->operation, request->argument, answer, error);
}

HANDLER(handle_vm_update) {
    return vm_update(request->home, &request->operation, request->argument, request->input, answer,
                     error);
}

HANDLER(handle_vm_wait) {
    return vm_wait(request->home, &request->operation, request->argument,
                   request_text(request, "state"), request_flag(request, "program"), answer, error);
}
