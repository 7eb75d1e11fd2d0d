/* SPDX-License-Identifier: Apache-2.0 */

/* Handing a client's stream to a keeper. No lock is taken: the keeper knows whether it can serve,
 * and a command must not wait for, say, a snapshot to end. */

#include <errno.h>

#include "proto/keeper.h"
#include "vm/internal.h"
#include "vm/vm.h"

#define HAND_TIMEOUT_USEC (60 * USEC_PER_SEC)

static bool op_is_known(const char *op) {
    static const char *const known[] = {"exec", "attach", "copy_in", "copy_out"};

    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (str_equal(op, known[i]))
            return true;
    return false;
}

/* The VM's own variables, then the request's, so that the latter win. */
static int merge_env(const VmRow *row, json_t *request, Error *error) {
    const json_t *own = json_object_get(request, "env");
    json_t *all = json_array(), *value;
    size_t index;
    int r = 0;

    (void)json_array_extend(all, json_object_get(row->spec, "env"));
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
    (void)json_object_set_new(request, "env", all);
    return 0;
}

static int make_request(const VmRow *row, const char *op, const json_t *request, json_t **made,
                        Error *error) {
    _cleanup_json_ json_t *copy = request ? json_copy((json_t *)request) : json_object();
    int r = 0;

    if (!json_is_object(copy))
        return error_set(error, ERROR_USAGE, EINVAL, "the request is no JSON object");
    (void)json_object_set_new(copy, "op", json_string(op));
    if (str_equal(op, "exec"))
        r = merge_env(row, copy, error);
    if (r < 0)
        return r;
    *made = TAKE_PTR(copy);
    return 0;
}

static int check_running(const VmRow *row, Error *error) {
    if (str_equal(row->state, STATE_RUNNING))
        return 0;
    error_set(error, ERROR_CONFLICT, EBUSY, "%s is %s", row->name, row->state);
    if (str_equal(row->state, STATE_PAUSED))
        error_set_hint(error, "unpause it first");
    else if (!state_is_active(row->state))
        error_set_hint(error, "start it first: ramet start %s", row->name);
    return -EBUSY;
}

int vm_hand_stream(Ramet *ramet, const char *reference, const char *op, const json_t *request,
                   int client_fd, Error *error) {
    _cleanup_json_ json_t *made = NULL, *ok = NULL;
    _cleanup_vm_row_ VmRow row = {0};
    _cleanup_close_ int dir_fd = -1;
    int r;

    if (!op_is_known(op))
        return error_set(error, ERROR_USAGE, EINVAL, "there is no stream for %.40s", op);
    r = vms_find(ramet->store, reference, &row, error);
    if (r >= 0)
        r = check_running(&row, error);
    if (r >= 0)
        r = make_request(&row, op, request, &made, error);
    if (r >= 0)
        r = vm_folder_open(ramet, row.id, &dir_fd, error);
    if (r < 0)
        return r;
    r = keeper_call(dir_fd, made, &client_fd, 1, clock_monotonic_usec() + HAND_TIMEOUT_USEC, -1,
                    NULL, NULL, &ok, error);
    return r < 0 ? error_add_context(error, "%s", row.name) : 0;
}
