/* SPDX-License-Identifier: Apache-2.0 */

/* Looking at VMs without changing them; no locks are taken. */

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>

#include "vm/internal.h"
#include "vm/vm.h"

int vm_inspect(Ramet *ramet, const char *reference, json_t **vm, Error *error) {
    _cleanup_vm_row_ VmRow row = {0};
    int r = vms_find(ramet->store, reference, &row, error);

    return r < 0 ? r : vm_describe(ramet, &row, vm, error);
}

int vm_list(Ramet *ramet, bool all, json_t **list, Error *error) {
    _cleanup_json_ json_t *array = json_array();
    VmRow *rows = NULL;
    size_t count = 0;
    int r = vms_list(ramet->store, &rows, &count, error);

    for (size_t i = 0; r >= 0 && i < count; i++) {
        json_t *vm = NULL;

        if (row_is_hidden(&rows[i]) || (!all && !state_is_active(rows[i].state)))
            continue;
        r = vm_describe(ramet, &rows[i], &vm, error);
        if (r >= 0)
            (void)json_array_append_new(array, vm);
    }
    vm_rows_free(rows, count);
    if (r < 0)
        return r;
    *list = TAKE_PTR(array);
    return 0;
}

int vm_stages(Ramet *ramet, const char *reference, json_t **stages, Error *error) {
    _cleanup_vm_row_ VmRow row = {0};
    json_int_t total = 0;
    json_t *list, *stage;
    size_t index;
    int r = vms_find(ramet->store, reference, &row, error);

    if (r < 0)
        return r;
    list = json_object_get(row.runtime, "stages");
    json_array_foreach(list, index, stage) {
        json_int_t end = json_integer_value(json_object_get(stage, "start_us")) +
                         json_integer_value(json_object_get(stage, "duration_us"));

        total = MAX_OF(total, end);
    }
    *stages = json_pack("{s:s, s:s, s:I, s:o, s:o}", "id", row.id, "name", row.name, "total_us",
                        total, "boot",
                        *row_text(&row, "boot") ? json_string(row_text(&row, "boot")) : json_null(),
                        "stages", list ? json_incref(list) : json_array());
    return 0;
}

int vm_open_folder(Ramet *ramet, const char *reference, char id[33], int *fd, Error *error) {
    _cleanup_vm_row_ VmRow row = {0};
    int r = vms_find(ramet->store, reference, &row, error);

    if (r >= 0)
        r = vm_folder_open(ramet, row.id, fd, error);
    if (r >= 0)
        (void)snprintf(id, VM_ID_SIZE, "%s", row.id);
    return r;
}

static bool state_meets(const char *state, const char *wanted) {
    return str_equal(state, wanted) ||
           (str_equal(wanted, STATE_STOPPED) && str_equal(state, STATE_FAILED)) ||
           /* nothing that is waited for comes after this by itself */
           str_equal(state, STATE_FAILED);
}

/* Waits for the next event or the client's end. */
static int wait_event(int event_fd, int cancel_fd, Error *error) {
    struct pollfd fds[2] = {{.fd = event_fd, .events = POLLIN},
                            {.fd = cancel_fd, .events = POLLIN}};
    eventfd_t count;

    while (poll(fds, 2, -1) < 0)
        if (errno != EINTR)
            return error_set_errno(error, errno, "cannot wait for an event");
    if (fds[1].revents)
        return error_set(error, ERROR_CANCELLED, ECANCELED, "the client went away");
    (void)eventfd_read(event_fd, &count);
    return 0;
}

/* What is said of a VM that was removed while somebody waited for it. */
static json_t *describe_gone(const VmRow *row) {
    return json_pack("{s:s, s:s, s:s, s:b}", "id", row->id, "name", row->name, "state",
                     STATE_STOPPED, "removed", 1);
}

/* 1: it is in that state (or gone); 0: not yet. */
static int look(Ramet *ramet, const VmRow *known, const char *state, json_t **vm, Error *error) {
    _cleanup_vm_row_ VmRow row = {0};
    _cleanup_error_ Error failure = ERROR_INIT;
    int r = vms_get(ramet->store, known->id, &row, &failure);

    if (r == -ENOENT) {
        if (vm)
            *vm = describe_gone(known);
        return 1;
    }
    if (r < 0)
        return error_move(error, &failure);
    if (!state_meets(row.state, state))
        return 0;
    r = vm_answer(ramet, &row, vm, error);
    return r < 0 ? r : 1;
}

static int check_state_name(const char *state, Error *error) {
    static const char *const known[] = {STATE_CREATED, STATE_STARTING, STATE_RUNNING, STATE_PAUSED,
                                        STATE_STOPPED, STATE_FAILED,   "standby"};

    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (str_equal(state, known[i]))
            return 0;
    return error_set(error, ERROR_USAGE, EINVAL, "%.40s is no state to wait for", state);
}

int vm_wait(Ramet *ramet, Operation *operation, const char *reference, const char *state,
            json_t **vm, Error *error) {
    _cleanup_vm_row_ VmRow row = {0};
    int fd, r;

    if (!state)
        state = STATE_STOPPED;
    r = check_state_name(state, error);
    if (r >= 0)
        r = vms_find(ramet->store, reference, &row, error);
    if (r < 0)
        return r;
    fd = ramet_subscribe(ramet);
    if (fd < 0)
        return error_set_errno(error, -fd, "cannot follow the events");
    while ((r = look(ramet, &row, state, vm, error)) == 0) {
        r = wait_event(fd, operation->cancel_fd, error);
        if (r < 0)
            break;
    }
    ramet_unsubscribe(ramet, fd);
    return r < 0 ? r : 0;
}
