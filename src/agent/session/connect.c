/* SPDX-License-Identifier: Apache-2.0 */
/* How it works: 127.0.0.1 is tried first, then ::1, for servers that listen there only. Neither
 * needs a network. connect(2) does not block: even here it may wait, when the server accepts
 * nothing. */

#include "agent/session/connect.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "proto/agent.h"
#include "proto/tlv.h"

int connect_parse(const void *payload, size_t size, uint16_t *port, Result *result) {
    TlvReader reader;
    TlvField field;
    uint64_t value = 0;
    int r;
    tlv_read(&reader, payload, size);
    while ((r = tlv_next(&reader, &field)) > 0)
        if (field.tag == TAG_PORT && (r = tlv_u64(&field, &value)) < 0)
            break;
    if (r < 0)
        return result_fail(result, -r, "cannot read the request to connect");
    if (value == 0 || value > UINT16_MAX)
        return result_say(result, EINVAL, "there is no such port");
    *port = (uint16_t)value;
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

static int on_ipv6(Stream *stream) {
    return outcome(stream);
}

/* Nobody listens at the one address. When the other cannot even be tried, it is the first failure
 * that the user should know. */
static int try_ipv6(Stream *stream, int failure) {
    if (failure != -ECONNREFUSED && failure != -ENETUNREACH && failure != -EADDRNOTAVAIL)
        return failure;
    close_fd(&stream->in_fd);
    close_fd(&stream->out_fd);
    stream->connecting = on_ipv6;
    return begin_ipv6(stream) < 0 ? failure : -EINPROGRESS;
}

static int on_ipv4(Stream *stream) {
    int r = outcome(stream);
    return r < 0 ? try_ipv6(stream, r) : 0;
}

int connect_start(Stream *stream, uint16_t port, Result *result) {
    stream->is_socket = true;
    stream->port = port;
    stream->connecting = on_ipv4;
    int r = begin_ipv4(stream);
    if (r < 0 && try_ipv6(stream, r) != -EINPROGRESS)
        return result_fail(result, -r, "cannot connect to port %u in the guest", port);
    return 0;
}
