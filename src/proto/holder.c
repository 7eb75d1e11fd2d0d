/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/holder.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/spawn.h"
#include "base/str.h"
#include "proto/keeper.h"

#define TIMEOUT_SEC 60
#define BACKLOG 64

/* The "ok" object; the one descriptor that may come beside it goes to *fd (-1: none is wanted). */
static int read_answer(const char *text, size_t size, json_t **ok, Error *error) {
    _cleanup_json_ json_t *answer = NULL;
    Error told = ERROR_INIT;
    int r = json_parse("the holder's answer", text, size, &answer, error);
    if (r < 0)
        return r;
    if (json_is_object(json_object_get(answer, "ok"))) {
        *ok = json_incref(json_object_get(answer, "ok"));
        return 0;
    }
    if (json_to_error(answer, &told) == 0)
        return error_move(error, &told);
    return error_set(error, ERROR_FAILED, EBADMSG, "the holder's answer is neither ok nor error");
}

static int receive(int sock, json_t **ok, int *fd, Error *error) {
    _cleanup_free_ char *text = malloc(KEEPER_MESSAGE_MAX);
    _cleanup_close_ int received = -1;
    size_t n_fds = 1;
    if (!text)
        return error_set(error, ERROR_NO_MEMORY, ENOMEM, "not enough memory");
    ssize_t size = fd_receive_message(sock, text, KEEPER_MESSAGE_MAX, &received, &n_fds);
    if (size <= 0)
        return error_set_errno(error, size < 0 ? (int)-size : ECONNRESET,
                               "the memory holder does not answer");
    if (n_fds == 0)
        received = -1;
    int r = read_answer(text, (size_t)size, ok, error);
    if (r == 0 && fd && received < 0)
        r = error_set(error, ERROR_FAILED, EBADMSG, "the holder sent no descriptor");
    if (r == 0 && fd)
        *fd = TAKE_FD(received);
    return r;
}

static int connect_to(int home_dir_fd, int *sock, Error *error) {
    struct timeval timeout = {.tv_sec = TIMEOUT_SEC};
    int fd = fd_unix_connect_at(home_dir_fd, HOLDER_SOCKET_NAME, SOCK_SEQPACKET);
    if (fd == -ENOENT || fd == -ECONNREFUSED)
        return error_set(error, ERROR_NOT_FOUND, -fd, "no memory holder is running");
    if (fd < 0)
        return error_set_errno(error, -fd, "cannot connect to the memory holder");
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    *sock = fd;
    return 0;
}

/* key and memfd may be absent (NULL, -1); fd as in receive. */
static int call(int home_dir_fd, const char *op, const char *key, int memfd, json_t **ok, int *fd,
                Error *error) {
    _cleanup_json_ json_t *request = json_pack("{s:s, s:s*}", "op", op, "key", key);
    _cleanup_free_ char *text = json_to_text(request);
    _cleanup_close_ int sock = -1;
    int r = connect_to(home_dir_fd, &sock, error);
    if (r < 0)
        return r;
    ssize_t sent = fd_send_message(sock, text, strlen(text), &memfd, memfd >= 0 ? 1 : 0);
    if (sent < 0)
        return error_set_errno(error, (int)-sent, "cannot ask the memory holder");
    return receive(sock, ok, fd, error);
}

int holder_put(int home_dir_fd, const char *key, int memfd, Error *error) {
    _cleanup_json_ json_t *ok = NULL;
    return call(home_dir_fd, "put", key, memfd, &ok, NULL, error);
}

int holder_get(int home_dir_fd, const char *key, int *memfd, Error *error) {
    _cleanup_json_ json_t *ok = NULL;
    return call(home_dir_fd, "get", key, -1, &ok, memfd, error);
}

int holder_drop(int home_dir_fd, const char *key, Error *error) {
    _cleanup_json_ json_t *ok = NULL;
    return call(home_dir_fd, "drop", key, -1, &ok, NULL, error);
}

int holder_list(int home_dir_fd, json_t **bases, Error *error) {
    _cleanup_json_ json_t *ok = NULL;
    int r = call(home_dir_fd, "list", NULL, -1, &ok, NULL, error);
    if (r == 0)
        *bases = json_incref(json_object_get(ok, "bases"));
    return r;
}

int holder_quit(int home_dir_fd, Error *error) {
    _cleanup_json_ json_t *ok = NULL;
    int r = call(home_dir_fd, "quit", NULL, -1, &ok, NULL, error);
    if (r != -ENOENT && r != -ECONNREFUSED && r != -ECONNRESET) /* the last: it was just ending */
        return r;
    error_clear(error);
    return 0;
}

/* It listens before it runs, so that nobody has to wait for it. */
static int start(int home_dir_fd, const char *keeper, Error *error) {
    _cleanup_close_ int listener =
        fd_unix_listen_at(home_dir_fd, HOLDER_SOCKET_NAME, SOCK_SEQPACKET, 0600, BACKLOG);
    if (listener < 0)
        return error_set_errno(error, -listener, "cannot listen for the memory holder");
    char name[] = "ramet-keeper", hold[] = "--hold", socket_number[] = "3", folder_number[] = "4";
    char *argv[] = {name, hold, socket_number, folder_number, NULL};
    SpawnFd fds[] = {{.from = listener, .to = 3}, {.from = home_dir_fd, .to = 4}};
    SpawnOptions options = {
        .program = keeper, .argv = argv, .fds = fds, .n_fds = ARRAY_SIZE(fds), .new_session = true};
    pid_t pid;
    int status = 0, r = spawn_process(&options, &pid, error);
    if (r < 0)
        return r;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) /* it goes on in a child of its own */
        ;
    if (status != 0)
        return error_set(error, ERROR_FAILED, ECHILD, "the memory holder did not start");
    return 0;
}

int holder_ensure(int home_dir_fd, const char *keeper, Error *error) {
    _cleanup_error_ Error none = ERROR_INIT;
    int sock = -1;
    int r = connect_to(home_dir_fd, &sock, &none);
    if (r == 0) {
        fd_close(sock);
        return 0;
    }
    if (r != -ENOENT && r != -ECONNREFUSED)
        return error_move(error, &none);
    return start(home_dir_fd, keeper, error);
}
