/* SPDX-License-Identifier: Apache-2.0 */
/* TCP connections of the agent, to servers of this program. */
#include <arpa/inet.h>
#include <netinet/in.h>

#include "keeper_side.h"

#define STREAM 9

typedef struct Case {
    Peer peer;
    int listener;
    uint16_t port;
    int server; /* the accepted connection */
} Case;

/* -1: there is no such address here. */
static int listen_on(int family, uint16_t *port) {
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct sockaddr *address =
        family == AF_INET ? (struct sockaddr *)&four : (struct sockaddr *)&six;
    socklen_t size = family == AF_INET ? sizeof(four) : sizeof(six);
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, address, size) < 0)
        return -1;
    CHECK_INT(listen(fd, 8), 0);
    CHECK_INT(getsockname(fd, address, &size), 0);
    *port = ntohs(family == AF_INET ? four.sin_port : six.sin6_port);
    return fd;
}

static bool connect_to(Case *test, int family) {
    *test = (Case){.listener = -1};
    peer_start(&test->peer); /* before there is a listener that its process would inherit */
    peer_greet(&test->peer);
    test->listener = listen_on(family, &test->port);
    if (test->listener < 0) {
        peer_stop(&test->peer);
        return false;
    }
    peer_send_u64(&test->peer, STREAM, FRAME_CONNECT, TAG_PORT, test->port);
    test->server = accept(test->listener, NULL, NULL);
    CHECK(test->server >= 0);
    return true;
}

static void done(Case *test) {
    peer_stop(&test->peer); /* first: what it still sent would be an error to it */
    (void)close(test->server);
    (void)close(test->listener);
}

static void expect_from_server(Case *test, const char *text) {
    Frame frame = peer_next(&test->peer);
    CHECK_INT(frame.type, FRAME_DATA);
    CHECK_INT(frame.length, strlen(text));
    CHECK_INT(memcmp(frame.payload, text, frame.length), 0);
}

static void expect_at_server(Case *test, const char *text) {
    char got[64] = "";
    ssize_t n = recv(test->server, got, strlen(text), MSG_WAITALL);
    CHECK_INT(n, strlen(text));
    CHECK_STR(got, text);
}

static void check_half_closes(int family, bool server_first) {
    Case test;
    char byte;
    if (!connect_to(&test, family))
        return;
    peer_send(&test.peer, STREAM, FRAME_DATA, "ping", 4);
    expect_at_server(&test, "ping");
    CHECK_INT(send(test.server, "pong", 4, 0), 4);
    expect_from_server(&test, "pong");
    if (server_first) {
        CHECK_INT(shutdown(test.server, SHUT_WR), 0);
        CHECK_INT(peer_next(&test.peer).type, FRAME_EOF);
    }
    peer_send(&test.peer, STREAM, FRAME_DATA, "more", 4);
    peer_send(&test.peer, STREAM, FRAME_EOF, NULL, 0);
    expect_at_server(&test, "more");
    CHECK_INT(recv(test.server, &byte, 1, 0), 0);
    if (!server_first) {
        CHECK_INT(send(test.server, "last", 4, 0), 4);
        expect_from_server(&test, "last");
        CHECK_INT(shutdown(test.server, SHUT_WR), 0);
        CHECK_INT(peer_next(&test.peer).type, FRAME_EOF);
    }
    Output output = peer_finish(&test.peer, STREAM);
    CHECK_INT(output.last, FRAME_RESULT);
    CHECK_INT(output.code, 0);
    done(&test);
}

static void test_half_closes(void) {
    check_half_closes(AF_INET, true);
    check_half_closes(AF_INET, false);
    check_half_closes(AF_INET6, true);
}

static void test_refused(void) {
    Case test;
    CHECK(connect_to(&test, AF_INET));
    (void)close(test.listener);
    test.listener = -1;
    peer_send_u64(&test.peer, STREAM + 1, FRAME_CONNECT, TAG_PORT, test.port);
    Output output = peer_finish(&test.peer, STREAM + 1);
    CHECK_INT(output.last, FRAME_RESULT);
    CHECK_INT(output.code, ECONNREFUSED);
    peer_send_u64(&test.peer, STREAM + 2, FRAME_CONNECT, TAG_PORT, 65536);
    CHECK_INT(peer_finish(&test.peer, STREAM + 2).code, EINVAL);
    peer_send(&test.peer, STREAM + 3, FRAME_CONNECT, NULL, 0);
    CHECK_INT(peer_finish(&test.peer, STREAM + 3).code, EINVAL);
    done(&test);
}

static void send_patient(Case *test, uint16_t stream, uint64_t patience_usec) {
    uint8_t buffer[64];
    TlvWriter writer;
    tlv_start(&writer, buffer, sizeof(buffer));
    tlv_add_u64(&writer, TAG_PORT, test->port);
    tlv_add_u64(&writer, TAG_LIMIT_USEC, patience_usec);
    peer_send(&test->peer, stream, FRAME_CONNECT, buffer, writer.size);
}

/* A port that is taken, and at which nobody listens before listen(2). */
static void take_port(Case *test) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    *test = (Case){.server = -1};
    peer_start(&test->peer);
    peer_greet(&test->peer);
    test->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_INT(bind(test->listener, (struct sockaddr *)&address, size), 0);
    CHECK_INT(getsockname(test->listener, (struct sockaddr *)&address, &size), 0);
    test->port = ntohs(address.sin_port);
}

/* Who does not listen yet is waited for, as long as was asked. */
static void test_patience(void) {
    Case test;
    take_port(&test);
    send_patient(&test, STREAM + 1, 1);
    CHECK_INT(peer_finish(&test.peer, STREAM + 1).code, ECONNREFUSED);
    send_patient(&test, STREAM, UINT64_MAX);
    peer_send(&test.peer, STREAM, FRAME_DATA, "early", 5);
    send_patient(&test, STREAM + 2, UINT64_MAX);
    peer_send(&test.peer, STREAM + 2, FRAME_CANCEL, NULL, 0);
    /* the agent has been refused by the time that it answers this */
    CHECK_INT(peer_finish(&test.peer, peer_exec(&test.peer, "exit 3", false)).code, 3);
    CHECK_INT(listen(test.listener, 8), 0);
    test.server = accept(test.listener, NULL, NULL);
    CHECK(test.server >= 0);
    expect_at_server(&test, "early");
    peer_send(&test.peer, STREAM, FRAME_EOF, NULL, 0);
    CHECK_INT(shutdown(test.server, SHUT_WR), 0);
    CHECK_INT(peer_finish(&test.peer, STREAM).code, 0);
    done(&test);
}

/* What came before the connection was there is not lost, and its end neither. */
static void test_early_input(void) {
    Case test = {.listener = -1};
    char byte;
    peer_start(&test.peer);
    peer_greet(&test.peer);
    test.listener = listen_on(AF_INET, &test.port);
    peer_send_u64(&test.peer, STREAM, FRAME_CONNECT, TAG_PORT, test.port);
    peer_send(&test.peer, STREAM, FRAME_DATA, "early", 5);
    peer_send(&test.peer, STREAM, FRAME_EOF, NULL, 0);
    test.server = accept(test.listener, NULL, NULL);
    CHECK(test.server >= 0);
    expect_at_server(&test, "early");
    CHECK_INT(recv(test.server, &byte, 1, 0), 0);
    CHECK_INT(shutdown(test.server, SHUT_WR), 0);
    CHECK_INT(peer_finish(&test.peer, STREAM).code, 0);
    done(&test);
}

static void test_reset(void) {
    const struct linger at_once = {.l_onoff = 1};
    Case test;
    CHECK(connect_to(&test, AF_INET));
    CHECK_INT(setsockopt(test.server, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)), 0);
    (void)close(test.server);
    test.server = -1;
    CHECK_INT(peer_finish(&test.peer, STREAM).code, ECONNRESET);
    done(&test);
}

/* The keeper's end goes away, or another keeper begins, as after a restore. */
static void check_ends(bool greets) {
    Case test;
    char byte;
    CHECK(connect_to(&test, AF_INET));
    if (greets)
        peer_greet(&test.peer);
    else
        peer_send(&test.peer, STREAM, FRAME_CANCEL, NULL, 0);
    CHECK_INT(recv(test.server, &byte, 1, 0), 0);
    CHECK_INT(peer_finish(&test.peer, peer_exec(&test.peer, "exit 3", false)).code, 3);
    done(&test);
}

static void test_ends(void) {
    check_ends(false);
    check_ends(true);
}

#define MANY_BYTES ((size_t)8 << 20)

static uint8_t byte_at(size_t at) {
    return (uint8_t)(at * 31 + (at >> 8));
}

/* A server that sends, and one that receives, all in a process of its own. */
static pid_t start_server(int fd, bool sends) {
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    for (size_t at = 0; at < MANY_BYTES; at++) {
        uint8_t byte = byte_at(at);
        static uint8_t block[4096];
        if (sends && (block[at % sizeof(block)] = byte, at % sizeof(block) == sizeof(block) - 1) &&
            write_all(fd, block, sizeof(block)) < 0)
            _exit(1);
        if (!sends && at % sizeof(block) == 0 &&
            recv(fd, block, sizeof(block), MSG_WAITALL) != sizeof(block))
            _exit(2);
        if (!sends && block[at % sizeof(block)] != byte)
            _exit(3);
    }
    _exit(0);
}

static void end_server(pid_t pid) {
    int status;
    CHECK_INT(waitpid(pid, &status, 0), pid);
    CHECK_INT(status, 0);
}

/* Without credit no more than the window comes; with it, all. */
static void test_much_from_server(void) {
    Case test;
    size_t got = 0;
    CHECK(connect_to(&test, AF_INET));
    pid_t pid = start_server(test.server, true);
    (void)close(test.server);
    test.server = -1;
    peer_send(&test.peer, STREAM, FRAME_EOF, NULL, 0);
    for (Frame frame = peer_next(&test.peer); frame.type != FRAME_EOF;
         frame = peer_next(&test.peer)) {
        CHECK_INT(frame.type, FRAME_DATA);
        for (size_t i = 0; i < frame.length; i++)
            CHECK_INT(frame.payload[i], byte_at(got + i));
        got += frame.length;
        CHECK(got <= MANY_BYTES);
        if (got % AGENT_WINDOW_BYTES == 0) /* every one of them, and only then */
            peer_grant(&test.peer, STREAM, AGENT_WINDOW_BYTES);
    }
    CHECK_INT(got, MANY_BYTES);
    CHECK_INT(peer_finish(&test.peer, STREAM).code, 0);
    end_server(pid);
    done(&test);
}

static void test_much_to_server(void) {
    Case test;
    uint8_t block[4096];
    size_t credit = AGENT_WINDOW_BYTES;
    CHECK(connect_to(&test, AF_INET));
    pid_t pid = start_server(test.server, false);
    for (size_t at = 0; at < MANY_BYTES; at += sizeof(block)) {
        while (credit < sizeof(block)) {
            Frame frame = peer_next(&test.peer);
            CHECK_INT(frame.type, FRAME_WINDOW);
            CHECK_INT(frame.length, 4);
            credit += (size_t)frame.payload[0] | (size_t)frame.payload[1] << 8 |
                      (size_t)frame.payload[2] << 16;
        }
        for (size_t i = 0; i < sizeof(block); i++)
            block[i] = byte_at(at + i);
        peer_send(&test.peer, STREAM, FRAME_DATA, block, sizeof(block));
        credit -= sizeof(block);
    }
    end_server(pid);
    peer_send(&test.peer, STREAM, FRAME_EOF, NULL, 0);
    CHECK_INT(shutdown(test.server, SHUT_RDWR), 0);
    CHECK_INT(peer_finish(&test.peer, STREAM).code, 0);
    done(&test);
}

int main(void) {
    (void)signal(SIGPIPE, SIG_IGN);
    RUN(test_half_closes);
    RUN(test_refused);
    RUN(test_patience);
    RUN(test_early_input);
    RUN(test_reset);
    RUN(test_ends);
    RUN(test_much_from_server);
    RUN(test_much_to_server);
    return 0;
}
