/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/str.h"
#include "keeper/keeper.h"
#include "memory/dirty.h"
#include "memory/seal.h"
#include "proto/keeper.h"

/* The daemon's requests (proto/keeper.h). A connection gathers descriptors until its request comes,
 * has that one request, and gets its answers; then it only waits to be closed by the other side. A
 * watch stays and gets events. An answer that does not fit into the socket's buffer means that
 * nobody reads: the connection is closed, never waited for. One message a connection and round. */

#define CONNECTIONS_MAX 64
#define PAYLOAD_ROOM 8192
#define FDS_MAX (2 * PLAN_DISKS_MAX * PLAN_CHAIN_MAX + 32)

typedef enum Waiting {
    WAITING_REQUEST,
    WAITING_START,
    WAITING_SNAPSHOT,
    WAITING_AGENT, /* for the DONE of a request to the agent */
    WAITING_END,   /* for QEMU's */
    WAITING_EVENTS,
    WAITING_NOTHING, /* it was answered */
} Waiting;

struct Connection {
    Keeper *keeper;   /* borrowed */
    Connection *next; /* owned by the keeper's list */
    Watched socket;
    Waiting waiting;
    const char *operation; /* static; while waiting for the agent */
    LinkStream *stream;    /* borrowed from the link; while waiting for the agent */
    int *fds;              /* owned, as are they */
    size_t n_fds;
};

static void close_fds(Connection *connection) {
    for (size_t i = 0; i < connection->n_fds; i++)
        fd_close(connection->fds[i]);
    free(connection->fds);
    connection->fds = NULL;
    connection->n_fds = 0;
}

static void unlink_connection(Connection *connection) {
    for (Connection **link = &connection->keeper->connections; *link; link = &(*link)->next)
        if (*link == connection) {
            *link = connection->next;
            return;
        }
}

static void connection_close(Connection *connection) {
    Keeper *keeper = connection->keeper;
    if (connection->stream)
        link_cancel(&keeper->link, connection->stream);
    if (keeper->start.connection == connection)
        keeper->start.connection = NULL;
    snapshot_connection_gone(keeper, connection);
    unlink_connection(connection);
    watched_close(&connection->socket);
    close_fds(connection);
    free(connection);
}

/* Sending */

/* Closing must not happen here: callers go on with the connection. The end that shutdown makes is
 * seen by its handler. */
static void send_json(Connection *connection, const json_t *message) {
    _cleanup_free_ char *text = json_to_text(message);
    size_t size = strlen(text);
    if (size > KEEPER_MESSAGE_MAX ||
        send(connection->socket.fd, text, size, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)size)
        (void)shutdown(connection->socket.fd, SHUT_RDWR);
}

void request_event(Connection *connection, json_t *event) {
    if (connection)
        send_json(connection, event);
    json_decref(event);
}

void request_answer(Connection *connection, json_t *ok) {
    _cleanup_json_ json_t *message = json_pack("{s:o}", "ok", ok ? ok : json_object());
    if (!connection)
        return;
    send_json(connection, message);
    connection->waiting = WAITING_NOTHING;
}

void request_fail(Connection *connection, const Error *error) {
    if (!connection)
        return;
    _cleanup_json_ json_t *message = json_from_error(error);
    send_json(connection, message);
    connection->waiting = WAITING_NOTHING;
}

void request_tell_watchers(Keeper *keeper, json_t *event) {
    for (Connection *item = keeper->connections; item; item = item->next)
        if (item->waiting == WAITING_EVENTS)
            send_json(item, event);
    json_decref(event);
}

void request_answer_waiting(Keeper *keeper) {
    const char *how = keeper->machine.killed_for ? "killed" : "agent";
    for (Connection *item = keeper->connections; item; item = item->next)
        if (item->waiting == WAITING_END)
            request_answer(item, json_pack("{s:s}", "how", how));
}

void request_wait_for_end(Connection *connection) {
    connection->waiting = WAITING_END;
}

void request_wait_for_start(Connection *connection) {
    connection->waiting = WAITING_START;
}

void request_wait_for_snapshot(Connection *connection) {
    connection->waiting = WAITING_SNAPSHOT;
}

/* Operations. Each answers, or fails with an error for the caller to answer, or leaves the
 * connection waiting. */

typedef int (*Operation)(Connection *connection, const json_t *request, Error *error);

static int op_start(Connection *connection, const json_t *request, Error *error) {
    connection->waiting = WAITING_START;
    return start_begin(connection->keeper, connection, request, connection->fds, connection->n_fds,
                       error);
}

static json_t *describe_disks(const Keeper *keeper) {
    json_t *disks = json_array();
    for (size_t i = 0; i < keeper->plan.n_disks; i++)
        if (!keeper->plan.disks[i].read_only)
            json_array_append_new(disks,
                                  json_pack("{s:I, s:I}", "device",
                                            (json_int_t)keeper->machine.disk_devices[i], "inode",
                                            (json_int_t)keeper->machine.disk_inodes[i]));
    return disks;
}

static json_t *hex_json(const uint8_t *bytes) {
    char text[2 * 16 + 1];
    hex_encode(bytes, 16, text);
    return json_string(text);
}

static json_t *describe_restorable(const Keeper *keeper) {
    return json_pack("{s:I, s:I, s:o, s:o, s:I, s:I, s:b, s:o}", "answered_at_us",
                     (json_int_t)keeper->start.answered_at_usec, "ready_at_us",
                     (json_int_t)keeper->start.ready_at_usec, "marker",
                     hex_json(keeper->link.marker), "ram_nonce",
                     hex_json(keeper->welcome.ram_nonce), "counter",
                     (json_int_t)MIN_OF(keeper->welcome.counter, (uint64_t)INT64_MAX), "snapshots",
                     (json_int_t)keeper->snapshots, "snapshotting", keeper->snapshot != NULL,
                     "disks", describe_disks(keeper));
}

static int op_status(Connection *connection, const json_t *request, Error *error) {
    const Keeper *keeper = connection->keeper;
    bool ready = keeper->state == KEEPER_RUNNING || keeper->state == KEEPER_PAUSED;
    bool owner_gone = keeper->plan.remove_on_exit && !session_has_owner(keeper);
    json_t *status = json_pack(
        "{s:s, s:I, s:I, s:I, s:s, s:b, s:b, s:I, s:s, s:b}", "state", keeper_state_name(keeper),
        "qemu_pid", (json_int_t)keeper->machine.process.pid, "qemu_start_ticks",
        (json_int_t)keeper->machine.process.start_ticks, "keeper_pid", (json_int_t)getpid(), "boot",
        keeper->boot, "ready", ready, "agent", keeper->link.state == LINK_UP, "clients",
        (json_int_t)session_count(keeper), "vm_id", keeper->plan.vm_id, "owner_gone", owner_gone);
    json_object_update_missing_new(status, describe_restorable(keeper));
    request_answer(connection, status);
    return 0;
}

static int op_watch(Connection *connection, const json_t *request, Error *error) {
    connection->waiting = WAITING_EVENTS;
    request_event(connection, json_pack("{s:s, s:s}", "event", "state", "state",
                                        keeper_state_name(connection->keeper)));
    return 0;
}

static int op_session(Connection *connection, const json_t *request, Error *error) {
    if (connection->n_fds != 1)
        return error_set(error, ERROR_USAGE, 0,
                         "the client's stream did not come with the request");
    int r =
        session_open(connection->keeper, connection->operation, request, connection->fds[0], error);
    if (r < 0)
        return r;
    connection->n_fds = 0;
    request_answer(connection, NULL);
    return 0;
}

static int op_stop(Connection *connection, const json_t *request, Error *error) {
    uint64_t timeout_usec = 0;
    int r = json_opt_u64("stop", request, "timeout_us", &timeout_usec, error);
    if (r == 0)
        r = power_stop(connection->keeper, timeout_usec, error);
    if (r == 0)
        request_wait_for_end(connection);
    return r;
}

static int op_kill(Connection *connection, const json_t *request, Error *error) {
    Keeper *keeper = connection->keeper;
    if (keeper->machine.pid.fd < 0)
        return error_set(error, ERROR_CONFLICT, 0, "the VM is %s", keeper_state_name(keeper));
    request_wait_for_end(connection);
    machine_kill(keeper, "killed");
    return 0;
}

static int op_pause(Connection *connection, const json_t *request, Error *error) {
    int r = power_pause(connection->keeper, error);
    if (r == 0)
        request_answer(connection, NULL);
    return r;
}

static int op_resume(Connection *connection, const json_t *request, Error *error) {
    int r = power_resume(connection->keeper, error);
    if (r == 0)
        request_answer(connection, NULL);
    return r;
}

static int op_snapshot(Connection *connection, const json_t *request, Error *error) {
    return snapshot_begin(connection->keeper, connection, request, connection->fds,
                          connection->n_fds, error);
}

static int op_claim(Connection *connection, const json_t *request, Error *error) {
    return claim_begin(connection->keeper, connection, request, error);
}

/* Only the last writable layer is resized; QEMU refuses what it cannot do. */
static int op_resize(Connection *connection, const json_t *request, Error *error) {
    Keeper *keeper = connection->keeper;
    uint64_t disk = 0, bytes = 0;
    int r = json_opt_u64("resize", request, "disk", &disk, error);
    if (r == 0)
        r = json_get_u64("resize", request, "bytes", &bytes, error);
    if (r < 0)
        return r;
    if (keeper->state != KEEPER_RUNNING && keeper->state != KEEPER_PAUSED)
        return error_set(error, ERROR_CONFLICT, 0, "the VM is %s", keeper_state_name(keeper));
    if (disk >= keeper->plan.n_disks || keeper->plan.disks[disk].read_only)
        return error_set(error, ERROR_USAGE, 0, "the VM has no such disk");
    r = machine_call(keeper, "block_resize",
                     json_pack("{s:s, s:I}", "node-name", keeper->machine.disk_nodes[disk], "size",
                               (json_int_t)MIN_OF(bytes, (uint64_t)INT64_MAX)),
                     NULL, error);
    if (r == 0)
        request_answer(connection, NULL);
    return r;
}

static int op_memory(Connection *connection, const json_t *request, Error *error) {
    Keeper *keeper = connection->keeper;
    _cleanup_guest_ram_ GuestRam ram = GUEST_RAM_INIT;
    _cleanup_page_ranges_ PageRanges dirty = {0};
    struct stat base;
    if (keeper->machine.pid.fd < 0 || fstat(keeper->memory_fd, &base) < 0)
        return error_set(error, ERROR_CONFLICT, 0, "the VM is %s", keeper_state_name(keeper));
    int r = guest_ram_open(keeper->machine.process.pid, keeper->memory_fd,
                           keeper->plan.memory_bytes, &ram, error);
    if (r == 0)
        r = dirty_pages_collect(&ram, &dirty, error);
    if (r == 0)
        request_answer(connection,
                       json_pack("{s:I, s:I, s:I, s:I, s:b}", "dirty_bytes",
                                 (json_int_t)dirty.pages * RAM_PAGE_SIZE, "ram_bytes",
                                 (json_int_t)ram.size_bytes, "base_device", (json_int_t)base.st_dev,
                                 "base_inode", (json_int_t)base.st_ino, "sealed",
                                 memory_is_sealed(keeper->memory_fd)));
    return r;
}

/* Requests to the agent */

static void on_agent_done(void *data, const Frame *frame) {
    Connection *connection = data;
    if (frame && frame->type != FRAME_DONE)
        return;
    _cleanup_error_ Error error = ERROR_INIT;
    uint64_t value = 0;
    connection->stream = NULL;
    int r = -ECONNRESET;
    if (!frame)
        (void)error_set(&error, ERROR_GUEST_NOT_READY, ECONNRESET,
                        "the connection to the guest's agent was lost");
    else
        r = done_read(frame, connection->operation, ERROR_FAILED, &value, &error);
    if (r < 0)
        request_fail(connection, &error);
    else
        request_answer(connection,
                       json_pack("{s:I}", "value", (json_int_t)MIN_OF(value, (uint64_t)INT64_MAX)));
}

static int op_agent(Connection *connection, const json_t *request, Error *error);

typedef struct OperationEntry {
    const char *name;
    Operation run;
    uint8_t frame; /* for op_agent */
} OperationEntry;

static const OperationEntry operations[] = {
    {"attach", op_session, 0},      {"claim", op_claim, 0},
    {"copy_in", op_session, 0},     {"copy_out", op_session, 0},
    {"exec", op_session, 0},        {"freeze", op_agent, FRAME_FREEZE},
    {"grow", op_agent, FRAME_GROW}, {"kill", op_kill, 0},
    {"memory", op_memory, 0},       {"pause", op_pause, 0},
    {"ping", op_agent, FRAME_PING}, {"resize", op_resize, 0},
    {"resume", op_resume, 0},       {"snapshot", op_snapshot, 0},
    {"start", op_start, 0},         {"status", op_status, 0},
    {"stop", op_stop, 0},           {"sync", op_agent, FRAME_SYNC},
    {"thaw", op_agent, FRAME_THAW}, {"watch", op_watch, 0},
};

static const OperationEntry *find_operation(const char *name) {
    for (size_t i = 0; i < ARRAY_SIZE(operations); i++)
        if (str_equal(operations[i].name, name))
            return &operations[i];
    return NULL;
}

/* Only GROW has a parameter: the mount point, "/" unless told. */
static int op_agent(Connection *connection, const json_t *request, Error *error) {
    Keeper *keeper = connection->keeper;
    uint8_t type = find_operation(connection->operation)->frame;
    uint8_t payload[PAYLOAD_ROOM];
    ssize_t size = 0;
    if (type == FRAME_GROW)
        size = payload_write_path(request, "/", payload, sizeof payload, error);
    if (size < 0)
        return (int)size;
    int r = link_open(&keeper->link, type, payload, (size_t)size, on_agent_done, connection,
                      &connection->stream);
    if (r == -ENOTCONN)
        return error_set(error, ERROR_GUEST_NOT_READY, ENOTCONN,
                         "the guest's agent does not answer");
    if (r < 0)
        return error_set_errno(error, -r, "cannot ask the guest's agent");
    connection->waiting = WAITING_AGENT;
    port_flush(keeper);
    return 0;
}

/* Receiving */

static int run_request(Connection *connection, const json_t *request, Error *error) {
    const char *name;
    int r = json_get_string("the request", request, "op", &name, error);
    if (r < 0)
        return r;
    const OperationEntry *entry = find_operation(name);
    if (!entry)
        return error_set(error, ERROR_USAGE, 0, "there is no such operation");
    connection->operation = entry->name;
    return entry->run(connection, request, error);
}

static void take_request(Connection *connection, const json_t *request) {
    _cleanup_error_ Error error = ERROR_INIT;
    if (run_request(connection, request, &error) < 0)
        request_fail(connection, &error);
    close_fds(connection);
}

static int add_fds(Connection *connection, const int *fds, size_t n_fds) {
    int *bigger = NULL;
    if (connection->n_fds + n_fds <= FDS_MAX)
        bigger = realloc(connection->fds, (connection->n_fds + n_fds) * sizeof *bigger);
    if (!bigger) {
        for (size_t i = 0; i < n_fds; i++)
            fd_close(fds[i]);
        return -ENOMEM;
    }
    connection->fds = bigger;
    memcpy(bigger + connection->n_fds, fds, n_fds * sizeof *fds);
    connection->n_fds += n_fds;
    return 0;
}

/* Negative: the connection is of no use any more. */
static int take_message(Connection *connection, const char *text, size_t size) {
    _cleanup_json_ json_t *message = NULL;
    if (connection->waiting != WAITING_REQUEST ||
        json_parse("the request", text, size, &message, NULL) < 0 || !json_is_object(message))
        return -EBADMSG;
    if (json_object_get(message, "op"))
        take_request(connection, message);
    else if (!json_object_get(message, "fds"))
        return -EBADMSG;
    return 0;
}

static int receive(Connection *connection) {
    static char text[KEEPER_MESSAGE_MAX];
    int fds[FD_PASS_MAX];
    size_t n_fds = FD_PASS_MAX;
    ssize_t size = fd_receive_message(connection->socket.fd, text, sizeof text, fds, &n_fds);
    if (size == -EAGAIN)
        return 0;
    if (size <= 0)
        return size < 0 ? (int)size : -ECONNRESET;
    if (n_fds > 0 && add_fds(connection, fds, n_fds) < 0)
        return -EBADMSG;
    return take_message(connection, text, (size_t)size);
}

static void on_connection(void *data, uint32_t events) {
    Connection *connection = data;
    Keeper *keeper = connection->keeper;
    if (receive(connection) < 0)
        connection_close(connection);
    port_flush(keeper);
    end_check(keeper);
}

static bool is_allowed(const Keeper *keeper, int fd) {
    struct ucred peer;
    socklen_t size = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
           (peer.uid == 0 || peer.uid == keeper->starter);
}

static size_t count_connections(const Keeper *keeper) {
    size_t count = 0;
    for (const Connection *item = keeper->connections; item; item = item->next)
        count++;
    return count;
}

static void add_connection(Keeper *keeper, int fd) {
    Connection *connection = calloc(1, sizeof *connection);
    if (!connection) {
        fd_close(fd);
        return;
    }
    *connection = (Connection){.keeper = keeper, .socket.fd = fd, .next = keeper->connections};
    keeper->connections = connection;
    connection->socket.source = loop_add_fd(keeper->loop, fd, EPOLLIN, on_connection, connection);
    if (!connection->socket.source)
        connection_close(connection);
}

static void on_listener(void *data, uint32_t events) {
    Keeper *keeper = data;
    int fd = accept4(keeper->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    if (!is_allowed(keeper, fd) || count_connections(keeper) >= CONNECTIONS_MAX)
        fd_close(fd);
    else
        add_connection(keeper, fd);
}

int request_listen(Keeper *keeper) {
    int r = fd_set_cloexec(keeper->listener.fd, true);
    if (r == 0)
        r = fd_set_nonblocking(keeper->listener.fd, true);
    return r < 0 ? r : watched_add(keeper, &keeper->listener, EPOLLIN, on_listener);
}

void request_close_all(Keeper *keeper) {
    while (keeper->connections)
        connection_close(keeper->connections);
}
