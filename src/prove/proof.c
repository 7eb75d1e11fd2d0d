/* SPDX-License-Identifier: Apache-2.0 */
#include "prove/proof.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "base/fd.h"
#include "base/str.h"
#include "proto/api/own_stream.h"

void proof_init(Proof *proof, const char *socket, HttpLineHandler on_event, void *data) {
    *proof = (Proof){.socket = socket,
                     .on_event = on_event,
                     .data = data,
                     .checks = json_array(),
                     .frozen = json_array(),
                     .ok = true};
}

void proof_free(Proof *proof) {
    for (size_t i = 0; i < proof->count; i++)
        json_decref(proof->clones[i].facts);
    free(proof->clones);
    json_decref(proof->snapshot);
    json_decref(proof->checks);
    json_decref(proof->frozen);
}

void proof_enter(const Proof *proof, const char *stage) {
    _cleanup_json_ json_t *event = json_pack("{s:s, s:s}", "event", "stage", "name", stage);
    if (proof->on_event)
        (void)proof->on_event(proof->data, event);
}

void proof_make_room(Proof *proof, size_t count) {
    proof->clones = calloc(count + 1, sizeof(*proof->clones));
    if (!proof->clones)
        abort();
}

void proof_add_clone(Proof *proof, const char *id, const char *name, json_t *facts) {
    ProveClone *clone = &proof->clones[proof->count++];
    *clone = (ProveClone){.facts = facts, .least_ms = -HUGE_VAL, .most_ms = HUGE_VAL};
    str_set(clone->id, str_or_empty(id));
    str_set(clone->name, str_or_empty(name));
}

int proof_call(const Proof *proof, ApiId id, const char *argument, const char *query,
               const json_t *body, json_t **answer, Error *error) {
    _cleanup_free_ char *path = api_path(id, argument, query);
    HttpCall call = HTTP_CALL(api_operation(id)->method, path);
    _cleanup_close_ int fd = -1;
    int r = http_connect(proof->socket, &fd, error);
    call.body = body;
    return r < 0 ? r : http_call_json(fd, &call, answer, error);
}

int proof_fork(const Proof *proof, const char *source, const char *name, unsigned count,
               int *stream, json_t **vms, Error *error) {
    _cleanup_json_ json_t *answer = NULL;
    _cleanup_json_ json_t *body =
        json_pack("{s:s, s:s, s:I}", "source", source, "name", name, "count", (json_int_t)count);
    _cleanup_free_ char *path = api_path(API_FORK, NULL, NULL);
    HttpCall call = HTTP_CALL("POST", path);
    _cleanup_close_ int fd = -1;
    int r = http_connect(proof->socket, &fd, error);
    call.body = body;
    if (r >= 0)
        r = http_call_upgrade(fd, &call, error);
    if (r >= 0)
        r = own_stream_await(fd, NULL, NULL, &answer, error);
    if (r < 0)
        return r;
    *vms = json_incref(json_object_get(answer, "vms"));
    *stream = TAKE_FD(fd);
    return 0;
}

int proof_remove(const Proof *proof, const char *id, Error *error) {
    _cleanup_error_ Error failure = ERROR_INIT;
    int r = proof_call(proof, API_VM_REMOVE, id, "force=1", NULL, NULL, &failure);
    return r < 0 && failure.kind != ERROR_NOT_FOUND ? error_move(error, &failure) : 0;
}

void proof_add(Proof *proof, const char *what, const char *problem, const char *good) {
    (void)json_array_append_new(proof->checks,
                                json_pack("{s:s, s:b, s:s}", "what", what, "ok", problem == NULL,
                                          "message", problem ? problem : good));
    proof->ok &= problem == NULL;
}
