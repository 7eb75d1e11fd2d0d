/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/keeper.h"

/* The daemon's side of a keeper's socket. A request is one message; when it has more descriptors
 * than one message can carry, the first ones go ahead in messages of their own. The order of
 * sending is the order of counting. */

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
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
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
    connection->fd = TAKE_FD(fd);
    return 0;
}

void keeper_close(KeeperConnection *connection) {
    connection->fd = fd_close(connection->fd);
}

static int send_text(int fd, const char *text, const int *fds, size_t n_fds, Error *error) {
    size_t size = strlen(text);
    ssize_t sent = fd_send_message(fd, text, size, fds, n_fds);
    if (sent == -EAGAIN)
        return error_set(error, ERROR_TIMEOUT, ETIMEDOUT, "the keeper takes no requests");
    if (sent < 0)
        return error_set_errno(error, (int)-sent, "cannot send to the keeper");
    return 0;
}

/* The text in a file of memory. */
static int put_into_file(const char *text, size_t size, Error *error) {
    _cleanup_close_ int fd = memfd_create("request", MFD_CLOEXEC);
    int r = fd < 0 ? -errno : fd_write_full(fd, text, size);
    if (r < 0)
        return error_set_errno(error, -r, "cannot send to the keeper");
    return TAKE_FD(fd);
}

/* A text that no message holds. */
static int send_body(int fd, const char *text, const int *fds, size_t n_fds, Error *error) {
    size_t size = strlen(text);
    if (size > KEEPER_BODY_MAX)
        return error_set(error, ERROR_USAGE, E2BIG, "the request is longer than %u MiB",
                         KEEPER_BODY_MAX / (1024 * 1024));
    _cleanup_close_ int file = put_into_file(text, size, error);
    if (file < 0)
        return file;
    char message[48];
    int all[FD_PASS_MAX];
    memcpy(all, fds, n_fds * sizeof(*fds));
    all[n_fds] = file;
    snprintf(message, sizeof(message), "{\"body\":%zu}", size);
    return send_text(fd, message, all, n_fds + 1, error);
}

static int send_ahead(int fd, const int *fds, size_t n_fds, Error *error) {
    char text[32];
    snprintf(text, sizeof(text), "{\"fds\":%zu}", n_fds);
    return send_text(fd, text, fds, n_fds, error);
}

int keeper_send(KeeperConnection *connection, const json_t *request, const int *fds, size_t n_fds,
                Error *error) {
    _cleanup_free_ char *text = json_to_text(request);
    bool has_body = strlen(text) > KEEPER_MESSAGE_MAX;
    while (n_fds + has_body > FD_PASS_MAX) {
        size_t n = MIN_OF(n_fds, (size_t)FD_PASS_MAX);
        int r = send_ahead(connection->fd, fds, n, error);
        if (r < 0)
            return r;
        fds += n;
        n_fds -= n;
    }
    return has_body ? send_body(connection->fd, text, fds, n_fds, error)
                    : send_text(connection->fd, text, fds, n_fds, error);
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
static int read_message(json_t *message, json_t **ok, Error *error) {
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

int keeper_await(KeeperConnection *connection, uint64_t deadline_usec, int cancel_fd,
                 KeeperEventHandler on_event, void *data, json_t **ok, Error *error) {
    for (;;) {
        _cleanup_json_ json_t *message = NULL;
        int r = keeper_receive(connection, deadline_usec, cancel_fd, &message, error);
        if (r == 0)
            r = read_message(message, ok, error);
        if (r <= 0)
            return r;
        if (on_event)
            on_event(data, message);
    }
}

int keeper_call(int vm_dir_fd, const json_t *request, const int *fds, size_t n_fds,
                uint64_t deadline_usec, int cancel_fd, KeeperEventHandler on_event, void *data,
                json_t **ok, Error *error) {
    KeeperConnection connection = {.fd = -1};
    int r = keeper_connect(vm_dir_fd, &connection, error);
    if (r == 0)
        r = keeper_send(&connection, request, fds, n_fds, error);
    if (r == 0)
        r = keeper_await(&connection, deadline_usec, cancel_fd, on_event, data, ok, error);
    keeper_close(&connection);
    return r;
}

int keeper_tell(KeeperConnection *connection, bool go_on, Error *error) {
    return send_text(connection->fd, go_on ? "{\"go_on\":true}" : "{\"go_on\":false}", NULL, 0,
                     error);
}

/* Puts each descriptor where the answer says; those that it does not name are closed. */
static void sort_peers(const json_t *cards, int *received, size_t count, int *fds) {
    for (size_t i = 0; i < PLAN_CARDS_MAX; i++)
        fds[i] = -1;
    for (size_t i = 0; i < count; i++) {
        const json_t *card = json_array_get(cards, i);
        json_int_t index = json_is_integer(card) ? json_integer_value(card) : -1;
        if (index < 0 || index >= PLAN_CARDS_MAX || fds[index] >= 0)
            fd_close(received[i]);
        else
            fds[index] = received[i];
    }
}

static int receive_peers(int fd, int *fds, uint64_t deadline_usec, Error *error) {
    char text[4096];
    int received[PLAN_CARDS_MAX];
    size_t count = PLAN_CARDS_MAX;
    _cleanup_json_ json_t *message = NULL, *ok = NULL;
    int r = wait_readable(fd, deadline_usec, -1, error);
    if (r < 0)
        return r;
    ssize_t size = fd_receive_message(fd, text, sizeof(text), received, &count);
    if (size <= 0)
        return error_set_errno(error, size < 0 ? (int)-size : ECONNRESET, "cannot ask the keeper");
    r = json_parse("the keeper's answer", text, (size_t)size, &message, error);
    if (r == 0)
        r = read_message(message, &ok, error);
    sort_peers(json_object_get(ok, "cards"), received, count, fds);
    return MIN_OF(r, 0);
}

int keeper_ask_peers(int vm_dir_fd, int fds[PLAN_CARDS_MAX], uint64_t deadline_usec, Error *error) {
    _cleanup_json_ json_t *request = json_pack("{s:s}", "op", "peers");
    KeeperConnection connection = {.fd = -1};
    int r = keeper_connect(vm_dir_fd, &connection, error);
    if (r == 0)
        r = keeper_send(&connection, request, NULL, 0, error);
    if (r == 0)
        r = receive_peers(connection.fd, fds, deadline_usec, error);
    keeper_close(&connection);
    return r;
}
