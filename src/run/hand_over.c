/* SPDX-License-Identifier: Apache-2.0 */

/* Handing a client's stream to a keeper. No lock is taken: the keeper knows whether it can serve,
 * and a command must not wait for, say, a snapshot to end. */

#include "run/hand_over.h"

#include <errno.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/str.h"
#include "home/home.h"
#include "home/inside.h"
#include "home/row.h"
#include "home/spec.h"
#include "proto/keeper.h"
#include "store/vms.h"

#define HAND_TIMEOUT_USEC (60 * USEC_PER_SEC)

typedef struct Op {
    const char *name;
    bool executes;     /* the VM's own variables belong to it */
    bool needs_no_run; /* a paused VM can do it, too */
} Op;

static const Op ops[] = {
    {"exec", .executes = true},
    {"exec_detached", .executes = true},
    {"exec_kill"},
    {"exec_list", .needs_no_run = true},
    {"exec_wait", .needs_no_run = true},
    {"attach"},
    {"connect"},
    {"ping"},
    {"status"},
    {"copy_in"},
    {"copy_out"},
    {"read"},
    {"stat"},
    {"write"},
};

static const Op *op_find(const char *name) {
    for (size_t i = 0; i < ARRAY_SIZE(ops); i++)
        if (str_equal(name, ops[i].name))
            return &ops[i];
    return NULL;
}

/* The VM's own variables, then the request's, so that the latter win. */
static int merge_env(const VmRow *row, json_t *request, Error *error) {
    const json_t *own = json_object_get(request, "env");
    json_t *all = vm_spec_env_to_json(&row->spec), *value;
    size_t index;
    int r = 0;
    if (own && !json_is_null(own) && (!json_is_array(own) || json_array_size(own) > SPEC_ENV_MAX))
        r = error_set(error, ERROR_USAGE, EINVAL, "env is no list of at most %d", SPEC_ENV_MAX);
    json_array_foreach(own, index, value) {
        if (r >= 0)
            r = vm_env_check(value, error);
    }
    if (r < 0) {
        json_decref(all);
        return r;
    }
    (void)json_array_extend(all, (json_t *)own);
    (void)json_object_set_new(request, "env", env_merge(all));
    return 0;
}

/* What the image says of all its programs, where the request says nothing. */
static void add_default(json_t *request, const char *key, const char *text) {
    const json_t *said = json_object_get(request, key);
    if (text && (!said || json_is_null(said)))
        (void)json_object_set_new(request, key, json_string(text));
}

static int make_request(const VmRow *row, const Op *op, const json_t *request, json_t **made,
                        Error *error) {
    _cleanup_json_ json_t *copy = request ? json_copy((json_t *)request) : json_object();
    int r = 0;
    if (!json_is_object(copy))
        return error_set(error, ERROR_USAGE, EINVAL, "the request is no JSON object");
    (void)json_object_set_new(copy, "op", json_string(op->name));
    if (op->executes)
        r = merge_env(row, copy, error);
    if (r < 0)
        return r;
    if (op->executes) {
        add_default(copy, "directory", row->spec.config.directory);
        add_default(copy, "user", row->spec.config.user);
    }
    *made = TAKE_PTR(copy);
    return 0;
}

static int check_running(const VmRow *row, const Op *op, Error *error) {
    if (row->state == STATE_RUNNING || (op->needs_no_run && row->state == STATE_PAUSED))
        return 0;
    error_set(error, ERROR_CONFLICT, EBUSY, "%s is %s", row->name, vm_state_name(row->state));
    return vm_state_hint(row->state, row->name, error);
}

static int ask(Home *home, const VmRow *row, const Op *op, const json_t *request, const int *fds,
               size_t n_fds, json_t **answer, Error *error) {
    _cleanup_json_ json_t *made = NULL, *ok = NULL;
    _cleanup_close_ int dir_fd = -1;
    int r = make_request(row, op, request, &made, error);
    if (r >= 0)
        r = vm_folder_open(home, row->id, &dir_fd, error);
    if (r < 0)
        return r;
    r = keeper_call(dir_fd, made, fds, n_fds, clock_monotonic_usec() + HAND_TIMEOUT_USEC, -1, NULL,
                    NULL, &ok, error);
    if (r < 0)
        return error_add_context(error, "%s", row->name);
    if (answer)
        *answer = TAKE_PTR(ok);
    return 0;
}

static int no_such_op(const char *name, Error *error) {
    return error_set(error, ERROR_USAGE, EINVAL, "there is no stream for %.40s", name);
}

int vm_ask_keeper_of(Home *home, const VmRow *row, const char *op_name, const json_t *request,
                     const int *fds, size_t n_fds, json_t **answer, Error *error) {
    const Op *op = op_find(op_name);
    return op ? ask(home, row, op, request, fds, n_fds, answer, error) : no_such_op(op_name, error);
}

int vm_ask_keeper(Home *home, const char *reference, const char *op_name, const json_t *request,
                  const int *fds, size_t n_fds, json_t **answer, Error *error) {
    const Op *op = op_find(op_name);
    _cleanup_vm_row_ VmRow row = {0};
    int r;
    if (!op)
        return no_such_op(op_name, error);
    r = vms_find(home->store, reference, &row, error);
    if (r >= 0)
        r = check_running(&row, op, error);
    return r < 0 ? r : ask(home, &row, op, request, fds, n_fds, answer, error);
}

int vm_hand_stream(Home *home, const char *reference, const char *op, const json_t *request,
                   int client_fd, Error *error) {
    return vm_ask_keeper(home, reference, op, request, &client_fd, 1, NULL, error);
}
