/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/api/connection.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "proto/keeper.h"
#include "proto/plan.h"

#define CONNECTIONS_MAX 512 /* as many as the daemon has clients */
#define FDS_MAX (2 * PLAN_DISKS_MAX * PLAN_CHAIN_MAX + 32)

static void close_fds(Connection *connection) {
    for (size_t i = 0; i < connection->n_fds; i++)
        fd_close(connection->fds[i]);
    free(connection->fds);
    connection->fds = NULL;
    connection->n_fds = 0;
}

static void unlink_connection(Connection *connection) {
    for (Connection **link = &connection->all->list; *link; link = &(*link)->next)
        if (*link == connection) {
            *link = connection->next;
            return;
        }
}

static void connection_close(Connection *connection) {
    reply_drop(&connection->reply);
    unlink_connection(connection);
    watched_close(&connection->socket);
    close_fds(connection);
    free(connection);
}

/* Sending */

/* Closing must not happen here: callers go on with the connection. The end that shutdown makes is
 * seen by its handler. */
static void send_with(Connection *connection, const json_t *message, const int *fds, size_t n_fds) {
    _cleanup_free_ char *text = json_to_text(message);
    size_t size = strlen(text);
    if (size > KEEPER_MESSAGE_MAX ||
        fd_send_message(connection->socket.fd, text, size, fds, n_fds) != (ssize_t)size)
        (void)shutdown(connection->socket.fd, SHUT_RDWR);
}

static void send_json(Connection *connection, const json_t *message) {
    send_with(connection, message, NULL, 0);
}

static void on_event(void *data, const json_t *event) {
    send_json(data, event);
}

static void on_answer(void *data, const json_t *ok) {
    Connection *connection = data;
    _cleanup_json_ json_t *message = json_pack("{s:O}", "ok", ok);
    send_json(connection, message);
    connection->waiting = WAITING_NOTHING;
}

void connection_answer_with(Connection *connection, const json_t *ok, const int *fds,
                            size_t n_fds) {
    _cleanup_json_ json_t *message = json_pack("{s:O}", "ok", ok);
    send_with(connection, message, fds, n_fds);
    connection->waiting = WAITING_NOTHING;
}

static void on_fail(void *data, const Error *error) {
    Connection *connection = data;
    _cleanup_json_ json_t *message = json_from_error(error);
    send_json(connection, message);
    connection->waiting = WAITING_NOTHING;
}

void connections_tell(Connections *connections, const json_t *event) {
    for (Connection *item = connections->list; item; item = item->next)
        if (item->waiting == WAITING_EVENTS)
            send_json(item, event);
}

/* Receiving */

static void run_request(Connection *connection, const json_t *request) {
    const Connections *all = connection->all;
    _cleanup_error_ Error error = ERROR_INIT;
    connection->waiting = WAITING_REPLY;
    if (all->handler(connection, all->data, request, &error) < 0)
        reply_fail(&connection->reply, &error);
    close_fds(connection);
}

static int add_fds(Connection *connection, const int *fds, size_t n_fds) {
    int *bigger = NULL;
    if (connection->n_fds + n_fds <= FDS_MAX)
        bigger = realloc(connection->fds, (connection->n_fds + n_fds) * sizeof(*bigger));
    if (!bigger) {
        for (size_t i = 0; i < n_fds; i++)
            fd_close(fds[i]);
        return -ENOMEM;
    }
    connection->fds = bigger;
    memcpy(bigger + connection->n_fds, fds, n_fds * sizeof(*fds));
    connection->n_fds += n_fds;
    return 0;
}

/* The last descriptor's content, which the connection gives up. */
static int read_body(Connection *connection, size_t size, char **text) {
    _cleanup_close_ int fd = connection->fds[--connection->n_fds];
    _cleanup_free_ char *read = malloc(size);
    if (!read)
        return -ENOMEM;
    if (fd_pread_full(fd, read, size, 0) != (ssize_t)size)
        return -EBADMSG;
    *text = TAKE_PTR(read);
    return 0;
}

/* A request that was too long for a message. */
static int run_body(Connection *connection, const json_t *message) {
    _cleanup_free_ char *text = NULL;
    _cleanup_json_ json_t *request = NULL;
    uint64_t size = 0;
    if (json_get_u64("body", message, "body", &size, NULL) < 0 || size == 0 ||
        size > KEEPER_BODY_MAX || connection->n_fds == 0)
        return -EBADMSG;
    int r = read_body(connection, size, &text);
    if (r < 0 || json_parse("the request", text, size, &request, NULL) < 0 ||
        !json_object_get(request, "op"))
        return -EBADMSG;
    run_request(connection, request);
    return 0;
}

/* A word to the task that works on its request. */
static int tell_task(Connection *connection, const json_t *message) {
    const json_t *go_on = json_object_get(message, "go_on");
    return json_is_boolean(go_on) ? reply_tell(&connection->reply, json_is_true(go_on)) : -EBADMSG;
}

/* Negative: the connection is of no use any more. */
static int handle_message(Connection *connection, const char *text, size_t size) {
    _cleanup_json_ json_t *message = NULL;
    if (json_parse("the request", text, size, &message, NULL) < 0 || !json_is_object(message))
        return -EBADMSG;
    if (connection->waiting == WAITING_REPLY)
        return tell_task(connection, message);
    if (connection->waiting != WAITING_REQUEST)
        return -EBADMSG;
    if (json_object_get(message, "op"))
        run_request(connection, message);
    else if (json_object_get(message, "body"))
        return run_body(connection, message);
    else if (!json_object_get(message, "fds"))
        return -EBADMSG;
    return 0;
}

static int receive(Connection *connection) {
    static char text[KEEPER_MESSAGE_MAX];
    int fds[FD_PASS_MAX];
    size_t n_fds = FD_PASS_MAX;
    ssize_t size = fd_receive_message(connection->socket.fd, text, sizeof(text), fds, &n_fds);
    if (size == -EAGAIN)
        return 0;
    if (size <= 0)
        return size < 0 ? (int)size : -ECONNRESET;
    if (n_fds > 0 && add_fds(connection, fds, n_fds) < 0)
        return -EBADMSG;
    return handle_message(connection, text, (size_t)size);
}

static void on_connection(void *data, uint32_t events) {
    Connection *connection = data;
    if (receive(connection) < 0)
        connection_close(connection);
}

/* Accepting */

static bool is_allowed(const Connections *connections, int fd) {
    struct ucred peer;
    socklen_t size = sizeof(peer);
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
           (peer.uid == 0 || peer.uid == connections->starter);
}

static size_t count(const Connections *connections) {
    size_t n = 0;
    for (const Connection *item = connections->list; item; item = item->next)
        n++;
    return n;
}

static void add(Connections *connections, int fd) {
    static const ReplyHandlers handlers = {.event = on_event, .answer = on_answer, .fail = on_fail};
    Connection *connection = calloc(1, sizeof(*connection));
    if (!connection) {
        fd_close(fd);
        return;
    }
    *connection = (Connection){.all = connections,
                               .socket.fd = fd,
                               .next = connections->list,
                               .reply = {.handlers = &handlers, .data = connection}};
    connections->list = connection;
    if (watched_add(connections->loop, &connection->socket, EPOLLIN, on_connection, connection) < 0)
        connection_close(connection);
}

static void on_listener(void *data, uint32_t events) {
    Connections *connections = data;
    int fd = accept4(connections->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    if (!is_allowed(connections, fd) || count(connections) >= CONNECTIONS_MAX)
        fd_close(fd);
    else
        add(connections, fd);
}

int connections_listen(Connections *connections, Loop *loop, int listen_fd,
                       ConnectionHandler handler, void *data) {
    *connections = (Connections){.loop = loop,
                                 .listener.fd = listen_fd,
                                 .starter = getuid(),
                                 .handler = handler,
                                 .data = data};
    int r = fd_set_cloexec(listen_fd, true);
    if (r == 0)
        r = fd_set_nonblocking(listen_fd, true);
    return r < 0 ? r : watched_add(loop, &connections->listener, EPOLLIN, on_listener, connections);
}

void connections_free(Connections *connections) {
    while (connections->list)
        connection_close(connections->list);
    watched_close(&connections->listener);
}
