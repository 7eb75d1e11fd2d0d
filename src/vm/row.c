/* SPDX-License-Identifier: Apache-2.0 */

/* Reading and writing a VM's row, and its states. */

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "vm/internal.h"

bool state_is_active(const char *state) {
    static const char *const active[] = {STATE_STARTING, STATE_RUNNING, STATE_PAUSED,
                                         STATE_STOPPING, STATE_UNKNOWN, STATE_WARM};

    for (size_t i = 0; i < ARRAY_SIZE(active); i++)
        if (str_equal(state, active[i]))
            return true;
    return false;
}

bool state_is_hidden(const char *state) {
    return str_equal(state, STATE_CREATING) || str_equal(state, STATE_REMOVING);
}

bool row_is_hidden(const VmRow *row) {
    return state_is_hidden(row->state) || str_equal(row->state, STATE_WARM) ||
           *row_text(row, "hidden");
}

bool row_is_half_run(const VmRow *row) {
    return json_is_true(json_object_get(row->runtime, "half_run"));
}

void row_mark_half_run(VmRow *row) {
    row_set(row, "half_run", json_true());
}

int row_set_state(Ramet *ramet, VmRow *row, const char *state, const json_t *detail, Error *error) {
    _cleanup_free_ char *type = str_format("vm.%s", state);
    bool changed = !str_equal(row->state, state);
    int r;

    if (str_equal(state, STATE_RUNNING))
        row_set(row, "half_run", NULL);
    (void)snprintf(row->state, sizeof(row->state), "%s", state);
    r = vms_update(ramet->store, row, error);
    if (r >= 0 && changed && !row_is_hidden(row))
        ramet_event(ramet, type, row->id, row->name, detail);
    return r;
}

void row_set(VmRow *row, const char *key, json_t *value) {
    if (!row->runtime)
        row->runtime = json_object();
    if (value)
        (void)json_object_set_new(row->runtime, key, value);
    else
        (void)json_object_del(row->runtime, key);
}

uint64_t row_u64(const VmRow *row, const char *key) {
    return (uint64_t)json_integer_value(json_object_get(row->runtime, key));
}

const char *row_text(const VmRow *row, const char *key) {
    const char *text = json_string_value(json_object_get(row->runtime, key));

    return text ? text : "";
}

void row_set_process(VmRow *row, const char *who, const ProcessIdentity *identity) {
    json_t *value = NULL;

    if (identity && identity->pid > 0)
        value = json_pack("{s:i, s:I}", "pid", (int)identity->pid, "start_ticks",
                          (json_int_t)identity->start_ticks);
    row_set(row, who, value);
}

ProcessIdentity row_process(const VmRow *row, const char *who) {
    const json_t *value = json_object_get(row->runtime, who);

    return (ProcessIdentity){
        .pid = (pid_t)json_integer_value(json_object_get(value, "pid")),
        .start_ticks = (uint64_t)json_integer_value(json_object_get(value, "start_ticks")),
    };
}

void row_clear_run(VmRow *row) {
    static const char *const keys[] = {
        "keeper",  "qemu",        "boot",         "stages",          "exit",
        "error",   "marker",      "ram_nonce",    "counter",         "agent_version",
        "accel",   "memory_base", "memory_inode", "memory_snapshot", "memory_owner",
        "fallback"};

    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        row_set(row, keys[i], NULL);
}

int row_lock(Ramet *ramet, const char *reference, const char *what, int cancel_fd, OpLock **lock,
             VmRow *row, Error *error) {
    _cleanup_op_lock_ OpLock *taken = NULL;
    _cleanup_vm_row_ VmRow found = {0};
    VmRow again = {0};
    int r;

    r = vms_find(ramet->store, reference, &found, error);
    if (r < 0)
        return r;
    r = op_lock(ramet->locks, found.id, what, cancel_fd, &taken, error);
    if (r < 0)
        return error_add_context(error, "cannot work on %s", found.name);
    r = vms_get(ramet->store, found.id, &again, error);
    if (r < 0)
        return r;
    *row = again;
    *lock = TAKE_PTR(taken);
    return 0;
}

int vm_folder_open(Ramet *ramet, const char *id, int *fd, Error *error) {
    int opened = openat(ramet->vms_fd, id, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

    if (opened < 0)
        return error_set_errno(error, errno, "cannot open %s/vms/%s", ramet->home, id);
    *fd = opened;
    return 0;
}
