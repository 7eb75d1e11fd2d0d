/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/api/request.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"
#include "keeper/api/detached.h"
#include "keeper/guest/payload.h"
#include "keeper/qemu/block_stats.h"
#include "keeper/qemu/throttle.h"
#include "keeper/tasks/adopt.h"
#include "keeper/tasks/power.h"
#include "keeper/tasks/snapshot.h"
#include "keeper/tasks/start.h"
#include "memory/dirty.h"
#include "memory/seal.h"

#define PAYLOAD_ROOM 8192

/* Operations. Each answers, or fails with an error for the caller to answer, or leaves the
 * connection waiting. */

typedef int (*RequestHandler)(Api *api, Connection *connection, const json_t *request,
                              Error *error);

static int op_start(Api *api, Connection *connection, const json_t *request, Error *error) {
    return start_begin(api->vm, &connection->reply, request, connection->fds, connection->n_fds,
                       error);
}

static int op_claim(Api *api, Connection *connection, const json_t *request, Error *error) {
    return start_claim(api->vm, &connection->reply, request, error);
}

static int op_snapshot(Api *api, Connection *connection, const json_t *request, Error *error) {
    return snapshot_begin(api->vm, &connection->reply, request, connection->fds, connection->n_fds,
                          error);
}

static int op_adopt(Api *api, Connection *connection, const json_t *request, Error *error) {
    return adopt_begin(api->vm, &connection->reply, request, connection->fds, connection->n_fds,
                       error);
}

static json_t *describe_disks(const Vm *vm) {
    json_t *disks = json_array();
    for (size_t i = 0; i < vm->plan.n_disks; i++)
        if (!vm->plan.disks[i].read_only)
            json_array_append_new(disks, json_pack("{s:I, s:I}", "device",
                                                   (json_int_t)vm->machine.disks[i].device, "inode",
                                                   (json_int_t)vm->machine.disks[i].inode));
    return disks;
}

static int op_status(Api *api, Connection *connection, const json_t *request, Error *error) {
    const Vm *vm = api->vm;
    bool ready = vm->state == VM_RUNNING || vm->state == VM_PAUSED;
    bool owner_gone = vm->plan.remove_on_exit && !sessions_have_owner(&api->sessions);
    json_t *status = json_pack(
        "{s:s, s:I, s:I, s:I, s:s, s:b, s:b, s:I, s:s, s:b, s:b, s:I, s:I, s:I, s:b, s:o}", "state",
        keeper_state_name(vm), "qemu_pid", (json_int_t)vm->machine.process.pid, "qemu_start_ticks",
        (json_int_t)vm->machine.process.start_ticks, "keeper_pid", (json_int_t)getpid(), "boot",
        vm->boot, "ready", ready, "agent", vm->channel.link.state == LINK_UP, "clients",
        (json_int_t)sessions_count(&api->sessions), "vm_id", vm->plan.vm_id, "owner_gone",
        owner_gone, "responsive", !vm->pulse.silent, "answered_at_us",
        (json_int_t)vm->start.answered_at_usec, "ready_at_us", (json_int_t)vm->start.ready_at_usec,
        "snapshots", (json_int_t)vm->snapshots, "snapshotting", vm->snapshot != NULL, "disks",
        describe_disks(vm));
    json_object_set_new(status, "no_room", json_boolean(vm_lacks_room(vm)));
    json_object_set_new(status, "program", vm_describe_program(vm));
    json_object_set_new(status, "active_at_us",
                        json_integer((json_int_t)api->sessions.active_usec));
    if (*vm->memory_owner)
        json_object_update_missing_new(status, vm_describe_memory(vm));
    json_object_update_missing_new(status, vm_describe_agent(vm));
    reply_answer(&connection->reply, status);
    return 0;
}

static int op_peers(Api *api, Connection *connection, const json_t *request, Error *error) {
    _cleanup_json_ json_t *ok = json_object();
    json_t *cards = json_array();
    int fds[PLAN_CARDS_MAX];
    size_t count = 0;
    json_object_set_new(ok, "cards", cards);
    for (size_t i = 0; i < ARRAY_SIZE(api->vm->peer_fds); i++) {
        if (api->vm->peer_fds[i] < 0)
            continue;
        json_array_append_new(cards, json_integer((json_int_t)i));
        fds[count++] = api->vm->peer_fds[i];
    }
    connection_answer_with(connection, ok, fds, count);
    return 0;
}

static int op_watch(Api *api, Connection *connection, const json_t *request, Error *error) {
    connection->waiting = WAITING_EVENTS;
    reply_event(&connection->reply, vm_describe_state(api->vm));
    return 0;
}

/* The session owns the client's descriptor then, which is the first, and no others. */
static int op_session(Api *api, Connection *connection, const json_t *request, Error *error) {
    json_t *answer = NULL;
    int r = sessions_open(&api->sessions, connection->operation, request, connection->fds,
                          connection->n_fds, &answer, error);
    if (r < 0)
        return r;
    if (!answer)
        connection->fds[0] = -1;
    reply_answer(&connection->reply, answer);
    return 0;
}

static int op_exec_list(Api *api, Connection *connection, const json_t *request, Error *error) {
    reply_answer(&connection->reply, json_pack("{s:o}", "list", detached_list(&api->sessions)));
    return 0;
}

static int op_exec_kill(Api *api, Connection *connection, const json_t *request, Error *error) {
    int r = detached_signal(&api->sessions, request, error);
    if (r == 0)
        reply_answer(&connection->reply, NULL);
    return r;
}

static int op_stop(Api *api, Connection *connection, const json_t *request, Error *error) {
    uint64_t timeout_usec = 0, signal = 0;
    int r = json_opt_u64("stop", request, "timeout_us", &timeout_usec, error);
    if (r == 0)
        r = json_opt_u64("stop", request, "signal", &signal, error);
    if (r == 0)
        r = power_stop(api->vm, timeout_usec, signal, error);
    connection->waiting = WAITING_END;
    return r;
}

static int op_kill(Api *api, Connection *connection, const json_t *request, Error *error) {
    connection->waiting = WAITING_END;
    return power_kill(api->vm, error);
}

static int op_abandon(Api *api, Connection *connection, const json_t *request, Error *error) {
    Vm *vm = api->vm;
    if (vm->machine.pid.fd < 0)
        return power_kill(vm, error); /* which says why not */
    connection->waiting = WAITING_END;
    power_abandon(vm, "killed");
    return 0;
}

/* Only the last writable layer is resized; QEMU refuses what it cannot do. */
static int op_resize(Api *api, Connection *connection, const json_t *request, Error *error) {
    Vm *vm = api->vm;
    uint64_t disk = 0, bytes = 0;
    int r = json_opt_u64("resize", request, "disk", &disk, error);
    if (r == 0)
        r = json_get_u64("resize", request, "bytes", &bytes, error);
    if (r == 0)
        r = vm_require_up(vm, error);
    if (r == 0 && (disk >= vm->plan.n_disks || vm->plan.disks[disk].read_only))
        r = error_set(error, ERROR_USAGE, 0, "the VM has no such disk");
    if (r == 0)
        r = machine_call(&vm->machine, "block_resize",
                         json_pack("{s:s, s:I}", "node-name", vm->machine.disks[disk].node, "size",
                                   (json_int_t)MIN_OF(bytes, (uint64_t)INT64_MAX)),
                         NULL, error);
    if (r == 0)
        reply_answer(&connection->reply, NULL);
    return r;
}

static int op_throttle(Api *api, Connection *connection, const json_t *request, Error *error) {
    Vm *vm = api->vm;
    uint64_t bytes = 0, ops = 0;
    int r = json_opt_u64("throttle", request, "bytes", &bytes, error);
    if (r == 0)
        r = json_opt_u64("throttle", request, "ops", &ops, error);
    if (r == 0 && vm->state != VM_WARM)
        r = vm_require_up(vm, error);
    if (r < 0)
        return r;
    vm->plan.io_bytes = MIN_OF(bytes, (uint64_t)INT64_MAX);
    vm->plan.io_ops = MIN_OF(ops, (uint64_t)INT64_MAX);
    r = throttle_set(&vm->machine, &vm->plan, error);
    if (r == 0)
        reply_answer(&connection->reply, NULL);
    return r;
}

static int op_memory(Api *api, Connection *connection, const json_t *request, Error *error) {
    const Vm *vm = api->vm;
    _cleanup_guest_ram_ GuestRam ram = GUEST_RAM_INIT;
    _cleanup_page_ranges_ PageRanges dirty = {0};
    struct stat base;
    if (vm->machine.pid.fd < 0 || fstat(vm->memory_fd, &base) < 0)
        return error_set(error, ERROR_CONFLICT, 0, "the VM is %s", keeper_state_name(vm));
    int r =
        guest_ram_open(vm->machine.process.pid, vm->memory_fd, vm->plan.memory_bytes, &ram, error);
    if (r == 0)
        r = dirty_pages_collect(&ram, &dirty, error);
    if (r == 0)
        reply_answer(&connection->reply,
                     json_pack("{s:I, s:I, s:I, s:I, s:b}", "dirty_bytes",
                               (json_int_t)dirty.pages * RAM_PAGE_SIZE, "ram_bytes",
                               (json_int_t)ram.size_bytes, "base_device", (json_int_t)base.st_dev,
                               "base_inode", (json_int_t)base.st_ino, "sealed",
                               memory_is_sealed(vm->memory_fd)));
    return r;
}

/* Not while the monitor is needed for what must not wait. */
static int op_disk_stats(Api *api, Connection *connection, const json_t *request, Error *error) {
    Vm *vm = api->vm;
    _cleanup_json_ json_t *answer = NULL;
    json_t *stats = NULL;
    int r = 0;
    if (vm->snapshot || (vm->state != VM_RUNNING && vm->state != VM_PAUSED))
        r = error_set(error, ERROR_CONFLICT, EBUSY, "the VM's monitor is busy");
    if (r == 0)
        r = machine_call(&vm->machine, "query-blockstats", NULL, &answer, error);
    if (r == 0)
        r = block_stats_sum(answer, &stats, error);
    if (r == 0)
        reply_answer(&connection->reply, stats);
    return r;
}

/* Requests to the agent */

static void on_result(void *data, const Frame *frame) {
    Connection *connection = data;
    if (frame && frame->type != FRAME_RESULT)
        return;
    _cleanup_error_ Error error = ERROR_INIT;
    AgentResult result = {0};
    connection->stream = NULL;
    int r = frame ? agent_result_read(frame, connection->operation, ERROR_FAILED, &result, &error)
                  : error_set(&error, ERROR_GUEST_NOT_READY, ECONNRESET,
                              "the connection to the guest's agent was lost");
    if (r < 0) {
        reply_fail(&connection->reply, &error);
        return;
    }
    reply_note(&connection->reply, agent_result_note(frame));
    reply_answer(
        &connection->reply,
        json_pack("{s:I}", "value", (json_int_t)MIN_OF(result.value, (uint64_t)INT64_MAX)));
}

static void cancel(Api *api, Connection *connection) {
    if (connection->stream)
        link_cancel(&api->vm->channel.link, connection->stream);
    connection->stream = NULL;
}

static void on_asker_gone(void *data) {
    Connection *connection = data;
    cancel(connection->all->data, connection);
}

static int op_agent(Api *api, Connection *connection, const json_t *request, Error *error);

static int op_power(Api *api, Connection *connection, const json_t *request, Error *error);

typedef struct RequestEntry {
    const char *name;
    RequestHandler run;
    uint8_t frame;                      /* for op_agent */
    int (*power)(Vm *vm, Error *error); /* for op_power */
} RequestEntry;

static const RequestEntry requests[] = {
    {"abandon", op_abandon},
    {"adopt", op_adopt},
    {"attach", op_session},
    {"claim", op_claim},
    {"connect", op_session},
    {"copy_in", op_session},
    {"copy_out", op_session},
    {"disk_stats", op_disk_stats},
    {"exec", op_session},
    {"exec_detached", op_session},
    {"exec_kill", op_exec_kill},
    {"exec_list", op_exec_list},
    {"exec_wait", op_session},
    {"read", op_session},
    {"stat", op_session},
    {"write", op_session},
    {"freeze", op_agent, FRAME_FREEZE},
    {"grow", op_agent, FRAME_FS_RESIZE},
    {"kill", op_kill},
    {"memory", op_memory},
    {"peers", op_peers},
    {"pause", op_power, 0, power_pause},
    {"ping", op_agent, FRAME_PING},
    {"resize", op_resize},
    {"resume", op_power, 0, power_resume},
    {"snapshot", op_snapshot},
    {"start", op_start},
    {"status", op_status},
    {"stop", op_stop},
    {"sync", op_agent, FRAME_SYNC},
    {"thaw", op_agent, FRAME_THAW},
    {"throttle", op_throttle},
    {"watch", op_watch},
};

static const RequestEntry *find_request(const char *name) {
    for (size_t i = 0; i < ARRAY_SIZE(requests); i++)
        if (str_equal(requests[i].name, name))
            return &requests[i];
    return NULL;
}

static int op_power(Api *api, Connection *connection, const json_t *request, Error *error) {
    int r = find_request(connection->operation)->power(api->vm, error);
    if (r == 0)
        reply_answer(&connection->reply, NULL);
    return r;
}

/* Only FS_RESIZE has a parameter: the mount point, "/" unless told. */
static int op_agent(Api *api, Connection *connection, const json_t *request, Error *error) {
    Vm *vm = api->vm;
    uint8_t type = find_request(connection->operation)->frame;
    uint8_t payload[PAYLOAD_ROOM];
    ssize_t size = 0;
    int r = pulse_require(&vm->pulse, error);
    if (r < 0)
        return r;
    pulse_asked(&vm->pulse);
    if (type == FRAME_FS_RESIZE)
        size = payload_write_path(request, "/", payload, sizeof(payload), error);
    if (size < 0)
        return (int)size;
    r = link_open(&vm->channel.link, type, payload, (size_t)size, on_result, connection,
                  &connection->stream);
    if (r == -ENOTCONN)
        return error_set(error, ERROR_GUEST_NOT_READY, ENOTCONN,
                         "the guest's agent does not answer");
    if (r < 0)
        return error_set_errno(error, -r, "cannot ask the guest's agent");
    reply_keep(&connection->reply, on_asker_gone, connection);
    return 0;
}

static int on_request(Connection *connection, void *data, const json_t *request, Error *error) {
    const char *name;
    int r = json_get_string("the request", request, "op", &name, error);
    if (r < 0)
        return r;
    const RequestEntry *entry = find_request(name);
    if (!entry)
        return error_set(error, ERROR_USAGE, 0, "there is no such operation");
    connection->operation = entry->name;
    return entry->run(data, connection, request, error);
}

int api_listen(Api *api, Vm *vm, int listen_fd) {
    api->vm = vm;
    sessions_init(&api->sessions, vm);
    return connections_listen(&api->connections, vm->loop, listen_fd, on_request, api);
}

void api_free(Api *api) {
    sessions_free(&api->sessions);
    connections_free(&api->connections);
}

void api_fail_waiting(Api *api, const Error *error) {
    for (Connection *item = api->connections.list; item; item = item->next) {
        if (!item->stream)
            continue;
        cancel(api, item);
        reply_fail(&item->reply, error);
    }
    sessions_end_all(&api->sessions, error);
}

void api_tell_end(Api *api, const json_t *exit) {
    const char *how = api->vm->machine.killed_for ? "killed" : "agent";
    connections_tell(&api->connections, exit);
    for (Connection *item = api->connections.list; item; item = item->next)
        if (item->waiting == WAITING_END)
            reply_answer(&item->reply, json_pack("{s:s}", "how", how));
}
