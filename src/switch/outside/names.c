/* SPDX-License-Identifier: Apache-2.0 */
#include "switch/outside/names.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "switch/outside/dns.h"
#include "switch/outside/resolver.h"
#include "switch/ports/table.h"

#define QUERY_ROOM 4096

void names_answer(Port *port, const UdpPeer *peer, const uint8_t *data, size_t size) {
    Switch *net = port->owner;
    DnsQuery query;
    uint8_t answer[DNS_ANSWER_MAX];
    int code = dns_read_query(&query, data, size);
    if (code < 0)
        return;
    size_t answered = code == DNS_OK ? dns_answer(net, &query, answer, sizeof(answer)) : 0;
    if (answered == 0 && code == DNS_OK && net->network.uplink) {
        if (resolver_ask(net->resolver, port, peer, &query))
            return;
        code = DNS_FAILED;
    }
    if (answered == 0)
        answered = dns_refuse(&query, code == DNS_OK ? DNS_NO_NAME : (DnsCode)code, answer,
                              sizeof(answer));
    reply_udp_to(port, peer, answer, answered);
}

/* ---- the socket ---- */

/* The bridge lets nobody send from another's address, so it tells the port. */
static void on_query(void *data, uint32_t events) {
    Switch *net = data;
    uint8_t query[QUERY_ROOM], ip[4];
    struct sockaddr_in from = {.sin_family = AF_UNSPEC};
    socklen_t length = sizeof(from);
    UdpPeer peer = {.ethertype = ETHERTYPE_IP4};
    ssize_t size = recvfrom(net->names.fd, query, sizeof(query), MSG_DONTWAIT,
                            (struct sockaddr *)&from, &length);
    if (size <= 0 || from.sin_family != AF_INET)
        return;
    memcpy(ip, &from.sin_addr, sizeof(ip));
    Port *port = table_find_ip(net, ip);
    if (!port)
        return;
    memcpy(peer.guest, ip, sizeof(ip));
    memcpy(peer.guest_port, &from.sin_port, sizeof(peer.guest_port));
    names_answer(port, &peer, query, (size_t)size);
}

static bool is_udp(int fd) {
    int domain = 0, type = 0;
    socklen_t size = sizeof(type);
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_INET &&
           getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_DGRAM;
}

int names_listen(Switch *net, int fd, Error *error) {
    Watched made = {.fd = fd};
    if (!is_udp(fd))
        return error_set(error, ERROR_USAGE, EINVAL, "names are answered at a UDP socket");
    int r = watched_add(net->loop, &made, EPOLLIN, on_query, net);
    if (r < 0)
        return error_set_errno(error, -r, "cannot wait for queries");
    watched_close(&net->names);
    net->names = made;
    return 0;
}
