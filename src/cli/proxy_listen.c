/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/proxy_listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/process/spawn.h"
#include "base/str.h"
#include "cli/output.h"

#define BACKLOG 64

int proxy_listen_parse(const char *text, struct sockaddr_in *address, Error *error) {
    const char *colon = strrchr(text, ':');
    _cleanup_free_ char *ip =
        colon ? str_format("%.*s", (int)(colon - text), text) : str_copy("127.0.0.1");
    struct sockaddr_in made = {.sin_family = AF_INET};
    uint64_t port;
    if (parse_u64(colon ? colon + 1 : text, UINT16_MAX, &port) < 0 ||
        inet_pton(AF_INET, ip, &made.sin_addr) != 1)
        return error_set(error, ERROR_USAGE, EINVAL, "\"%s\" is not [IP:]PORT", text);
    made.sin_port = htons((uint16_t)port);
    *address = made;
    return 0;
}

static int open_listener(const char *where, int *fd, Error *error) {
    struct sockaddr_in address;
    _cleanup_close_ int listener = -1;
    const int on = 1;
    int r = proxy_listen_parse(where, &address, error);
    if (r < 0)
        return r;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0)
        return error_set_errno(error, errno, "cannot make a socket");
    (void)setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(listener, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(listener, BACKLOG) < 0)
        return error_set_errno(error, errno, "cannot listen on %s", where);
    *fd = TAKE_FD(listener);
    return 0;
}

/* Port 0 has become one by now. */
static int print_address(int listener, Error *error) {
    struct sockaddr_in address = {0};
    socklen_t size = sizeof(address);
    char ip[INET_ADDRSTRLEN];
    _cleanup_free_ char *line = NULL;
    if (getsockname(listener, (struct sockaddr *)&address, &size) < 0)
        return error_set_errno(error, errno, "cannot learn where it listens");
    line = str_format("%s:%u", inet_ntop(AF_INET, &address.sin_addr, ip, sizeof(ip)),
                      ntohs(address.sin_port));
    return output_line(line, error);
}

static int serve(int connection, const char *vm, const char *port, const char *wait_s,
                 Error *error) {
    char *argv[] = {(char *)"ramet", (char *)"proxy", (char *)"--wait", (char *)wait_s,
                    (char *)"--",    (char *)vm,      (char *)port,     NULL};
    const SpawnFd fds[] = {
        {connection, STDIN_FILENO}, {connection, STDOUT_FILENO}, {STDERR_FILENO, STDERR_FILENO}};
    SpawnOptions options = {.program = "/proc/self/exe",
                            .argv = argv,
                            .fds = fds,
                            .n_fds = ARRAY_SIZE(fds),
                            .die_with_parent = true};
    pid_t pid;
    return spawn_process(&options, &pid, error);
}

static bool is_of_one_connection(int errnum) {
    return errnum == ECONNABORTED || errnum == EINTR || errnum == EPROTO || errnum == EPERM;
}

int proxy_listen(const char *where, const char *vm, const char *port, const char *wait_s,
                 Error *error) {
    _cleanup_close_ int listener = -1;
    int r = open_listener(where, &listener, error);
    if (r >= 0)
        r = print_address(listener, error);
    (void)signal(SIGCHLD, SIG_IGN); /* nobody waits for them */
    while (r >= 0) {
        _cleanup_close_ int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (connection >= 0)
            r = serve(connection, vm, port, wait_s, error);
        else if (!is_of_one_connection(errno))
            r = error_set_errno(error, errno, "cannot accept connections on %s", where);
    }
    return r;
}
