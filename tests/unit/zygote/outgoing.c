/* SPDX-License-Identifier: Apache-2.0 */

/* Where a QEMU may connect to. The functions of the C library are replaced in this program, too. */

#include "zygote/outgoing.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/util.h"
#include "check.h"

/* A socket that is bound to the loopback, and where it is. */
static int open_loopback(int type, struct sockaddr_in *address) {
    socklen_t size = sizeof(*address);
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    *address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    CHECK(fd >= 0);
    CHECK_INT(bind(fd, (struct sockaddr *)address, sizeof(*address)), 0);
    CHECK_INT(getsockname(fd, (struct sockaddr *)address, &size), 0);
    return fd;
}

static void expect_refused(int family, const void *address, socklen_t size) {
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return; /* a host without IPv6 */
    CHECK_INT(connect(fd, address, size), -1);
    CHECK_INT(errno, ECONNREFUSED);
    (void)close(fd);
}

static void test_loopback(void) {
    static const char *const closed6[] = {"::1", "::ffff:127.0.0.1", "fe80::1"};
    struct sockaddr_in address;
    int listener = open_loopback(SOCK_STREAM, &address);
    CHECK_INT(listen(listener, 1), 0);
    expect_refused(AF_INET, &address, sizeof(address));
    for (size_t i = 0; i < ARRAY_SIZE(closed6); i++) {
        struct sockaddr_in6 ip6 = {.sin6_family = AF_INET6, .sin6_port = address.sin_port};
        CHECK_INT(inet_pton(AF_INET6, closed6[i], &ip6.sin6_addr), 1);
        expect_refused(AF_INET6, &ip6, sizeof(ip6));
    }
    CHECK_INT(inet_pton(AF_INET, "169.254.169.254", &address.sin_addr), 1);
    expect_refused(AF_INET, &address, sizeof(address));
    (void)close(listener);
}

/* What listens answers whoever asked. */
static void test_datagrams(void) {
    struct sockaddr_in address;
    char text[8];
    int on = 1, receiver = open_loopback(SOCK_DGRAM, &address),
        sender = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CHECK_INT(sendto(sender, "a", 1, 0, (struct sockaddr *)&address, sizeof(address)), -1);
    CHECK_INT(errno, ECONNREFUSED);
    CHECK_INT(setsockopt(sender, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
    CHECK_INT(sendto(sender, "b", 1, 0, (struct sockaddr *)&address, sizeof(address)), 1);
    CHECK_INT(recv(receiver, text, sizeof(text), 0), 1);
    CHECK_INT(text[0], 'b');
    (void)close(sender);
    (void)close(receiver);
}

/* Monitors and serial lines, and what is connected already. */
static void test_others(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t size = sizeof(address);
    int pair[2], client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0),
                 listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_INT(bind(listener, (struct sockaddr *)&address, sizeof(address.sun_family)), 0);
    CHECK_INT(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    CHECK_INT(listen(listener, 1), 0);
    CHECK_INT(connect(client, (struct sockaddr *)&address, size), 0);
    CHECK_INT(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair), 0);
    CHECK_INT(sendto(pair[0], "c", 1, 0, NULL, 0), 1);
    (void)close(pair[0]);
    (void)close(pair[1]);
    (void)close(client);
    (void)close(listener);
}

int main(void) {
    outgoing_prepare();
    RUN(test_loopback);
    RUN(test_datagrams);
    RUN(test_others);
    return 0;
}
