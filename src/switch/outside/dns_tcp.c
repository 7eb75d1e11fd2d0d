/* SPDX-License-Identifier: Apache-2.0 */
#include "switch/outside/dns_tcp.h"

/* How it works: the uplink makes of a guest's connection to the gateway one to the host's loopback.
 * There we listen, on a port of the kernel's choice, and accept nobody but the uplink itself. On
 * the way the ports are exchanged. So libslirp has the TCP, and here are streams of queries.
 *
 * A stream reads a query, answers it by what is known here, or asks the host's resolvers over TCP
 * and passes their answer on, whatever it says; then it reads the next one. Nothing of it blocks;
 * who is slow is ended. */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "switch/outside/dns.h"
#include "switch/outside/resolver.h"
#include "switch/outside/uplink.h"

#define STREAMS_MAX 32
#define STREAM_USEC (10u * USEC_PER_SEC) /* for each step */
#define LENGTH_SIZE 2                    /* in front of each message */
#define QUERY_MAX 1232
#define ANSWER_MAX 65535

typedef struct Stream {
    DnsTcp *owner;  /* borrowed */
    Watched client; /* fd -1: free */
    Watched server; /* a resolver; fd -1: none is asked */
    bool asked;     /* it has the query */
    unsigned tries;
    uint64_t deadline_usec;
    size_t n_query; /* bytes that are here */
    uint8_t query[LENGTH_SIZE + QUERY_MAX];
    size_t n_answer, n_sent;
    uint8_t *answer; /* owned, LENGTH_SIZE + ANSWER_MAX; NULL: none */
} Stream;

struct DnsTcp {
    Switch *net;    /* borrowed */
    Uplink *uplink; /* borrowed: whose sockets connect */
    Watched listening;
    uint8_t port[2]; /* that we listen on */
    LoopSource *timer;
    Stream streams[STREAMS_MAX];
};

static const uint8_t dns_port[2] = {0, DNS_PORT};

/* ---- streams ---- */

static void end_stream(Stream *stream) {
    watched_close(&stream->client);
    watched_close(&stream->server);
    free(stream->answer);
    stream->answer = NULL;
}

static void set_timer(DnsTcp *dns) {
    uint64_t next = UINT64_MAX;
    for (size_t i = 0; i < STREAMS_MAX; i++)
        if (dns->streams[i].client.fd >= 0)
            next = MIN_OF(next, dns->streams[i].deadline_usec);
    loop_set_timer(dns->timer, next);
}

static void begin_step(Stream *stream) {
    stream->deadline_usec = clock_monotonic_usec() + STREAM_USEC;
    set_timer(stream->owner);
}

static void on_timer(void *data) {
    DnsTcp *dns = data;
    uint64_t now = clock_monotonic_usec();
    for (size_t i = 0; i < STREAMS_MAX; i++)
        if (dns->streams[i].client.fd >= 0 && dns->streams[i].deadline_usec <= now)
            end_stream(&dns->streams[i]);
    set_timer(dns);
}

static void read_next(Stream *stream) {
    stream->n_query = 0;
    free(stream->answer);
    stream->answer = NULL;
    (void)loop_set_events(stream->client.source, EPOLLIN);
    begin_step(stream);
}

static void write_answer(Stream *stream) {
    ssize_t n = send(stream->client.fd, stream->answer + stream->n_sent,
                     stream->n_answer - stream->n_sent, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        end_stream(stream);
        return;
    }
    stream->n_sent += n > 0 ? (size_t)n : 0;
    if (stream->n_sent == stream->n_answer)
        read_next(stream);
    else
        (void)loop_set_events(stream->client.source, EPOLLOUT);
}

/* The answer stands behind its length. */
static void begin_answer(Stream *stream, size_t size) {
    put_be16(stream->answer, (uint16_t)size);
    stream->n_answer = LENGTH_SIZE + size;
    stream->n_sent = 0;
    watched_close(&stream->server);
    begin_step(stream);
    write_answer(stream);
}

/* ---- resolvers ---- */

static void refuse(Stream *stream, DnsCode code) {
    DnsQuery query;
    (void)dns_read_query(&query, stream->query + LENGTH_SIZE, stream->n_query - LENGTH_SIZE);
    begin_answer(stream, dns_refuse(&query, code, stream->answer + LENGTH_SIZE, DNS_ANSWER_MAX));
}

static void ask_next(Stream *stream);

/* The whole query fits into a socket that is new. */
static bool send_query(Stream *stream) {
    int failed = 0;
    socklen_t size = sizeof(failed);
    if (getsockopt(stream->server.fd, SOL_SOCKET, SO_ERROR, &failed, &size) < 0 || failed)
        return false;
    ssize_t n =
        send(stream->server.fd, stream->query, stream->n_query, MSG_DONTWAIT | MSG_NOSIGNAL);
    stream->asked = true;
    (void)loop_set_events(stream->server.source, EPOLLIN);
    return n == (ssize_t)stream->n_query;
}

/* 1: all of it is here, 0: not yet, -1: it failed. */
static int receive_answer(Stream *stream) {
    size_t wanted = LENGTH_SIZE;
    if (stream->n_answer >= LENGTH_SIZE)
        wanted += get_be16(stream->answer);
    ssize_t n = recv(stream->server.fd, stream->answer + stream->n_answer,
                     wanted - stream->n_answer, MSG_DONTWAIT);
    if (n <= 0)
        return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
    stream->n_answer += (size_t)n;
    if (stream->n_answer < LENGTH_SIZE)
        return 0;
    return stream->n_answer == (size_t)LENGTH_SIZE + get_be16(stream->answer);
}

static void on_server(void *data, uint32_t events) {
    Stream *stream = data;
    int r = !stream->asked ? (send_query(stream) ? 0 : -1) : receive_answer(stream);
    if (r > 0)
        begin_answer(stream, get_be16(stream->answer));
    else if (r < 0)
        ask_next(stream);
}

static bool ask(Stream *stream) {
    uint8_t address[16];
    watched_close(&stream->server);
    stream->asked = false;
    stream->n_answer = 0;
    if (!resolver_address(stream->owner->net->resolver, stream->tries++, address))
        return false;
    stream->server.fd = resolver_connect(address, SOCK_STREAM);
    if (stream->server.fd >= 0 &&
        watched_add(stream->owner->net->loop, &stream->server, EPOLLOUT, on_server, stream) == 0)
        return true;
    watched_close(&stream->server);
    return false;
}

static void ask_next(Stream *stream) {
    while (stream->tries < RESOLVER_TRIES)
        if (ask(stream)) {
            begin_step(stream);
            return;
        }
    refuse(stream, DNS_FAILED);
}

/* ---- clients ---- */

static void handle_query(Stream *stream) {
    const Switch *net = stream->owner->net;
    DnsQuery query;
    int code = dns_read_query(&query, stream->query + LENGTH_SIZE, stream->n_query - LENGTH_SIZE);
    stream->answer = code < 0 ? NULL : malloc(LENGTH_SIZE + ANSWER_MAX);
    if (!stream->answer) {
        end_stream(stream);
        return;
    }
    (void)loop_set_events(stream->client.source, 0);
    size_t size =
        code != DNS_OK ? 0 : dns_answer(net, &query, stream->answer + LENGTH_SIZE, DNS_ANSWER_MAX);
    stream->tries = 0;
    if (size > 0)
        begin_answer(stream, size);
    else if (code == DNS_OK && net->network.uplink)
        ask_next(stream);
    else
        refuse(stream, code == DNS_OK ? DNS_NO_NAME : (DnsCode)code);
}

/* As far as it is known: of the length, or of all. */
static size_t query_size(const Stream *stream) {
    size_t length = stream->n_query < LENGTH_SIZE ? 0 : get_be16(stream->query);
    return LENGTH_SIZE + length;
}

static void read_query(Stream *stream) {
    ssize_t n = recv(stream->client.fd, stream->query + stream->n_query,
                     query_size(stream) - stream->n_query, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    stream->n_query += n > 0 ? (size_t)n : 0;
    size_t size = query_size(stream);
    bool none = stream->n_query == LENGTH_SIZE && size == LENGTH_SIZE;
    if (n <= 0 || none || size > sizeof(stream->query))
        end_stream(stream);
    else if (stream->n_query > LENGTH_SIZE && stream->n_query == size)
        handle_query(stream);
}

static void on_client(void *data, uint32_t events) {
    Stream *stream = data;
    if (events & EPOLLOUT && stream->answer)
        write_answer(stream);
    else if (events & EPOLLIN && !stream->answer)
        read_query(stream);
    else if (events & (EPOLLERR | EPOLLHUP))
        end_stream(stream);
}

/* The one that is free, or that waits for its client the longest. */
static Stream *find_place(DnsTcp *dns) {
    Stream *oldest = &dns->streams[0];
    for (size_t i = 0; i < STREAMS_MAX; i++) {
        Stream *stream = &dns->streams[i];
        if (stream->client.fd < 0)
            return stream;
        if (stream->deadline_usec < oldest->deadline_usec)
            oldest = stream;
    }
    end_stream(oldest);
    return oldest;
}

static void on_listening(void *data, uint32_t events) {
    DnsTcp *dns = data;
    struct sockaddr_in from;
    socklen_t size = sizeof(from);
    int fd =
        accept4(dns->listening.fd, (struct sockaddr *)&from, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    if (uplink_find_socket(dns->uplink, &from, SOCK_STREAM) < 0) {
        (void)fd_close(fd);
        return;
    }
    Stream *stream = find_place(dns);
    *stream = (Stream){.owner = dns, .client = {.fd = fd}, .server = {.fd = -1}};
    if (watched_add(dns->net->loop, &stream->client, EPOLLIN, on_client, stream) < 0)
        end_stream(stream);
    else
        begin_step(stream);
}

/* ---- begin and end ---- */

static int listen_here(DnsTcp *dns) {
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(in);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    dns->listening.fd = fd;
    if (fd < 0 || bind(fd, (struct sockaddr *)&in, size) < 0 || listen(fd, STREAMS_MAX) < 0 ||
        getsockname(fd, (struct sockaddr *)&in, &size) < 0)
        return -errno;
    memcpy(dns->port, &in.sin_port, sizeof(dns->port));
    uplink_set_dns(dns->uplink, dns->port);
    return watched_add(dns->net->loop, &dns->listening, EPOLLIN, on_listening, dns);
}

static DnsTcp *make(Port *port) {
    DnsTcp *made = calloc(1, sizeof(*made));
    if (!made)
        return NULL;
    made->net = port->owner;
    made->uplink = uplink_of(port);
    for (size_t i = 0; i < STREAMS_MAX; i++)
        made->streams[i].client.fd = made->streams[i].server.fd = -1;
    made->timer = loop_add_timer(made->net->loop, UINT64_MAX, on_timer, made);
    if (listen_here(made) < 0)
        dns_tcp_free(&made);
    return made;
}

static DnsTcp *start(Port *port) {
    DnsTcp **dns = &uplink_outside(port)->dns_tcp;
    if (!*dns && uplink_start_of(port, NULL) == 0)
        *dns = make(port);
    return *dns;
}

void dns_tcp_free(DnsTcp **dns_tcp) {
    DnsTcp *dns = *dns_tcp;
    if (!dns)
        return;
    for (size_t i = 0; i < STREAMS_MAX; i++)
        end_stream(&dns->streams[i]);
    watched_close(&dns->listening);
    (void)loop_remove(dns->timer);
    free(dns);
    *dns_tcp = NULL;
}

/* ---- segments ---- */

bool dns_tcp_redirect(Port *port, const Packet *packet) {
    const SwitchNetwork *network = &port->owner->network;
    if (packet->ethertype != ETHERTYPE_IP4 || packet->protocol != PROTOCOL_TCP ||
        packet->fragment || memcmp(packet->dst, names_ip(network), 4) != 0 ||
        memcmp(packet->inner + 2, dns_port, 2) != 0)
        return false;
    const DnsTcp *dns = start(port);
    if (!dns)
        return false;
    packet_replace_port(packet, 2, dns->port);
    packet_replace_destination(packet, network->gateway);
    return true;
}
