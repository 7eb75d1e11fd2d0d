/* SPDX-License-Identifier: Apache-2.0 */
/* How it works: 127.0.0.1 is tried first, then ::1, for servers that listen there only. Neither
 * needs a network. connect(2) does not block: even here it may wait, when the server accepts
 * nothing. Where nobody listens at either, a timer is polled in the place of a socket until both
 * are tried again, for as long as was asked. */

#include "agent/session/connect.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#include "proto/agent.h"
#include "proto/tlv.h"

#define RETRY_USEC 50000u
#define PATIENCE_MAX_USEC ((uint64_t)3600 * 1000000)

static int read_field(const TlvField *field, uint64_t *port, uint64_t *patience_usec) {
    switch (field->tag) {
    case TAG_PORT:
        return tlv_u64(field, port);
    case TAG_LIMIT_USEC:
        return tlv_u64(field, patience_usec);
    default:
        return 0;
    }
}

int connect_parse(const void *payload, size_t size, ConnectRequest *request, Result *result) {
    TlvReader reader;
    TlvField field;
    uint64_t port = 0;
    int r;
    *request = (ConnectRequest){0};
    tlv_read(&reader, payload, size);
    while ((r = tlv_next(&reader, &field)) > 0)
        if ((r = read_field(&field, &port, &request->patience_usec)) < 0)
            break;
    if (r < 0)
        return result_fail(result, -r, "cannot read the request to connect");
    if (port == 0 || port > UINT16_MAX)
        return result_say(result, EINVAL, "there is no such port");
    request->port = (uint16_t)port;
    return 0;
}

/* 0: it is under way. The stream has the socket then. */
static int begin(Stream *stream, const struct sockaddr *address, socklen_t size) {
    const int on = 1;
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int out = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
    int r = out < 0 ? -errno : 0;
    if (r == 0 && connect(fd, address, size) < 0 && errno != EINPROGRESS)
        r = -errno;
    if (r < 0) {
        close_fd(&out);
        close_fd(&fd);
        return r;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* only for speed */
    stream->in_fd = fd;
    stream->out_fd = out;
    return 0;
}

static int begin_ipv4(Stream *stream) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(stream->port),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    return begin(stream, (const struct sockaddr *)&address, sizeof(address));
}

static int begin_ipv6(Stream *stream) {
    struct sockaddr_in6 address = {.sin6_family = AF_INET6,
                                   .sin6_port = htons(stream->port),
                                   .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    return begin(stream, (const struct sockaddr *)&address, sizeof(address));
}

static int outcome(const Stream *stream) {
    int error = 0;
    socklen_t size = sizeof(error);
    if (getsockopt(stream->in_fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        return -errno;
    return -error;
}

static int begin_both(Stream *stream);

static int on_timer(Stream *stream) {
    close_fd(&stream->in_fd);
    return begin_both(stream);
}

static int open_timer(void) {
    const struct itimerspec soon = {.it_value = {.tv_nsec = RETRY_USEC * 1000L}};
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (fd >= 0 && timerfd_settime(fd, 0, &soon, NULL) < 0)
        close_fd(&fd);
    return fd;
}

/* Later, if somebody may listen then. */
static int end_try(Stream *stream, int r) {
    if (r != -ECONNREFUSED || now_usec() >= stream->connect_until_usec)
        return r;
    close_fd(&stream->in_fd);
    close_fd(&stream->out_fd);
    stream->in_fd = open_timer();
    stream->connecting = on_timer;
    return stream->in_fd < 0 ? r : -EINPROGRESS;
}

static int on_ipv6(Stream *stream) {
    int r = outcome(stream);
    return r < 0 ? end_try(stream, r) : 0;
}

/* Nobody listens at the one address. When the other cannot even be tried, it is the first failure
 * that the user should know. */
static int try_ipv6(Stream *stream, int failure) {
    if (failure != -ECONNREFUSED && failure != -ENETUNREACH && failure != -EADDRNOTAVAIL)
        return failure;
    close_fd(&stream->in_fd);
    close_fd(&stream->out_fd);
    stream->connecting = on_ipv6;
    return begin_ipv6(stream) < 0 ? end_try(stream, failure) : -EINPROGRESS;
}

static int on_ipv4(Stream *stream) {
    int r = outcome(stream);
    return r < 0 ? try_ipv6(stream, r) : 0;
}

static int begin_both(Stream *stream) {
    int r;
    stream->connecting = on_ipv4;
    r = begin_ipv4(stream);
    return r < 0 ? try_ipv6(stream, r) : -EINPROGRESS;
}

int connect_start(Stream *stream, const ConnectRequest *request, Result *result) {
    int r;
    stream->is_socket = true;
    stream->port = request->port;
    stream->connect_until_usec = now_usec() + MIN_OF(request->patience_usec, PATIENCE_MAX_USEC);
    r = begin_both(stream);
    return r == -EINPROGRESS
               ? 0
               : result_fail(result, -r, "cannot connect to port %u in the guest", request->port);
}
