/* SPDX-License-Identifier: Apache-2.0 */
/* The client's stream against a scripted server at the other end of a socket pair. */
#include "cli/client_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "check.h"
#include "proto/agent.h"
#include "proto/frame.h"
#include "proto/tlv.h"

typedef struct Server {
    int fd;
    pthread_t thread;
    pthread_t client;
    StrBuf got; /* DATA from the client */
    uint64_t signal;
    bool got_eof;
} Server;

static void put(int fd, uint8_t type, const void *payload, size_t size) {
    uint8_t header[FRAME_HEADER_SIZE];
    frame_encode_header(header, 0, 0, type, (uint32_t)size);
    CHECK_INT(fd_write_full(fd, header, sizeof(header)), 0);
    CHECK_INT(fd_write_full(fd, payload, size), 0);
}

static void put_text(int fd, uint8_t type, const char *text) {
    put(fd, type, text, strlen(text));
}

static void put_numbers(int fd, uint8_t type, uint16_t tag, uint64_t value, const char *text) {
    uint8_t payload[256];
    TlvWriter writer;
    tlv_start(&writer, payload, sizeof(payload));
    tlv_add_u64(&writer, tag, value);
    tlv_add_text(&writer, TAG_TEXT, text);
    put(fd, type, payload, writer.size);
}

/* Reads the client's frames until one of the type comes. */
static void take_until(Server *server, uint8_t type) {
    FrameReader reader;
    Frame frame;
    bool found = false;
    CHECK_INT(frame_reader_init(&reader), 0);
    while (!found) {
        size_t room;
        uint8_t *space = frame_reader_space(&reader, &room);
        ssize_t n = read(server->fd, space, room);
        CHECK(n > 0);
        frame_reader_added(&reader, (size_t)n);
        while (frame_reader_next(&reader, &frame) > 0) {
            TlvReader fields;
            TlvField field;
            found = found || frame.type == type;
            server->got_eof = server->got_eof || frame.type == FRAME_EOF;
            if (frame.type == FRAME_DATA)
                strbuf_add(&server->got, (const char *)frame.payload, frame.length);
            tlv_read(&fields, frame.payload, frame.length);
            if (frame.type == FRAME_SIGNAL && tlv_next(&fields, &field) > 0)
                CHECK_INT(tlv_u64(&field, &server->signal), 0);
        }
    }
    frame_reader_free(&reader);
}

static int start(Server *server, void *(*script)(void *)) {
    int pair[2];
    CHECK_INT(fd_socketpair(SOCK_STREAM, pair), 0);
    *server = (Server){.fd = pair[0], .client = pthread_self()};
    CHECK_INT(pthread_create(&server->thread, NULL, script, server), 0);
    return pair[1];
}

static void finish(Server *server, int fd) {
    CHECK_INT(pthread_join(server->thread, NULL), 0);
    (void)fd_close(fd);
    (void)fd_close(server->fd);
    strbuf_free(&server->got);
}

static char *content(int fd) {
    char *text = calloc(1, 4096);
    CHECK(fd_pread_full(fd, text, 4095, 0) >= 0);
    return text;
}

/* Runs the stream with gathered output. */
static int play(ClientStream *stream, int fd, ClientStreamEnd *end, char **out, char **err,
                Error *error) {
    _cleanup_close_ int out_fd = memfd_create("out", MFD_CLOEXEC);
    _cleanup_close_ int err_fd = memfd_create("err", MFD_CLOEXEC);
    int r;
    stream->socket = fd;
    stream->out_fd = out_fd;
    stream->err_fd = err_fd;
    r = client_stream_run(stream, end, NULL, error);
    *out = content(out_fd);
    *err = content(err_fd);
    return r;
}

static void *script_command(void *data) {
    Server *server = data;
    put_text(server->fd, FRAME_EVENT, "{\"event\":\"stage\",\"name\":\"kernel\",\"start_us\":0}");
    put_text(server->fd, FRAME_READY, "{\"name\":\"web1\"}");
    take_until(server, FRAME_EOF);
    put_text(server->fd, FRAME_DATA, "out ");
    put_text(server->fd, FRAME_DATA_ERR, "err");
    put_text(server->fd, 200, "of a newer server");
    put_text(server->fd, FRAME_DATA, "more");
    put_text(server->fd, FRAME_EOF, "");
    put_text(server->fd, FRAME_EOF_ERR, "");
    put_numbers(server->fd, FRAME_EXIT, TAG_EXIT_CODE, 7, NULL);
    return NULL;
}

static void count_call(void *data, const json_t *json) {
    CHECK(json_is_object(json));
    ++*(int *)data;
}

static void test_command(void) {
    Server server;
    int fd = start(&server, script_command), calls = 0, input[2];
    ClientStream stream = CLIENT_STREAM_INIT;
    ClientStreamEnd end;
    _cleanup_free_ char *out = NULL, *err = NULL;
    CHECK_INT(pipe2(input, O_CLOEXEC), 0);
    CHECK_INT(fd_write_full(input[1], "input", 5), 0);
    (void)fd_close(input[1]);
    stream.in_fd = input[0];
    stream.run = true;
    stream.on_event = stream.on_ready = count_call;
    stream.data = &calls;
    CHECK_INT(play(&stream, fd, &end, &out, &err, NULL), 0);
    CHECK_INT(end.kind, CLIENT_STREAM_EXIT);
    CHECK_INT(end.status, 7);
    CHECK_STR(out, "out more");
    CHECK_STR(err, "err");
    CHECK_INT(calls, 2);
    CHECK_INT(server.got.size, 5);
    CHECK(memcmp(server.got.data, "input", 5) == 0 && server.got_eof);
    (void)fd_close(input[0]);
    finish(&server, fd);
}

static void *script_error(void *data) {
    put_text(((Server *)data)->fd, FRAME_ERROR,
             "{\"error\":{\"code\":\"guest_not_ready\",\"message\":\"stuck\",\"hint\":\"look\"}}");
    return NULL;
}

static void *script_copy_fails(void *data) {
    put_numbers(((Server *)data)->fd, FRAME_RESULT, TAG_ERRNO, ENOENT, "cannot open /no/such");
    return NULL;
}

static void *script_hang_up(void *data) {
    Server *server = data;
    put_text(server->fd, FRAME_DATA, "half");
    CHECK_INT(shutdown(server->fd, SHUT_RDWR), 0);
    return NULL;
}

static void *script_bad_exit(void *data) {
    put_numbers(((Server *)data)->fd, FRAME_EXIT, TAG_EXIT_CODE, 256, NULL);
    return NULL;
}

static void *script_empty_exit(void *data) {
    put(((Server *)data)->fd, FRAME_EXIT, NULL, 0);
    return NULL;
}

static void *script_bad_json(void *data) {
    put_text(((Server *)data)->fd, FRAME_EVENT, "{");
    return NULL;
}

static void fails(void *(*script)(void *), ErrorKind kind, const char *part) {
    Server server;
    int fd = start(&server, script);
    ClientStream stream = CLIENT_STREAM_INIT;
    ClientStreamEnd end;
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_free_ char *out = NULL, *err = NULL;
    CHECK(play(&stream, fd, &end, &out, &err, &error) < 0);
    CHECK_INT(error.kind, kind);
    CHECK_CONTAINS(error_message(&error), part);
    finish(&server, fd);
}

static void test_failures(void) {
    fails(script_error, ERROR_GUEST_NOT_READY, "stuck");
    fails(script_copy_fails, ERROR_NOT_FOUND, "cannot open /no/such");
    fails(script_hang_up, ERROR_FAILED, "broke off");
    fails(script_bad_exit, ERROR_CORRUPT, "status");
    fails(script_empty_exit, ERROR_CORRUPT, "status");
    fails(script_bad_json, ERROR_CORRUPT, "event");
}

/* The client's thread gets the signal; the command ends by it. */
static void *script_signal(void *data) {
    Server *server = data;
    CHECK_INT(pthread_kill(server->client, SIGINT), 0);
    take_until(server, FRAME_SIGNAL);
    put_numbers(server->fd, FRAME_EXIT, TAG_EXIT_CODE, 130, NULL);
    return NULL;
}

/* The command goes on, and prints without end, or is silent. */
static void *script_deaf(void *data) {
    Server *server = data;
    char block[4096] = {0};
    CHECK_INT(pthread_kill(server->client, SIGTERM), 0);
    take_until(server, FRAME_SIGNAL);
    while (send(server->fd, block, sizeof(block), MSG_NOSIGNAL | MSG_DONTWAIT) > 0 ||
           errno == EAGAIN)
        (void)usleep(1000);
    return NULL;
}

static void *script_silent(void *data) {
    Server *server = data;
    char byte;
    CHECK_INT(pthread_kill(server->client, SIGHUP), 0);
    while (recv(server->fd, &byte, 1, 0) > 0)
        ;
    return NULL;
}

static void leaves(void *(*script)(void *), bool run, int expected) {
    ClientStream stream = CLIENT_STREAM_INIT;
    Server server;
    ClientStreamEnd end;
    int signal = 0, fd = start(&server, script);
    stream.signals = true;
    stream.run = run;
    stream.socket = fd;
    CHECK_INT(client_stream_run(&stream, &end, &signal, NULL), -ECANCELED);
    CHECK_INT(signal, expected);
    CHECK_INT(shutdown(fd, SHUT_RDWR), 0);
    finish(&server, fd);
}

/* READY never comes: the signal ends our side, and then the server gives up. */
static void *script_cancel(void *data) {
    Server *server = data;
    char byte;
    CHECK_INT(pthread_kill(server->client, SIGTERM), 0);
    CHECK_INT(read(server->fd, &byte, 1), 0);
    put_text(server->fd, FRAME_ERROR, "{\"error\":{\"code\":\"cancelled\",\"message\":\"gone\"}}");
    return NULL;
}

static void test_signals(void) {
    ClientStream stream = CLIENT_STREAM_INIT;
    Server server;
    ClientStreamEnd end;
    sigset_t set;
    int signal = 0, fd;
    /* blocked here as well, so that one which comes before client_stream_run blocks it stays
     * pending */
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    stream.signals = true;
    fd = start(&server, script_signal);
    stream.socket = fd;
    CHECK_INT(client_stream_run(&stream, &end, &signal, NULL), 0);
    CHECK_INT(end.status, 130);
    CHECK_INT(server.signal, SIGINT);
    finish(&server, fd);

    stream.run = true;
    fd = start(&server, script_cancel);
    stream.socket = fd;
    CHECK_INT(client_stream_run(&stream, &end, &signal, NULL), -ECANCELED);
    CHECK_INT(signal, SIGTERM);
    finish(&server, fd);

    leaves(script_deaf, false, SIGTERM);
    leaves(script_silent, false, SIGHUP);
    leaves(script_silent, true, SIGHUP);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

/* The reader's end of the output, and the writer's of the input. */
static int half_reader, half_writer;

static void *script_half_close(void *data) {
    Server *server = data;
    char text[16] = "";
    put_text(server->fd, FRAME_DATA, "all");
    put_text(server->fd, FRAME_EOF, "");
    CHECK_INT(recv(half_reader, text, sizeof(text), MSG_WAITALL), 3);
    CHECK_STR(text, "all");
    CHECK_INT(fd_write_full(half_writer, "more", 4), 0);
    (void)fd_close(half_writer);
    take_until(server, FRAME_EOF);
    put_numbers(server->fd, FRAME_RESULT, TAG_ERRNO, 0, NULL);
    return NULL;
}

/* The end of the output is seen while the input still comes. */
static void test_half_close(void) {
    Server server;
    ClientStream stream = CLIENT_STREAM_INIT;
    ClientStreamEnd end;
    int input[2], output[2], fd;
    CHECK_INT(pipe2(input, O_CLOEXEC), 0);
    CHECK_INT(fd_socketpair(SOCK_STREAM, output), 0);
    half_reader = output[0];
    half_writer = input[1];
    fd = start(&server, script_half_close);
    stream.socket = fd;
    stream.in_fd = input[0];
    stream.out_fd = output[1];
    stream.half_closes = true;
    CHECK_INT(client_stream_run(&stream, &end, NULL, NULL), 0);
    CHECK_INT(end.kind, CLIENT_STREAM_DONE);
    CHECK_INT(server.got.size, 4);
    (void)fd_close(input[0]);
    (void)fd_close(output[0]);
    (void)fd_close(output[1]);
    finish(&server, fd);
}

#define FLOOD_FRAMES 64

static void *script_flood(void *data) {
    Server *server = data;
    static char block[FRAME_PAYLOAD_MAX];
    memset(block, 'x', sizeof(block));
    for (int i = 0; i < FLOOD_FRAMES; i++)
        put(server->fd, FRAME_DATA, block, sizeof(block));
    put_numbers(server->fd, FRAME_RESULT, TAG_ERRNO, 0, NULL);
    return NULL;
}

static void *drain(void *data) {
    char buffer[1024];
    size_t *total = data;
    int fd = (int)*total;
    ssize_t n;
    *total = 0;
    while ((n = read(fd, buffer, sizeof(buffer))) > 0)
        *total += (size_t)n;
    return NULL;
}

/* A slow reader behind a pipe gets every byte. */
static void test_slow_reader(void) {
    Server server;
    int fd = start(&server, script_flood), output[2];
    ClientStream stream = CLIENT_STREAM_INIT;
    ClientStreamEnd end;
    pthread_t reader;
    size_t total;
    CHECK_INT(pipe2(output, O_CLOEXEC), 0);
    total = (size_t)output[0];
    CHECK_INT(pthread_create(&reader, NULL, drain, &total), 0);
    stream.socket = fd;
    stream.out_fd = output[1];
    CHECK_INT(client_stream_run(&stream, &end, NULL, NULL), 0);
    CHECK_INT(end.kind, CLIENT_STREAM_DONE);
    (void)fd_close(output[1]);
    CHECK_INT(pthread_join(reader, NULL), 0);
    CHECK_INT(total, (size_t)FLOOD_FRAMES * FRAME_PAYLOAD_MAX);
    (void)fd_close(output[0]);
    finish(&server, fd);
}

static void *script_until_closed(void *data) {
    Server *server = data;
    char byte;
    put_text(server->fd, FRAME_DATA, "nobody reads this");
    while (read(server->fd, &byte, 1) > 0)
        ;
    return NULL;
}

static void test_closed_output(void) {
    Server server;
    int fd = start(&server, script_until_closed), output[2];
    ClientStream stream = CLIENT_STREAM_INIT;
    ClientStreamEnd end;
    CHECK_INT(pipe2(output, O_CLOEXEC), 0);
    (void)fd_close(output[0]);
    stream.socket = fd;
    stream.out_fd = output[1];
    CHECK_INT(client_stream_run(&stream, &end, NULL, NULL), -EPIPE);
    (void)fd_close(output[1]);
    (void)fd_close(fd);
    finish(&server, -1);
}

int main(void) {
    (void)signal(SIGPIPE, SIG_DFL);
    RUN(test_command);
    RUN(test_failures);
    RUN(test_signals);
    RUN(test_half_close);
    RUN(test_slow_reader);
    RUN(test_closed_output);
    return 0;
}
