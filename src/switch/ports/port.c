/* SPDX-License-Identifier: Apache-2.0 */
#include "switch/ports/port.h"

/* One batch is read for each event, so that ports take turns however much one of them sends. Frames
 * are written at the end of a round, in batches, too. A socket that takes no more is waited for. */

#include <errno.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/str.h"
#include "switch/frame/packet.h"
#include "switch/ports/limit.h"
#include "switch/ports/table.h"

#define SOCKET_BYTES (256 * 1024) /* that may wait in a socket; the host may allow less */

void count_drop(Switch *net, uint16_t source, SwitchDrop reason) {
    Port *port = net->ports[source];
    (port ? &port->counters : &net->counters)->drops[reason]++;
}

/* A frame of the port's, or to it. */
static void drop(Port *port, Buffer *buffer, SwitchDrop reason) {
    Switch *net = port->owner;
    count_drop(net, buffer->source != SLOT_GATEWAY ? buffer->source : port->slot, reason);
    buffer_release(&net->pool, buffer);
}

/* ---- writing ---- */

static void queue_flush(Port *port) {
    if (port->queued || port->writes)
        return;
    port->queued = true;
    port->owner->flush[port->owner->n_flush++] = port->slot;
}

static void drop_all(Port *port, SwitchDrop reason) {
    Buffer *buffer;
    for (unsigned i = 0; i < port->n_sending; i++)
        drop(port, port->sending[i], reason);
    port->n_sending = 0;
    while ((buffer = queue_take(&port->queue)))
        drop(port, buffer, reason);
}

static void wait_for_room(Port *port, bool wait) {
    if (port->writes == wait || !port->socket.source)
        return;
    port->writes = wait;
    (void)loop_set_events(port->socket.source, wait ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

/* How many of those in `sending` the socket took, or a negative errno. */
static int send_batch(Port *port) {
    struct mmsghdr messages[BATCH];
    struct iovec pieces[BATCH];
    for (unsigned i = 0; i < port->n_sending; i++) {
        pieces[i] = (struct iovec){port->sending[i]->data, port->sending[i]->size};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &pieces[i], .msg_iovlen = 1};
    }
    int n = sendmmsg(port->socket.fd, messages, port->n_sending, MSG_DONTWAIT | MSG_NOSIGNAL);
    return n < 0 ? -errno : n;
}

static void count_sent(Port *port, unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        port->counters.received_frames++;
        port->counters.received_bytes += port->sending[i]->size;
        buffer_release(&port->owner->pool, port->sending[i]);
    }
    port->n_sending -= n;
    memmove(port->sending, port->sending + n, port->n_sending * sizeof(Buffer *));
}

static void flush(Port *port) {
    int n = 0;
    if (port->owner->held) {
        wait_for_room(port, false);
        return;
    }
    while (n >= 0) {
        while (port->n_sending < BATCH && port->queue.count > 0)
            port->sending[port->n_sending++] = queue_take(&port->queue);
        if (port->n_sending == 0)
            break;
        n = send_batch(port);
        if (n > 0)
            count_sent(port, (unsigned)n);
    }
    if (n == -EAGAIN || n == -EINTR || n == -ENOBUFS) {
        wait_for_room(port, true);
        return;
    }
    wait_for_room(port, false);
    port->lease.connected = n >= 0;
    if (n < 0)
        drop_all(port, SWITCH_DROP_DISCONNECTED);
}

/* Ports that are apart are strangers to each other: one whose guest takes nothing may have an
 * eighth of the buffers that are left, so there are always some for the others (Choudhury and
 * Hahne, Dynamic Queue Length Thresholds, 1998). */
static bool has_its_share(const Port *port) {
    const Switch *net = port->owner;
    return net->network.apart && port->queue.count >= 1u + buffer_count_free(&net->pool) / 8;
}

void port_queue(Port *port, Buffer *buffer) {
    if (port->queue.count >= BATCH && !port->writes)
        flush(port);
    Buffer *dropped = has_its_share(port) ? buffer : queue_add(&port->queue, buffer);
    if (dropped)
        drop(port, dropped, SWITCH_DROP_QUEUE);
    queue_flush(port);
}

void ports_flush(Switch *net) {
    for (uint16_t i = 0; i < net->n_flush; i++) {
        Port *port = net->ports[net->flush[i]];
        if (!port)
            continue;
        port->queued = false;
        flush(port);
    }
    net->n_flush = 0;
}

void ports_resume(Switch *net) {
    for (uint16_t slot = 1; slot < net->slots; slot++) {
        Port *port = net->ports[slot];
        if (port && (port->n_sending > 0 || port->queue.count > 0))
            queue_flush(port);
    }
    ports_flush(net);
}

/* ---- reading ---- */

static unsigned take_buffers(Port *port, Buffer **buffers) {
    unsigned n = 0;
    while (n < BATCH && (buffers[n] = buffer_take(&port->owner->pool, port->slot)))
        n++;
    return n;
}

/* No buffers: what its sender sends is lost, since others need theirs. */
static void read_nothing(Port *port) {
    uint8_t byte;
    for (unsigned i = 0; i < BATCH; i++)
        if (recv(port->socket.fd, &byte, sizeof(byte), MSG_DONTWAIT) >= 0)
            count_drop(port->owner, port->slot, SWITCH_DROP_QUEUE);
}

static int receive_batch(Port *port, Buffer **buffers, unsigned n_buffers,
                         struct mmsghdr *messages) {
    struct iovec pieces[BATCH];
    for (unsigned i = 0; i < n_buffers; i++) {
        pieces[i] = (struct iovec){buffers[i]->data, FRAME_MAX};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &pieces[i], .msg_iovlen = 1};
    }
    return recvmmsg(port->socket.fd, messages, n_buffers, MSG_DONTWAIT, NULL);
}

static void take_frame(Port *port, Buffer *buffer, const struct mmsghdr *message) {
    Switch *net = port->owner;
    buffer->size = (uint16_t)message->msg_len;
    if (message->msg_hdr.msg_flags & MSG_TRUNC ||
        message->msg_len > ETHERNET_SIZE + net->network.mtu)
        drop(port, buffer, SWITCH_DROP_GIANT);
    else
        net->receive(port, buffer);
}

static void read_batch(Port *port) {
    struct mmsghdr messages[BATCH];
    Buffer *buffers[BATCH];
    unsigned n_buffers = take_buffers(port, buffers);
    if (n_buffers == 0) {
        read_nothing(port);
        return;
    }
    int n = receive_batch(port, buffers, n_buffers, messages);
    for (unsigned i = 0; i < n_buffers; i++)
        if (n > 0 && i < (unsigned)n)
            take_frame(port, buffers[i], &messages[i]);
        else
            buffer_release(&port->owner->pool, buffers[i]);
}

static void on_socket(void *data, uint32_t events) {
    Port *port = data;
    if (events & EPOLLOUT)
        flush(port);
    if (events & EPOLLIN) {
        read_batch(port);
        return;
    }
    int failed = 0;
    socklen_t size = sizeof(failed);
    if (events & EPOLLERR) /* reading it takes it away */
        (void)getsockopt(port->socket.fd, SOL_SOCKET, SO_ERROR, &failed, &size);
    if (events & EPOLLHUP || failed)
        port->lease.connected = false;
    if (events & EPOLLHUP) { /* would be told for ever */
        port->socket.source = loop_remove(port->socket.source);
        port->writes = false;
    }
}

/* ---- the lease ---- */

static bool is_taken(const Port *other, const Port *self) {
    return other && other != self;
}

static int conflict(Error *error, const SwitchPort *lease, const char *what) {
    return error_set(error, ERROR_CONFLICT, EEXIST, "port %s: its %s is another's", lease->id,
                     what);
}

static int check_lease(const Switch *net, const SwitchPort *lease, const Port *self, Error *error) {
    const SwitchNetwork *network = &net->network;
    if (!lease->id[0] || is_unset(lease->mac, 6) || lease->mac[0] & 1 || lease->guest_mac[0] & 1)
        return error_set(error, ERROR_USAGE, EINVAL, "a port needs an id and a MAC of one card");
    if (!is_unset(lease->ip, 4) && !in_prefix(lease->ip, network->subnet, network->prefix))
        return error_set(error, ERROR_USAGE, EINVAL,
                         "port %s: its IPv4 address is not in the subnet", lease->id);
    if (!is_unset(lease->ip6, 16) &&
        (!network->prefix6 || !in_prefix(lease->ip6, network->subnet6, network->prefix6)))
        return error_set(error, ERROR_USAGE, EINVAL,
                         "port %s: its IPv6 address is not in the subnet", lease->id);
    if (is_taken(table_find_mac(net, lease->mac), self) ||
        memcmp(lease->mac, network->gateway_mac, 6) == 0)
        return conflict(error, lease, "MAC");
    if (is_taken(table_find_ip(net, lease->ip), self) ||
        (!is_unset(lease->ip, 4) && (memcmp(lease->ip, network->gateway, 4) == 0 ||
                                     memcmp(lease->ip, names_ip(network), 4) == 0)))
        return conflict(error, lease, "IPv4 address");
    if (is_taken(table_find_ip6(net, lease->ip6), self) ||
        (!is_unset(lease->ip6, 16) && memcmp(lease->ip6, network->gateway6, 16) == 0))
        return conflict(error, lease, "IPv6 address");
    if (is_taken(table_find_name(net, lease->name), self))
        return conflict(error, lease, "name");
    return 0;
}

static void set_lease(Port *port, const SwitchPort *lease) {
    bool connected = port->lease.connected;
    uint64_t serial = port->lease.serial;
    port->lease = *lease;
    port->lease.connected = connected;
    port->lease.serial = serial;
    if (is_unset(lease->guest_mac, 6))
        memcpy(port->lease.guest_mac, lease->mac, 6);
    port->translated = memcmp(port->lease.guest_mac, lease->mac, 6) != 0;
    link_local_of(lease->mac, port->link_local);
    link_local_of(port->lease.guest_mac, port->guest_link_local);
}

static int check_socket(int fd, Error *error) {
    int type = 0;
    socklen_t size = sizeof(type);
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_DGRAM)
        return error_set(error, ERROR_USAGE, EINVAL,
                         "what came for the port is no datagram socket");
    return 0;
}

static int attach(Port *port, int fd, Error *error) {
    int bytes = SOCKET_BYTES, r = check_socket(fd, error);
    if (r < 0)
        return r;
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    LoopSource *source = loop_add_fd(port->owner->loop, fd, EPOLLIN, on_socket, port);
    if (!source)
        return error_set_errno(error, errno, "cannot wait for the port's frames");
    drop_all(port, SWITCH_DROP_DISCONNECTED);
    watched_close(&port->socket);
    port->socket = (Watched){.fd = fd, .source = source};
    port->writes = false;
    port->lease.connected = true;
    return 0;
}

static int find_slot(const Switch *net, uint16_t *slot, Error *error) {
    uint16_t most = net->network.apart ? SWITCH_APART_MAX : SWITCH_PORTS_MAX;
    for (uint16_t i = 1; i <= most; i++)
        if (!net->ports[i]) {
            *slot = i;
            return 0;
        }
    return error_set(error, ERROR_CONFLICT, ENOSPC, "a network has at most %u ports", most);
}

static int add_port(Switch *net, const SwitchPort *lease, int fd, ShaperHandler on_shaped,
                    Error *error) {
    uint16_t slot = 0;
    if (fd < 0 && net->names.fd < 0)
        return error_set(error, ERROR_NOT_FOUND, ENOENT, "there is no port %s, and no socket came",
                         lease->id);
    int r = find_slot(net, &slot, error);
    if (r < 0)
        return r;
    Port *port = calloc(1, sizeof(*port));
    if (!port)
        return error_set(error, ERROR_NO_MEMORY, ENOMEM, "no memory for a port");
    port->owner = net;
    port->slot = slot;
    port->socket.fd = -1;
    queue_init(&port->queue);
    r = fd >= 0 ? attach(port, fd, error) : 0;
    if (r < 0) {
        free(port);
        return r;
    }
    shaper_init(&port->shape_out, net->loop, &net->kept_bytes, on_shaped, net);
    shaper_init(&port->shape_in, net->loop, &net->kept_bytes, on_shaped, net);
    port->lease.serial = ++net->serial;
    set_lease(port, lease);
    net->ports[slot] = port;
    net->slots = MAX_OF(net->slots, (uint16_t)(slot + 1));
    table_add(net, port);
    return 0;
}

int port_set(Switch *net, const SwitchPort *lease, int fd, ShaperHandler on_shaped, Error *error) {
    Port *port = table_find_id(net, lease->id);
    int r = check_lease(net, lease, port, error);
    if (r == 0 && !port)
        r = add_port(net, lease, fd, on_shaped, error);
    else if (r == 0 && fd >= 0)
        r = attach(port, fd, error);
    if (r < 0)
        return r;
    if (port) {
        table_remove(net, port);
        set_lease(port, lease);
        table_add(net, port);
    }
    return 0;
}

static void forget_flush(Switch *net, uint16_t slot) {
    uint16_t kept = 0;
    for (uint16_t i = 0; i < net->n_flush; i++)
        if (net->flush[i] != slot)
            net->flush[kept++] = net->flush[i];
    net->n_flush = kept;
}

void port_remove(Port *port) {
    Switch *net = port->owner;
    drop_all(port, SWITCH_DROP_DISCONNECTED);
    forget_flush(net, port->slot);
    kept_forget(&net->hold, port->slot);
    kept_forget(&net->shape_out.line, port->slot);
    kept_forget(&net->shape_in.line, port->slot);
    table_remove(net, port);
    net->ports[port->slot] = NULL;
    while (net->slots > 1 && !net->ports[net->slots - 1])
        net->slots--;
    watched_close(&port->socket);
    shaper_free(&port->shape_out);
    shaper_free(&port->shape_in);
    limit_free(port);
    free(port);
}
