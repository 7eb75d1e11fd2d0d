/* SPDX-License-Identifier: Apache-2.0 */
#include "switch/control.h"

/* One request is read at a time, and the next one only when its answer was taken, so a client that
 * does not read its answers is waited for by nobody and costs one message. Whoever is beyond the
 * number of connections waits in the socket's backlog. */

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "switch/requests.h"

#define LINGER_USEC (5 * USEC_PER_SEC)

typedef struct Connection {
    Control *owner;     /* borrowed */
    Watched socket;     /* fd -1: free */
    size_t answer_size; /* 0: none waits */
    uint8_t *answer;    /* owned while one waits */
} Connection;

struct Control {
    Switch *net; /* borrowed */
    Watched listening;
    bool full;
    LoopSource *linger; /* the end of a network that nobody is in */
    Connection connections[CONTROL_CONNECTIONS];
};

/* A network in which each is alone is made for who is in it; one with a name is ended by the
 * daemon. Not while anybody talks to it, who may be about to bring a port. */
static bool is_of_no_use(const Control *control) {
    const Switch *net = control->net;
    for (size_t i = 0; i < CONTROL_CONNECTIONS; i++)
        if (control->connections[i].socket.fd >= 0)
            return false;
    return net->network.apart && net->slots == 1;
}

static void look_whether_used(Control *control) {
    if (control->linger)
        loop_set_timer(control->linger,
                       is_of_no_use(control) ? clock_monotonic_usec() + LINGER_USEC : UINT64_MAX);
}

static void on_linger(void *data) {
    const Control *control = data;
    if (is_of_no_use(control))
        loop_quit(control->net->loop);
}

static void end_connection(Connection *connection) {
    Control *control = connection->owner;
    watched_close(&connection->socket);
    free(connection->answer);
    connection->answer = NULL;
    connection->answer_size = 0;
    if (control->full)
        (void)loop_set_events(control->listening.source, EPOLLIN);
    control->full = false;
    look_whether_used(control);
}

/* false: the connection has ended, or its answer waits. */
static bool send_answer(Connection *connection, const uint8_t *answer, size_t size) {
    ssize_t n = fd_send_message(connection->socket.fd, answer, size, NULL, 0);
    if (n >= 0)
        return true;
    if (n != -EAGAIN) {
        end_connection(connection);
        return false;
    }
    connection->answer = malloc(size);
    if (!connection->answer)
        abort();
    memcpy(connection->answer, answer, size);
    connection->answer_size = size;
    (void)loop_set_events(connection->socket.source, EPOLLOUT);
    return false;
}

static void send_waiting(Connection *connection) {
    uint8_t *answer = TAKE_PTR(connection->answer);
    size_t size = connection->answer_size;
    connection->answer_size = 0;
    if (send_answer(connection, answer, size))
        (void)loop_set_events(connection->socket.source, EPOLLIN);
    free(answer);
}

static void handle_message(Connection *connection, const uint8_t *data, size_t size, int fd) {
    Switch *net = connection->owner->net;
    uint8_t answer[SWITCH_MESSAGE_MAX];
    Request request = {.fd = fd};
    size_t answer_size = request_handle(net, &request, data, size, answer, sizeof(answer));
    (void)fd_close(request.fd);
    (void)send_answer(connection, answer, answer_size);
    if (net->quit)
        loop_quit(net->loop);
}

static void read_request(Connection *connection) {
    uint8_t data[SWITCH_MESSAGE_MAX];
    int fd = -1;
    size_t n_fds = 1;
    ssize_t n = fd_receive_message(connection->socket.fd, data, sizeof(data), &fd, &n_fds);
    if (n > 0)
        handle_message(connection, data, (size_t)n, n_fds > 0 ? fd : -1);
    else if (n != -EAGAIN && n != -EINTR)
        end_connection(connection);
}

static void on_connection(void *data, uint32_t events) {
    Connection *connection = data;
    if (connection->answer_size > 0 && events & EPOLLOUT)
        send_waiting(connection);
    else if (events & EPOLLIN)
        read_request(connection);
    else if (events & (EPOLLHUP | EPOLLERR))
        end_connection(connection);
}

static Connection *find_free(Control *control) {
    for (size_t i = 0; i < CONTROL_CONNECTIONS; i++)
        if (control->connections[i].socket.fd < 0)
            return &control->connections[i];
    return NULL;
}

static bool is_allowed(int fd) {
    struct ucred peer;
    socklen_t size = sizeof(peer);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
        return false;
    return peer.uid == 0 || peer.uid == geteuid();
}

static void accept_one(Control *control, Connection *connection) {
    int fd = accept4(control->listening.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    if (!is_allowed(fd)) {
        (void)fd_close(fd);
        return;
    }
    connection->socket.fd = fd;
    if (watched_add(control->net->loop, &connection->socket, EPOLLIN, on_connection, connection) <
        0)
        end_connection(connection);
}

static void on_listening(void *data, uint32_t events) {
    Control *control = data;
    Connection *connection = find_free(control);
    if (connection) {
        accept_one(control, connection);
        return;
    }
    control->full = true;
    (void)loop_set_events(control->listening.source, 0);
}

int control_new(Switch *net, int listen_fd, Control **control, Error *error) {
    Control *made = calloc(1, sizeof(*made));
    if (!made)
        return error_set(error, ERROR_NO_MEMORY, ENOMEM, "no memory for the control socket");
    made->net = net;
    made->listening.fd = listen_fd;
    for (size_t i = 0; i < CONTROL_CONNECTIONS; i++)
        made->connections[i] = (Connection){.owner = made, .socket = {.fd = -1}};
    int r = fd_set_nonblocking(listen_fd, true);
    if (r == 0)
        r = watched_add(net->loop, &made->listening, EPOLLIN, on_listening, made);
    if (r == 0)
        made->linger = loop_add_timer(net->loop, UINT64_MAX, on_linger, made);
    if (r < 0) {
        free(made);
        return error_set_errno(error, -r, "cannot wait for connections on descriptor %d",
                               listen_fd);
    }
    *control = made;
    return 0;
}

void control_free(Control *control) {
    if (!control)
        return;
    control->full = false;
    control->linger = loop_remove(control->linger);
    for (size_t i = 0; i < CONTROL_CONNECTIONS; i++)
        end_connection(&control->connections[i]);
    watched_close(&control->listening);
    free(control);
}
