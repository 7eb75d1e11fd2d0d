/* SPDX-License-Identifier: Apache-2.0 */
#include "switch/outside/forwards.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <slirp/libslirp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "switch/frame/packet.h"
#include "switch/outside/uplink.h"
#include "switch/ports/table.h"

static struct in_addr address_of(const uint8_t ip[4]) {
    struct in_addr address;
    memcpy(&address, ip, sizeof(address));
    return address;
}

static bool same_place(const SwitchForward *a, const SwitchForward *b) {
    return a->udp == b->udp && a->host_port == b->host_port &&
           memcmp(a->host_ip, b->host_ip, 4) == 0;
}

static SwitchForward *find(const Switch *net, const SwitchForward *forward) {
    for (size_t i = 0; i < net->n_forwards; i++)
        if (same_place(&net->forwards[i], forward))
            return &net->forwards[i];
    return NULL;
}

static const char *protocol_of(const SwitchForward *forward) {
    return forward->udp ? "UDP" : "TCP";
}

static int listen_failed(const SwitchForward *forward, int errnum, Error *error) {
    int r =
        error_set_errno(error, errnum, "cannot listen on %u.%u.%u.%u:%u (%s)", forward->host_ip[0],
                        forward->host_ip[1], forward->host_ip[2], forward->host_ip[3],
                        (unsigned)forward->host_port, protocol_of(forward));
    if (error && errnum == EADDRINUSE)
        error->kind = ERROR_CONFLICT;
    error_set_hint(error, errnum == EADDRINUSE ? "another program has it; take another port"
                          : errnum == EACCES   ? "only root may; take a port from 1024 on"
                                               : "is the address one of this host?");
    return r;
}

static int listen_at(const SwitchForward *forward, struct in_addr at, uint64_t host_port,
                     const Port *port) {
    errno = 0;
    int r = slirp_add_hostfwd(uplink_slirp(uplink_of(port)), forward->udp, at, (int)host_port,
                              address_of(port->lease.ip), (int)forward->guest_port);
    return r < 0 ? -(errno ? errno : EIO) : 0;
}

static bool is_type(int fd, int wanted) {
    int type = 0;
    socklen_t size = sizeof(type);
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == wanted;
}

/* libslirp makes its sockets itself: it makes one of no importance, of the number that is free next
 * in a program with one thread, and ours takes the place of that. */
static int listen_by(const SwitchForward *forward, int socket_fd, const Port *port) {
    const struct in_addr loopback = {.s_addr = htonl(INADDR_LOOPBACK)};
    int type = forward->udp ? SOCK_DGRAM : SOCK_STREAM, next = fcntl(socket_fd, F_DUPFD_CLOEXEC, 0);
    if (next < 0 || !is_type(socket_fd, type))
        return next < 0 ? -errno : (int)(fd_close(next), -EINVAL);
    (void)fd_close(next);
    int r = listen_at(forward, loopback, 0, port);
    if (r == 0 && (!is_type(next, type) || dup3(socket_fd, next, O_CLOEXEC) < 0))
        abort(); /* another libslirp than the one that this is about */
    return r;
}

static int listen_on(const SwitchForward *forward, int socket_fd, const Port *port, Error *error) {
    int r = socket_fd >= 0
                ? listen_by(forward, socket_fd, port)
                : listen_at(forward, address_of(forward->host_ip), forward->host_port, port);
    return r < 0 ? listen_failed(forward, -r, error) : 0;
}

static void unlisten(const Switch *net, const SwitchForward *forward) {
    const Port *port = table_find_id(net, forward->id);
    if (!port || !uplink_of(port))
        return;
    (void)slirp_remove_hostfwd(uplink_slirp(uplink_of(port)), forward->udp,
                               address_of(forward->host_ip), (int)forward->host_port);
}

static int check_forward(const Switch *net, const SwitchForward *forward, const Port *port,
                         Error *error) {
    if (!port)
        return error_set(error, ERROR_NOT_FOUND, ENOENT, "there is no port %s", forward->id);
    if (forward->host_port == 0 || forward->guest_port == 0)
        return error_set(error, ERROR_USAGE, EINVAL,
                         "a forward needs a port of the host and of the guest");
    if (is_unset(port->lease.ip, sizeof(port->lease.ip)))
        return error_set(error, ERROR_CONFLICT, EADDRNOTAVAIL, "port %s has no IPv4 address",
                         forward->id);
    if (find(net, forward))
        return error_set(error, ERROR_CONFLICT, EEXIST, "the host's %s port %u leads elsewhere",
                         protocol_of(forward), (unsigned)forward->host_port);
    if (net->n_forwards == SWITCH_FORWARDS_MAX)
        return error_set(error, ERROR_CONFLICT, ENOSPC, "a network has at most %u forwards",
                         SWITCH_FORWARDS_MAX);
    return 0;
}

static int remember(Switch *net, const SwitchForward *forward) {
    SwitchForward *grown = realloc(net->forwards, (net->n_forwards + 1) * sizeof(*grown));
    if (!grown)
        return -ENOMEM;
    net->forwards = grown;
    net->forwards[net->n_forwards++] = *forward;
    return 0;
}

int forward_add(Switch *net, const SwitchForward *forward, int socket_fd, Error *error) {
    const SwitchForward *known = find(net, forward);
    Port *port = table_find_id(net, forward->id);
    if (known && str_equal(known->id, forward->id) && known->guest_port == forward->guest_port)
        return 0;
    int r = check_forward(net, forward, port, error);
    if (r == 0)
        r = uplink_start_of(port, error);
    if (r == 0)
        r = listen_on(forward, socket_fd, port, error);
    if (r < 0)
        return r;
    r = remember(net, forward);
    if (r < 0)
        unlisten(net, forward);
    return r < 0 ? error_set(error, ERROR_NO_MEMORY, ENOMEM, "no memory for a forward") : 0;
}

static void forget(Switch *net, SwitchForward *forward) {
    unlisten(net, forward);
    size_t after = (size_t)(net->forwards + net->n_forwards - (forward + 1));
    memmove(forward, forward + 1, after * sizeof(*forward));
    net->n_forwards--;
}

int forward_remove(Switch *net, const SwitchForward *forward, Error *error) {
    SwitchForward *known = find(net, forward);
    if (!known)
        return error_set(error, ERROR_NOT_FOUND, ENOENT, "nothing leads from the host's %s port %u",
                         protocol_of(forward), (unsigned)forward->host_port);
    forget(net, known);
    return 0;
}

void forwards_remove_to(Switch *net, const char *id) {
    for (size_t i = net->n_forwards; i-- > 0;)
        if (str_equal(net->forwards[i].id, id))
            forget(net, &net->forwards[i]);
}

/* A port that only root may have is kept by its socket. */
static int renew(const Switch *net, const SwitchForward *forward, const Port *port, Error *error) {
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr = address_of(forward->host_ip),
                             .sin_port = htons((uint16_t)forward->host_port)};
    int found = uplink_find_socket(uplink_of(port), &at, forward->udp ? SOCK_DGRAM : SOCK_STREAM);
    _cleanup_close_ int kept = found < 0 ? -1 : fcntl(found, F_DUPFD_CLOEXEC, 0);
    unlisten(net, forward);
    return listen_on(forward, kept, port, error);
}

int forwards_renew_to(Switch *net, const char *id, Error *error) {
    const Port *port = table_find_id(net, id);
    for (size_t i = 0; i < net->n_forwards; i++) {
        if (!str_equal(net->forwards[i].id, id))
            continue;
        int r = renew(net, &net->forwards[i], port, error);
        if (r < 0)
            return r;
    }
    return 0;
}
