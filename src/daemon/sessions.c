/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that end in a stream between the client and a keeper: run, exec, copies. What can be
 * known beforehand is checked before the 101 and is an ordinary HTTP error; after it errors are
 * frames.
 *
 * The client sends nothing before it has seen READY (run) or the 101 (the others), so nothing of
 * its data can be in our buffers when the keeper takes over, and a byte or a hang-up before READY
 * means that the run is cancelled. */

#include "daemon/handlers.h"
#include "proto/agent.h"
#include "store/vms.h"
#include "vm/vm.h"

/* There is such a VM and it runs. */
static int check_running(const Request *request, Error *error) {
    _cleanup_vm_row_ VmRow row = {0};
    int r = vms_find(ramet_store(request->ramet), request->argument, &row, error);

    if (r < 0)
        return r;
    if (str_equal(row.state, "running"))
        return 0;
    r = error_set(error, ERROR_CONFLICT, 0, "%s is not running, it is %s", row.name, row.state);
    if (str_equal(row.state, "paused"))
        error_set_hint(error, "let it go on first: ramet unpause %s", row.name);
    else
        error_set_hint(error, "start it: ramet start %s", row.name);
    return r;
}

static int hand_over(Request *request, const char *op, Error *error) {
    int r = check_running(request, error);

    if (r == 0)
        r = request_open_stream(request, NULL, error);
    if (r == 0)
        r = vm_hand_stream(request->ramet, request->argument, op, request->input,
                           request->stream.fd, error);
    return r;
}

HANDLER(handle_vm_exec) {
    (void)answer;
    return hand_over(request, "exec", error);
}

HANDLER(handle_vm_copy_in) {
    (void)answer;
    return hand_over(request, "copy_in", error);
}

HANDLER(handle_vm_copy_out) {
    (void)answer;
    return hand_over(request, "copy_out", error);
}

static void send_event_frame(void *data, const json_t *event) {
    stream_send_frame(data, FRAME_EVENT, event);
}

/* Gives the new VM's stream to its keeper. A --rm VM that nobody owns in the end must not stay. */
static int start_session(Request *request, const json_t *vm, bool owner, Error *error) {
    const char *id = json_string_value(json_object_get(vm, "id"));
    json_t *exec = json_object_get(request->input, "exec");
    _cleanup_json_ json_t *session =
        json_is_object(exec) ? json_copy(exec) : json_pack("{s:b}", "owner", owner);
    Operation cleanup;
    int r;

    (void)json_object_set_new(session, "owner", json_boolean(owner));
    stream_send_frame(&request->stream, FRAME_READY, vm);
    r = vm_hand_stream(request->ramet, id, json_is_object(exec) ? "exec" : "attach", session,
                       request->stream.fd, error);
    if (r < 0 && owner) {
        operation_init(&cleanup, 0, -1);
        (void)vm_remove(request->ramet, &cleanup, id, true, NULL);
    }
    return r;
}

HANDLER(handle_run) {
    _cleanup_json_ json_t *vm = NULL;
    _cleanup_vm_spec_ VmSpec spec;
    int r;

    (void)answer;
    vm_spec_init(&spec);
    r = vm_spec_from_json(request->input, &spec, error);
    if (r == 0)
        r = request_open_stream(request, NULL, error);
    if (r < 0)
        return r;
    request->operation.on_event = send_event_frame;
    request->operation.data = &request->stream;
    r = vm_run(request->ramet, &request->operation, &spec, spec.remove, &vm, error);
    return r < 0 ? r : start_session(request, vm, spec.remove, error);
}
