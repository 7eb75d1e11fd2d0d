/* SPDX-License-Identifier: Apache-2.0 */

/* Looking at VMs without changing them; no locks are taken. */

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>

#include "base/json.h"
#include "base/process/process.h"
#include "base/str.h"
#include "home/home.h"
#include "home/inside.h"
#include "home/operation.h"
#include "home/row.h"
#include "machine/look/describe.h"
#include "machine/look/memory_use.h"
#include "run/hand_over.h"
#include "store/vms.h"
#include "verbs/filter.h"
#include "verbs/verbs.h"

/* What the private memory is for: read for this answer alone, since it takes milliseconds. */
static void explain_memory(const VmRow *row, json_t *memory) {
    ProcessIdentity qemu = row->runtime.qemu;
    MemoryUse use;
    uint64_t sum;
    if (!json_is_integer(json_object_get(memory, "private_bytes")) ||
        memory_use_read(qemu.pid, (ino_t)row->runtime.memory_inode, &use) < 0)
        return;
    sum = use.guest_bytes + use.code_bytes + use.qemu_bytes;
    (void)json_object_set_new(memory, "guest_bytes", json_integer((json_int_t)use.guest_bytes));
    (void)json_object_set_new(memory, "code_bytes", json_integer((json_int_t)use.code_bytes));
    (void)json_object_set_new(memory, "qemu_bytes", json_integer((json_int_t)use.qemu_bytes));
    (void)json_object_set_new(memory, "private_bytes", json_integer((json_int_t)sum));
}

int vm_inspect(Home *home, const char *reference, json_t **vm, Error *error) {
    _cleanup_vm_row_ VmRow row = {0};
    int r = vms_find(home->store, reference, &row, error);
    if (r >= 0)
        r = vm_describe(home, &row, vm, error);
    if (r >= 0)
        explain_memory(&row, json_object_get(*vm, "memory"));
    return r;
}

int vm_list(Home *home, bool all, const json_t *filters, json_t **list, Error *error) {
    _cleanup_json_ json_t *array = json_array();
    const VmFilter filter = {.list = filters};
    VmRow *rows = NULL;
    size_t count = 0;
    int r = vm_filter_check(&filter, error);
    if (r >= 0)
        r = vms_list(home->store, &rows, &count, error);
    all |= vm_filter_has_state(&filter);

    for (size_t i = 0; r >= 0 && i < count; i++) {
        json_t *vm = NULL;
        if (row_is_hidden(&rows[i]) || (!all && !vm_state_is_active(rows[i].state)) ||
            !vm_filter_matches(&filter, &rows[i]))
            continue;
        r = vm_describe(home, &rows[i], &vm, error);
        if (r >= 0)
            (void)json_array_append_new(array, vm);
    }
    vm_rows_free(rows, count);
    if (r < 0)
        return r;
    *list = TAKE_PTR(array);
    return 0;
}

int vm_stages(Home *home, const char *reference, json_t **stages, Error *error) {
    _cleanup_vm_row_ VmRow row = {0};
    json_int_t total = 0;
    json_t *list, *stage;
    size_t index;
    int r = vms_find(home->store, reference, &row, error);
    if (r < 0)
        return r;
    list = row.runtime.stages;
    json_array_foreach(list, index, stage) {
        json_int_t end = json_integer_value(json_object_get(stage, "start_us")) +
                         json_integer_value(json_object_get(stage, "duration_us"));
        total = MAX_OF(total, end);
    }
    *stages =
        json_pack("{s:s, s:s, s:I, s:o, s:o}", "id", row.id, "name", row.name, "total_us", total,
                  "boot", *row.runtime.boot ? json_string(row.runtime.boot) : json_null(), "stages",
                  list ? json_incref(list) : json_array());
    return 0;
}

int vm_open_folder(Home *home, const char *reference, char id[33], int *fd, Error *error) {
    _cleanup_vm_row_ VmRow row = {0};
    int r = vms_find(home->store, reference, &row, error);
    if (r >= 0)
        r = vm_folder_open(home, row.id, fd, error);
    if (r >= 0)
        (void)snprintf(id, VM_ID_SIZE, "%s", row.id);
    return r;
}

/* Nothing that is waited for comes after `failed` by itself. */
static bool state_meets(VmState state, VmState wanted) {
    return state == wanted || state == STATE_FAILED;
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
                     vm_state_name(STATE_STOPPED), "removed", 1);
}

/* Has its program ended, or will it never? */
static int program_is_over(const VmRow *row, Error *error) {
    if (!row->spec.has_program) {
        error_set(error, ERROR_CONFLICT, EINVAL, "%s has no program of its own", row->name);
        error_set_hint(error, "wait for the VM: ramet wait %s", row->name);
        return -EINVAL;
    }
    return row->runtime.program || state_meets(row->state, STATE_STOPPED) ||
           row->state == STATE_CREATED;
}

static int is_met(const VmRow *row, VmState state, bool program, Error *error) {
    return program ? program_is_over(row, error) : state_meets(row->state, state);
}

/* 1: it is in that state (or gone), or its program has ended; 0: not yet. */
static int check_state(Home *home, const VmRow *known, VmState state, bool program, json_t **vm,
                       Error *error) {
    _cleanup_vm_row_ VmRow row = {0};
    _cleanup_error_ Error failure = ERROR_INIT;
    int r = vms_get(home->store, known->id, &row, &failure);
    if (r == -ENOENT) {
        if (vm)
            *vm = describe_gone(known);
        return 1;
    }
    if (r < 0)
        return error_move(error, &failure);
    r = is_met(&row, state, program, error);
    if (r <= 0)
        return r;
    r = vm_answer(home, &row, vm, error);
    return r < 0 ? r : 1;
}

/* name NULL: stopped. */
static int read_state(const char *name, VmState *state, Error *error) {
    static const VmState known[] = {STATE_CREATED, STATE_STARTING, STATE_RUNNING, STATE_PAUSED,
                                    STATE_STOPPED, STATE_FAILED,   STATE_STANDBY};
    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (str_equal(name ? name : "stopped", vm_state_name(known[i]))) {
            *state = known[i];
            return 0;
        }
    return error_set(error, ERROR_USAGE, EINVAL, "%.40s is no state to wait for", name);
}

int vm_wait(Home *home, Operation *operation, const char *reference, const char *wanted,
            bool program, json_t **vm, Error *error) {
    _cleanup_vm_row_ VmRow row = {0};
    VmState state = STATE_STOPPED;
    int fd, r = read_state(wanted, &state, error);
    if (r >= 0)
        r = vms_find(home->store, reference, &row, error);
    if (r < 0)
        return r;
    fd = home_subscribe(home);
    if (fd < 0)
        return error_set_errno(error, -fd, "cannot follow the events");
    while ((r = check_state(home, &row, state, program, vm, error)) == 0) {
        r = wait_event(fd, operation->cancel_fd, error);
        if (r < 0)
            break;
    }
    home_unsubscribe(home, fd);
    return r < 0 ? r : 0;
}
