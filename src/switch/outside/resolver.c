/* SPDX-License-Identifier: Apache-2.0 */
#include "switch/outside/resolver.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/fd.h"
#include "base/str.h"
#include "switch/frame/packet.h"

#define QUERY_MAX 1232 /* as long as resolvers take without fragments */
#define ANSWER_MAX 4096

typedef struct Query {
    Resolver *owner; /* borrowed */
    Watched socket;  /* fd -1: not under way */
    uint16_t slot;
    uint64_t serial; /* of the port */
    UdpPeer peer;
    uint8_t client_id[2];
    unsigned tries;
    uint64_t deadline_usec;
    size_t size, question_end;
    uint8_t data[QUERY_MAX]; /* with our id */
} Query;

struct Resolver {
    Switch *net;
    uint8_t addresses[SWITCH_RESOLVERS_MAX][16]; /* of /etc/resolv.conf */
    unsigned n_addresses;
    LoopSource *timer;
    Query *queries[RESOLVER_QUERIES]; /* owned; made when they are first needed */
};

/* ---- whom to ask ---- */

static bool parse_address(const char *text, uint8_t address[16]) {
    static const uint8_t mapped[12] = {[10] = 0xff, 0xff};
    if (inet_pton(AF_INET6, text, address) == 1)
        return true;
    memcpy(address, mapped, sizeof(mapped));
    return inet_pton(AF_INET, text, address + 12) == 1;
}

static void read_line(Resolver *resolver, const char *line) {
    char text[64];
    if (resolver->n_addresses < SWITCH_RESOLVERS_MAX &&
        sscanf(line, "nameserver %63s", text) == 1 &&
        parse_address(text, resolver->addresses[resolver->n_addresses]))
        resolver->n_addresses++;
}

static void read_conf(Resolver *resolver, const char *text) {
    while (text && *text) {
        char line[128];
        size_t length = strcspn(text, "\n");
        (void)snprintf(line, sizeof(line), "%.*s", (int)MIN_OF(length, sizeof(line) - 1), text);
        read_line(resolver, line);
        text += length + (text[length] == '\n');
    }
}

bool resolver_address(const Resolver *resolver, unsigned number, uint8_t address[16]) {
    const uint8_t *set = resolver->net->network.resolvers;
    unsigned n_set = 0;
    while (n_set < SWITCH_RESOLVERS_MAX && !is_unset(set + (size_t)n_set * 16, 16))
        n_set++;
    unsigned n = n_set > 0 ? n_set : resolver->n_addresses;
    if (n == 0)
        return false;
    memcpy(address, n_set > 0 ? set + (size_t)(number % n) * 16 : resolver->addresses[number % n],
           16);
    return true;
}

int resolver_connect(const uint8_t address[16], int type) {
    static const uint8_t mapped[12] = {[10] = 0xff, 0xff};
    struct sockaddr_in6 to6 = {.sin6_family = AF_INET6, .sin6_port = htons(DNS_PORT)};
    struct sockaddr_in to4 = {.sin_family = AF_INET, .sin_port = htons(DNS_PORT)};
    bool is4 = memcmp(address, mapped, sizeof(mapped)) == 0;
    memcpy(&to6.sin6_addr, address, 16);
    memcpy(&to4.sin_addr, address + 12, 4);
    int fd = socket(is4 ? AF_INET : AF_INET6, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    int r = is4 ? connect(fd, (struct sockaddr *)&to4, sizeof(to4))
                : connect(fd, (struct sockaddr *)&to6, sizeof(to6));
    if (r == 0 || errno == EINPROGRESS)
        return fd;
    r = -errno;
    (void)fd_close(fd);
    return r;
}

/* ---- queries ---- */

static void end_query(Query *query) {
    watched_close(&query->socket);
}

static Port *find_port(const Query *query) {
    Port *port = query->owner->net->ports[query->slot];
    return port && port->lease.serial == query->serial ? port : NULL;
}

static void answer_client(Query *query, uint8_t *data, size_t size) {
    Port *port = find_port(query);
    size_t most = query->owner->net->network.mtu - IP6_SIZE - UDP_SIZE;
    memcpy(data, query->client_id, 2);
    if (size > most)
        size = dns_truncate(data, query->question_end);
    if (port)
        reply_udp_to(port, &query->peer, data, size);
    end_query(query);
}

static bool is_answer(const Query *query, const uint8_t *data, size_t size) {
    return size >= query->question_end && memcmp(data, query->data, 2) == 0 && data[2] & 0x80 &&
           get_be16(data + 4) == 1 &&
           memcmp(data + DNS_HEADER_SIZE, query->data + DNS_HEADER_SIZE,
                  query->question_end - DNS_HEADER_SIZE) == 0;
}

static void on_answer(void *data, uint32_t events) {
    Query *query = data;
    uint8_t bytes[ANSWER_MAX];
    ssize_t n = recv(query->socket.fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    if (n > 0 && is_answer(query, bytes, (size_t)n))
        answer_client(query, bytes, (size_t)n);
    if (n >= 0 || errno == EAGAIN || errno == EINTR)
        return;
    query->deadline_usec = 0; /* nobody is there: the next one */
    loop_set_timer(query->owner->timer, 0);
}

static bool send_query(Query *query) {
    uint8_t address[16];
    watched_close(&query->socket);
    if (!resolver_address(query->owner, query->tries++, address))
        return false;
    int fd = resolver_connect(address, SOCK_DGRAM);
    if (fd < 0)
        return false;
    query->socket.fd = fd;
    random_bytes(query->data, 2);
    if (send(fd, query->data, query->size, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ||
        watched_add(query->owner->net->loop, &query->socket, EPOLLIN, on_answer, query) < 0) {
        end_query(query);
        return false;
    }
    query->deadline_usec = clock_monotonic_usec() + RESOLVER_TRY_USEC;
    return true;
}

static void fail_query(Query *query) {
    DnsQuery asked = {
        .data = query->data, .size = query->size, .question_end = query->question_end};
    uint8_t answer[DNS_ANSWER_MAX];
    size_t size = dns_refuse(&asked, DNS_FAILED, answer, sizeof(answer));
    answer_client(query, answer, size);
}

/* ---- time ---- */

static void set_timer(Resolver *resolver) {
    uint64_t next = UINT64_MAX;
    for (size_t i = 0; i < RESOLVER_QUERIES; i++)
        if (resolver->queries[i] && resolver->queries[i]->socket.fd >= 0)
            next = MIN_OF(next, resolver->queries[i]->deadline_usec);
    loop_set_timer(resolver->timer, next);
}

static void try_again(Query *query) {
    while (query->tries < RESOLVER_TRIES)
        if (send_query(query))
            return;
    fail_query(query);
}

static void on_timer(void *data) {
    Resolver *resolver = data;
    uint64_t now = clock_monotonic_usec();
    for (size_t i = 0; i < RESOLVER_QUERIES; i++) {
        Query *query = resolver->queries[i];
        if (query && query->socket.fd >= 0 && query->deadline_usec <= now)
            try_again(query);
    }
    set_timer(resolver);
}

/* ---- what others call ---- */

int resolver_new(Switch *net, const char *resolv_conf, Resolver **resolver) {
    Resolver *made = calloc(1, sizeof(*made));
    if (!made)
        return -ENOMEM;
    made->net = net;
    read_conf(made, resolv_conf);
    made->timer = loop_add_timer(net->loop, UINT64_MAX, on_timer, made);
    *resolver = made;
    return 0;
}

void resolver_free(Resolver *resolver) {
    if (!resolver)
        return;
    for (size_t i = 0; i < RESOLVER_QUERIES; i++)
        if (resolver->queries[i]) {
            end_query(resolver->queries[i]);
            free(resolver->queries[i]);
        }
    (void)loop_remove(resolver->timer);
    free(resolver);
}

static Query *find_free(Resolver *resolver, const Port *port) {
    Query **place = NULL;
    unsigned of_port = 0, of_all = 0;
    for (size_t i = 0; i < RESOLVER_QUERIES; i++) {
        Query *query = resolver->queries[i];
        bool asked = query && query->socket.fd >= 0;
        of_all += asked;
        if (asked)
            of_port += query->slot == port->slot;
        else if (!place || (query && !*place))
            place = &resolver->queries[i];
    }
    unsigned share = 1 + (RESOLVER_QUERIES - of_all) / RESOLVER_PORT_QUERIES;
    if (!place || of_port >= MIN_OF(share, RESOLVER_PORT_QUERIES))
        return NULL;
    if (!*place && (*place = calloc(1, sizeof(**place))))
        (*place)->socket.fd = -1;
    return *place;
}

bool resolver_ask(Resolver *resolver, Port *port, const UdpPeer *peer, const DnsQuery *asked) {
    Query *query = asked->size <= QUERY_MAX ? find_free(resolver, port) : NULL;
    if (!query)
        return false;
    query->owner = resolver;
    query->slot = port->slot;
    query->serial = port->lease.serial;
    query->peer = *peer;
    query->tries = 0;
    query->size = asked->size;
    query->question_end = asked->question_end;
    memcpy(query->client_id, asked->data, 2);
    memcpy(query->data, asked->data, asked->size);
    while (query->tries < RESOLVER_TRIES)
        if (send_query(query)) {
            set_timer(resolver);
            return true;
        }
    return false;
}
