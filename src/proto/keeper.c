/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/keeper.h"

/* The daemon's side of a keeper's socket. A request is one message; when it has more descriptors
 * than one message can carry, the first ones go ahead in messages of their own. The order of
 * sending is the order of counting. */

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"

#define SEND_TIMEOUT_SEC 60 /* a keeper that does not even take a request is stuck */

int keeper_connect(int vm_dir_fd, KeeperConnection *connection, Error *error) {
    _cleanup_close_ int fd = fd_unix_connect_at(vm_dir_fd, KEEPER_SOCKET_NAME, SOCK_SEQPACKET);
    if (fd == -ENOENT || fd == -ECONNREFUSED)
        return error_set(error, ERROR_NOT_FOUND, -fd, "no keeper is running");
    if (fd < 0)
        return error_set_errno(error, -fd, "cannot connect to the keeper");
    struct timeval timeout = {.tv_sec = SEND_TIMEOUT_SEC};
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    connection->fd = TAKE_FD(fd);
    return 0;
}

void keeper_close(KeeperConnection *connection) {
    connection->fd = fd_close(connection->fd);
}

static int send_text(int fd, const char *text, const int *fds, size_t n_fds, Error *error) {
    size_t size = strlen(text);
    if (size > KEEPER_MESSAGE_MAX)
        return error_set(error, ERROR_USAGE, E2BIG, "the request is too long for the keeper");
    ssize_t sent = fd_send_message(fd, text, size, fds, n_fds);
    if (sent == -EAGAIN)
        return error_set(error, ERROR_TIMEOUT, ETIMEDOUT, "the keeper takes no requests");
    if (sent < 0)
        return error_set_errno(error, (int)-sent, "cannot send to the keeper");
    return 0;
}

static int send_ahead(int fd, const int *fds, size_t n_fds, Error *error) {
    char text[32];
    snprintf(text, sizeof text, "{\"fds\":%zu}", n_fds);
    return send_text(fd, text, fds, n_fds, error);
}

int keeper_send(KeeperConnection *connection, const json_t *request, const int *fds, size_t n_fds,
                Error *error) {
    _cleanup_free_ char *text = json_to_text(request);
    for (; n_fds > FD_PASS_MAX; fds += FD_PASS_MAX, n_fds -= FD_PASS_MAX) {
        int r = send_ahead(connection->fd, fds, FD_PASS_MAX, error);
        if (r < 0)
            return r;
    }
    return send_text(connection->fd, text, fds, n_fds, error);
}

static int wait_readable(int fd, uint64_t deadline_usec, int cancel_fd, Error *error) {
    struct pollfd items[] = {{.fd = fd, .events = POLLIN}, {.fd = cancel_fd, .events = POLLIN}};
    for (;;) {
        int n = poll(items, ARRAY_SIZE(items), clock_poll_timeout(deadline_usec));
        if (n < 0 && errno != EINTR)
            return error_set_errno(error, errno, "cannot wait for the keeper");
        if (n > 0 && items[0].revents)
            return 0;
        if (n > 0)
            return error_set(error, ERROR_CANCELLED, ECANCELED,
                             "cancelled while waiting for the keeper");
        if (n == 0 && clock_poll_timeout(deadline_usec) == 0)
            return error_set(error, ERROR_TIMEOUT, ETIMEDOUT, "the keeper did not answer in time");
    }
}

int keeper_receive(KeeperConnection *connection, uint64_t deadline_usec, int cancel_fd,
                   json_t **message, Error *error) {
    int r = wait_readable(connection->fd, deadline_usec, cancel_fd, error);
    if (r < 0)
        return r;
    _cleanup_free_ char *text = malloc(KEEPER_MESSAGE_MAX);
    if (!text)
        return error_set(error, ERROR_NO_MEMORY, ENOMEM, "not enough memory");
    ssize_t size = fd_receive_message(connection->fd, text, KEEPER_MESSAGE_MAX, NULL, NULL);
    if (size == 0 || size == -ECONNRESET)
        return error_set(error, ERROR_FAILED, ECONNRESET, "the keeper is gone");
    if (size < 0)
        return error_set_errno(error, (int)-size, "cannot read from the keeper");
    return json_parse("the keeper's answer", text, (size_t)size, message, error);
}

/* 1: an event; 0: the last message, with *ok filled; negative: the last message was an error. */
static int take_message(json_t *message, json_t **ok, Error *error) {
    if (json_object_get(message, "event"))
        return 1;
    json_t *answer = json_object_get(message, "ok");
    if (json_is_object(answer)) {
        *ok = json_incref(answer);
        return 0;
    }
    Error told = ERROR_INIT;
    if (json_to_error(message, &told) == 0)
        return error_move(error, &told);
    return error_set(error, ERROR_FAILED, EBADMSG, "the keeper's answer is neither ok nor error");
}

static int call(KeeperConnection *connection, const json_t *request, const int *fds, size_t n_fds,
                uint64_t deadline_usec, int cancel_fd, KeeperEventHandler on_event, void *data,
                json_t **ok, Error *error) {
    int r = keeper_send(connection, request, fds, n_fds, error);
    while (r >= 0) {
        _cleanup_json_ json_t *message = NULL;
        r = keeper_receive(connection, deadline_usec, cancel_fd, &message, error);
        if (r == 0)
            r = take_message(message, ok, error);
        if (r == 0)
            break;
        if (r > 0 && on_event)
            on_event(data, message);
    }
    return r;
}

int keeper_call(int vm_dir_fd, const json_t *request, const int *fds, size_t n_fds,
                uint64_t deadline_usec, int cancel_fd, KeeperEventHandler on_event, void *data,
                json_t **ok, Error *error) {
    KeeperConnection connection = {.fd = -1};
    int r = keeper_connect(vm_dir_fd, &connection, error);
    if (r == 0)
        r = call(&connection, request, fds, n_fds, deadline_usec, cancel_fd, on_event, data, ok,
                 error);
    keeper_close(&connection);
    return r;
}
