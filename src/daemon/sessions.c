/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that end in a stream between the client and a keeper: run, exec, copies. What can be
 * known beforehand is checked before the 101 and is an ordinary HTTP error; after it errors are
 * frames.
 *
 * The client sends nothing before it has seen READY (run) or the 101 (the others), so nothing of
 * its data can be in our buffers when the keeper takes over, and a byte or a hang-up before READY
 * means that the run is cancelled. */

#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "daemon/handlers.h"
#include "home/home.h"
#include "home/operation.h"
#include "home/spec.h"
#include "machine/machine.h"
#include "machine/program.h"
#include "proto/agent.h"
#include "proto/frame.h"
#include "run/hand_over.h"
#include "verbs/verbs.h"

static int hand_over(Request *request, const char *op, Error *error) {
    int r = check_running(request, error);
    if (r == 0)
        r = request_open_stream(request, NULL, error);
    if (r == 0)
        r = vm_hand_stream(request->home, request->argument, op, request->input,
                           request->response.fd, error);
    return r;
}

/* What only an answer in one piece can give, and the stream has no use for. */
static int check_stream(const Request *request, Error *error) {
    static const char *const plain[] = {"detach", "input", "output"};
    for (size_t i = 0; i < ARRAY_SIZE(plain); i++)
        if (json_object_get(request->input, plain[i]))
            return error_set(error, ERROR_USAGE, 0, "%s is for requests without an upgrade",
                             plain[i]);
    return 0;
}

HANDLER(handle_vm_exec) {
    int r;
    if (!request->wants_upgrade)
        return plain_exec(request, answer, error);
    r = check_stream(request, error);
    return r < 0 ? r : hand_over(request, "exec", error);
}

HANDLER(handle_vm_copy_in) {
    (void)answer;
    return hand_over(request, "copy_in", error);
}

HANDLER(handle_vm_copy_out) {
    (void)answer;
    return hand_over(request, "copy_out", error);
}

HANDLER(handle_vm_proxy) {
    (void)answer;
    return hand_over(request, "connect", error);
}

static void send_event_frame(void *data, const json_t *event) {
    response_send_frame(data, FRAME_EVENT, event);
}

/* An environment that no frame holds is left out. */
static void send_ready(Response *response, const json_t *vm) {
    _cleanup_free_ char *text = json_to_text(vm);
    _cleanup_json_ json_t *shorter = NULL;
    if (strlen(text) > FRAME_PAYLOAD_MAX) {
        shorter = json_copy((json_t *)vm);
        (void)json_object_del(shorter, "env");
    }
    response_send_frame(response, FRAME_READY, shorter ? shorter : vm);
}

/* Gives the new VM's stream to its keeper. A --rm VM that nobody owns in the end must not stay. */
static int start_session(Request *request, const json_t *vm, bool owner, Error *error) {
    const char *id = json_string_value(json_object_get(vm, "id"));
    json_t *exec = json_object_get(request->input, "exec");
    _cleanup_json_ json_t *session =
        json_is_object(exec) ? json_copy(exec) : json_pack("{s:b}", "owner", owner);
    Operation cleanup;
    bool undo = owner;
    int r;
    (void)json_object_set_new(session, "owner", json_boolean(owner));
    r = json_is_object(exec) ? program_attach(request->home, vm, session, error)
                             : program_start_in(request->home, vm, error);
    undo |= r < 0; /* nobody had it yet */
    if (r >= 0)
        send_ready(&request->response, vm);
    if (r >= 0)
        r = vm_hand_stream(request->home, id, json_is_object(exec) ? "exec" : "attach", session,
                           request->response.fd, error);
    if (r < 0 && undo) {
        operation_init(&cleanup, 0, -1);
        (void)vm_remove(request->home, &cleanup, id, true, NULL, NULL);
    }
    return r;
}

/* A --rm VM that nobody gets to use goes. */
static int await_or_remove(Request *request, json_t **vm, bool remove, Error *error) {
    _cleanup_free_ char *id = str_copy(json_string_value(json_object_get(*vm, "id")));
    int r = wait_for_ready(request, vm, error);
    Operation cleanup;
    if (r < 0 && remove) {
        operation_init(&cleanup, 0, -1);
        (void)vm_remove(request->home, &cleanup, id, true, NULL, NULL);
    }
    return r;
}

/* A command on the stream is the image's program, where the image has one: with its entrypoint
 * before it, and again in each later start. */
static int take_command(const Request *request, VmSpec *spec, Error *error) {
    const json_t *exec = json_object_get(request->input, "exec");
    const json_t *argv = json_object_get(exec, "argv"), *word;
    const char *user = json_string_value(json_object_get(exec, "user"));
    const char *directory = json_string_value(json_object_get(exec, "directory"));
    size_t i;
    if (user && !spec->config.user)
        spec->config.user = str_copy(user);
    if (directory && !spec->config.directory)
        spec->config.directory = str_copy(directory);
    if (spec->own_command || json_array_size(argv) == 0)
        return 0;
    json_array_foreach(argv, i, word) {
        const char *text = json_string_value(word);
        if (!text || strlen(text) != json_string_length(word))
            return error_set(error, ERROR_USAGE, EINVAL, "argv has a word that is no text");
        strlist_add(&spec->config.command, text);
    }
    spec->own_command = true;
    spec->weak_command = !spec->own_entrypoint;
    return 0;
}

HANDLER(handle_run) {
    _cleanup_json_ json_t *vm = NULL;
    _cleanup_vm_spec_ VmSpec spec;
    int r;
    (void)answer;
    vm_spec_init(&spec);
    r = vm_spec_parse(request->input, &spec, error);
    if (r == 0)
        r = take_command(request, &spec, error);
    if (r == 0)
        r = request_open_stream(request, NULL, error);
    if (r < 0)
        return r;
    request->operation.on_event = send_event_frame;
    request->operation.data = &request->response;
    r = vm_run(request->home, &request->operation, &spec, spec.remove, &vm, error);
    if (r == 0)
        r = await_or_remove(request, &vm, spec.remove, error);
    return r < 0 ? r : start_session(request, vm, spec.remove, error);
}

/* ---- clones that are a client's own ---- */

/* Each keeper gets the stream, and ends its clone when the client's end is closed. */
static int own_all(Request *request, const json_t *vms, Error *error) {
    _cleanup_json_ json_t *owner = json_pack("{s:b}", "owner", 1);
    const json_t *vm;
    size_t i;
    int r = 0;
    json_array_foreach(vms, i, vm) {
        if (r >= 0)
            r = vm_hand_stream(request->home, json_string_value(json_object_get(vm, "id")),
                               "attach", owner, request->response.fd, error);
    }
    return r;
}

static json_t *list_ids(const json_t *vms, bool names) {
    json_t *list = json_array();
    const json_t *vm;
    size_t i;
    json_array_foreach(vms, i, vm) {
        json_t *item = json_pack("{s:O}", "id", json_object_get(vm, "id"));
        if (names)
            (void)json_object_set(item, "name", json_object_get(vm, "name"));
        (void)json_array_append_new(list, item);
    }
    return json_pack("{s:o}", "vms", list);
}

/* Names that no frame holds are left out. */
static void send_owned(Response *response, const json_t *vms) {
    _cleanup_json_ json_t *ready = list_ids(vms, true);
    _cleanup_free_ char *text = json_to_text(ready);
    if (strlen(text) > FRAME_PAYLOAD_MAX)
        json_replace(&ready, list_ids(vms, false));
    response_send_frame(response, FRAME_READY, ready);
}

static void send_failures(Response *response, const json_t *errors) {
    const json_t *item;
    size_t i;
    json_array_foreach(errors, i, item) {
        _cleanup_json_ json_t *event = json_copy((json_t *)item);
        (void)json_object_set_new(event, "event", json_string("clone_failed"));
        response_send_frame(response, FRAME_EVENT, event);
    }
}

static void remove_all(Request *request, const json_t *vms) {
    const json_t *vm;
    Operation cleanup;
    size_t i;
    operation_init(&cleanup, 0, -1);
    json_array_foreach(vms, i, vm) {
        (void)vm_remove(request->home, &cleanup, json_string_value(json_object_get(vm, "id")), true,
                        NULL, NULL);
    }
}

int fork_owned(Request *request, const ForkOptions *options, Error *error) {
    _cleanup_json_ json_t *answer = NULL;
    const json_t *vms;
    int r = request_open_stream(request, NULL, error);
    if (r < 0)
        return r;
    request->operation.on_event = send_event_frame;
    request->operation.data = &request->response;
    r = vm_fork(request->home, &request->operation, options, &answer, error);
    if (r < 0)
        return r;
    vms = json_object_get(answer, "vms");
    r = own_all(request, vms, error);
    if (r < 0) {
        remove_all(request, vms);
        return r;
    }
    r = wait_for_ready(request, &answer, error);
    send_failures(&request->response, json_object_get(answer, "errors"));
    if (r >= 0)
        send_owned(&request->response, json_object_get(answer, "vms"));
    return r; /* the client hangs up on an error, and they go */
}
