/* SPDX-License-Identifier: Apache-2.0 */

/* Connections of another process over an address that is no loopback's, in a network namespace of
 * our own: they end when asked for their address, and no other does. */

#include "agent/identity/connections.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/base/util.h"
#include "check.h"

#define SKIPPED 77
#define MANY 600

static void raise_loopback(void) {
    _cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    CHECK(ioctl(fd, SIOCSIFFLAGS, &request) == 0);
}

/* label: "lo:1" */
static void add_address(const char *label, const char *address) {
    _cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq request = {0};
    struct sockaddr_in in = {.sin_family = AF_INET};
    copy_text(request.ifr_name, sizeof(request.ifr_name), label);
    (void)inet_pton(AF_INET, address, &in.sin_addr);
    memcpy(&request.ifr_addr, &in, sizeof(in));
    CHECK(ioctl(fd, SIOCSIFADDR, &request) == 0);
}

static struct sockaddr_in listen_on(int *fd) {
    struct sockaddr_in in = {.sin_family = AF_INET};
    socklen_t size = sizeof(in);
    *fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(bind(*fd, (struct sockaddr *)&in, sizeof(in)) == 0 && listen(*fd, 4) == 0);
    CHECK(getsockname(*fd, (struct sockaddr *)&in, &size) == 0);
    return in;
}

static int connect_from(const char *address, struct sockaddr_in to) {
    struct sockaddr_in from = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)inet_pton(AF_INET, address, &from.sin_addr);
    to.sin_addr = from.sin_addr;
    CHECK(bind(fd, (struct sockaddr *)&from, sizeof(from)) == 0);
    CHECK(connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0);
    return fd;
}

/* Tells how reading from each of them ends: one byte that came, or the error. */
static void __attribute__((noreturn)) run_program(struct sockaddr_in to, int out) {
    int fds[2] = {connect_from("10.9.0.2", to), connect_from("10.9.0.3", to)};
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    CHECK(write(out, "+", 1) == 1);
    for (size_t i = 0; i < 2; i++) {
        char byte = 0;
        ssize_t n = read(fds[i], &byte, 1);
        int said = n < 0 ? errno : n == 0 ? -1 : byte;
        CHECK(write(out, &said, sizeof(said)) == sizeof(said));
    }
    _exit(0);
}

/* An errno, -1 for the end of the stream, or the byte. */
static int next_end(int fd) {
    int said = 0;
    CHECK(read(fd, &said, sizeof(said)) == sizeof(said));
    return said;
}

static void test_reset(void) {
    static const uint8_t first[] = {10, 9, 0, 2}, other[] = {10, 9, 0, 4};
    int listener, out[2], accepted[2];
    char ready;
    raise_loopback();
    add_address("lo:1", "10.9.0.2");
    add_address("lo:2", "10.9.0.3");
    struct sockaddr_in to = listen_on(&listener);
    CHECK(pipe(out) == 0);
    pid_t pid = fork();
    if (pid == 0)
        run_program(to, out[1]);
    CHECK(read(out[0], &ready, 1) == 1);
    for (size_t i = 0; i < ARRAY_SIZE(accepted); i++)
        accepted[i] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    connections_prepare();
    connections_reset(other, sizeof(other));
    connections_reset(first, sizeof(first));
    connections_forget();
    int said = next_end(out[0]);
    CHECK(said == ECONNRESET || said == EPIPE || said == -1); /* by its kernel: it waits */
    CHECK(write(accepted[1], "y", 1) == 1);
    CHECK(next_end(out[0]) == 'y');
    CHECK(waitpid(pid, NULL, 0) == pid);
    for (size_t i = 0; i < ARRAY_SIZE(accepted); i++)
        (void)close(accepted[i]);
    (void)close(listener);
}

/* More than files may be open; `go` tells when to look. Says how many were reset. */
static void __attribute__((noreturn)) run_many(struct sockaddr_in to, int out, int go) {
    int fds[MANY], reset_count = 0;
    char byte;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (size_t i = 0; i < MANY; i++)
        fds[i] = connect_from("10.9.0.2", to);
    CHECK(write(out, "+", 1) == 1 && read(go, &byte, 1) == 1);
    for (size_t i = 0; i < MANY; i++)
        reset_count += recv(fds[i], &byte, 1, MSG_DONTWAIT) < 0 && errno == ECONNRESET;
    CHECK(write(out, &reset_count, sizeof(reset_count)) == sizeof(reset_count));
    _exit(0);
}

static void test_many(void) {
    static const uint8_t address[] = {10, 9, 0, 2};
    struct rlimit before, few = {.rlim_cur = 100}, after;
    int listener, out[2], go[2];
    char ready;
    add_address("lo:1", "10.9.0.2");
    struct sockaddr_in to = listen_on(&listener);
    CHECK(listen(listener, 2 * MANY) == 0 && pipe(out) == 0 && pipe(go) == 0);
    pid_t pid = fork();
    if (pid == 0)
        run_many(to, out[1], go[0]);
    CHECK(read(out[0], &ready, 1) == 1 && getrlimit(RLIMIT_NOFILE, &before) == 0);
    few.rlim_max = before.rlim_max;
    CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
    connections_prepare();
    connections_reset(address, sizeof(address));
    connections_forget();
    CHECK(getrlimit(RLIMIT_NOFILE, &after) == 0 && after.rlim_cur == few.rlim_cur);
    CHECK(write(go[1], "!", 1) == 1);
    CHECK_INT(next_end(out[0]), MANY);
    CHECK(waitpid(pid, NULL, 0) == pid && setrlimit(RLIMIT_NOFILE, &before) == 0);
    (void)close(listener);
}

/* None is at hand any more: nothing is to be reset. */
static void test_forget(void) {
    static const uint8_t any[] = {10, 9, 0, 2};
    connections_prepare();
    connections_forget();
    connections_reset(any, sizeof(any));
    connections_forget();
}

int main(void) {
    if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0) {
        printf("no network namespace of our own: %s\n", strerror(errno));
        return SKIPPED;
    }
    test_reset();
    test_many();
    test_forget();
    return 0;
}
