/* SPDX-License-Identifier: Apache-2.0 */
/* The client against a scripted server: a thread that reads the whole request, then writes a canned
 * answer, in one piece or byte by byte, and closes. */
#include "proto/api/http_client.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "check.h"

typedef struct Script {
    const char *answer;
    size_t step;      /* bytes a write */
    const char *wait; /* answer once the request ends so; NULL: at once */
    int fd;           /* server's end, owned by the thread */
    pthread_t thread;
    StrBuf request;
    bool stay; /* keep the connection open until the client closes it */
} Script;

static void read_until(Script *script, const char *end) {
    char buffer[4096];
    while (end && !memmem(script->request.data ? script->request.data : "", script->request.size,
                          end, strlen(end))) {
        ssize_t n = read(script->fd, buffer, sizeof(buffer));
        if (n <= 0)
            return;
        strbuf_add(&script->request, buffer, (size_t)n);
    }
}

static void *serve(void *data) {
    Script *script = data;
    size_t size = strlen(script->answer), at = 0;
    char byte;
    read_until(script, script->wait);
    while (at < size) {
        size_t n = MIN_OF(script->step, size - at);
        if (fd_write_full(script->fd, script->answer + at, n) < 0)
            break;
        at += n;
    }
    while (script->stay && read(script->fd, &byte, 1) > 0)
        ;
    (void)fd_close(script->fd);
    return NULL;
}

static int start(Script *script) {
    int pair[2];
    CHECK_INT(fd_socketpair(SOCK_STREAM, pair), 0);
    script->fd = pair[0];
    CHECK_INT(pthread_create(&script->thread, NULL, serve, script), 0);
    return pair[1];
}

static void finish(Script *script, int fd) {
    (void)fd_close(fd);
    CHECK_INT(pthread_join(script->thread, NULL), 0);
    strbuf_free(&script->request);
}

/* The answer as text; NULL and the error when it fails. */
static char *call_json(const char *answer, size_t step, Error *error) {
    Script script = {.answer = answer, .step = step, .wait = "\r\n\r\n"};
    HttpCall call = HTTP_CALL("GET", "/v1/version");
    _cleanup_json_ json_t *json = NULL;
    int fd = start(&script), r = http_call_json(fd, &call, &json, error);
    char *text = r == 0 ? json_to_text(json) : NULL;
    finish(&script, fd);
    return text;
}

static void gives(const char *answer, const char *expected) {
    for (size_t step = 1; step <= 4096; step *= 64) {
        _cleanup_free_ char *text = call_json(answer, step, NULL);
        CHECK_STR(text, expected);
    }
}

static void fails(const char *answer, ErrorKind kind, const char *part) {
    for (size_t step = 1; step <= 4096; step *= 64) {
        _cleanup_error_ Error error = ERROR_INIT;
        CHECK(!call_json(answer, step, &error));
        CHECK_CONTAINS(error_message(&error), part);
        CHECK_INT(error.kind, kind);
    }
}

static void test_json(void) {
    gives(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 8\r\n\r\n{\"a\":1}\n",
        "{\"a\":1}");
    gives(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{\"a\r\n4\r\n\":1}\r\n0\r\n\r\n",
        "{\"a\":1}");
    gives("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n[]", "[]");
}

static void test_errors(void) {
    fails("HTTP/1.1 404 x\r\nContent-Length: 67\r\n\r\n"
          "{\"error\":{\"code\":\"not_found\",\"message\":\"no VM web1\",\"hint\":\"look\"}}xx",
          error_kind_from_code("not_found"), "no VM web1");
    fails("HTTP/1.1 500 x\r\nContent-Length: 4\r\n\r\noops", ERROR_FAILED, "HTTP status 500");
    fails("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\noops", ERROR_CORRUPT, "answer");
    fails("HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n{}", ERROR_CORRUPT, "middle of its answer");
    fails("", ERROR_FAILED, "closed the connection");
    fails("HTTP/1.1 200", ERROR_FAILED, "closed the connection");
    fails("SSH-2.0-OpenSSH\r\n\r\n", ERROR_CORRUPT, "no status line");
    fails("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", ERROR_CORRUPT, "chunk");
}

static void test_oversize_head(void) {
    _cleanup_(strbuf_free) StrBuf answer = {0};
    strbuf_add_text(&answer, "HTTP/1.1 200 OK\r\n");
    while (answer.size <= HTTP_HEADER_MAX)
        strbuf_add_text(&answer, "X-Header: abcdefghijklmnopqrstuvwxyz\r\n");
    strbuf_add_text(&answer, "\r\n{}");
    fails(answer.data, ERROR_CORRUPT, "too long");
}

static void test_endless_interim(void) {
    _cleanup_(strbuf_free) StrBuf answer = {0};
    for (int i = 0; i < 100; i++)
        strbuf_add_text(&answer, "HTTP/1.1 102 Processing\r\n\r\n");
    fails(answer.data, ERROR_CORRUPT, "no final status");
}

static int count_events(void *data, const json_t *line) {
    CHECK(json_object_get(line, "event"));
    ++*(int *)data;
    return 0;
}

#define LINES_HEAD \
    "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"

static int call_events(const char *answer, size_t step, int *events, json_t **result,
                       Error *error) {
    Script script = {.answer = answer, .step = step, .wait = "\r\n\r\n"};
    HttpCall call = HTTP_CALL("POST", "/v1/vms");
    int fd = start(&script), r;
    call.on_event = count_events;
    call.data = events;
    r = http_call_json(fd, &call, result, error);
    finish(&script, fd);
    return r;
}

static void test_events(void) {
    for (size_t step = 1; step <= 4096; step *= 64) {
        _cleanup_json_ json_t *result = NULL;
        int events = 0;
        CHECK_INT(call_events(LINES_HEAD "12\r\n{\"event\":\"a\"}\n{\"ev\r\n"
                                         "1f\r\nent\":\"b\"}\n{\"result\":{\"id\":\"x\"}}\r\n"
                                         "1\r\n\n\r\n0\r\n\r\n",
                              step, &events, &result, NULL),
                  0);
        CHECK_INT(events, 2);
        CHECK_STR(json_string_value(json_object_get(result, "id")), "x");
    }
}

static void test_event_errors(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    int events = 0;
    CHECK(call_events(LINES_HEAD "0\r\n\r\n", 100, &events, NULL, &error) < 0);
    CHECK_CONTAINS(error_message(&error), "closed");
    CHECK(call_events(LINES_HEAD "31\r\n{\"error\":{\"code\":\"conflict\",\"message\":\"taken\"}}  "
                                 "\r\n0\r\n\r\n",
                      100, &events, NULL, &error) < 0);
    CHECK_CONTAINS(error_message(&error), "taken");
    CHECK(call_events(LINES_HEAD "3\r\n{x\n\r\n0\r\n\r\n", 100, &events, NULL, &error) < 0);
    CHECK_INT(error.kind, ERROR_CORRUPT);
}

static int stop_at_once(void *data, const json_t *line) {
    (void)data;
    (void)line;
    return 17;
}

static void test_handler_ends_call(void) {
    Script script = {
        .answer = LINES_HEAD "3\r\n{}\n\r\n", .step = 100, .wait = "\r\n\r\n", .stay = true};
    HttpCall call = HTTP_CALL("GET", "/v1/events?follow=1");
    int fd = start(&script);
    call.on_event = stop_at_once;
    CHECK_INT(http_call_lines(fd, &call, NULL), 17);
    finish(&script, fd);
}

static int collect(void *data, const void *bytes, size_t size) {
    strbuf_add(data, bytes, size);
    return 0;
}

static void test_data(void) {
    Script script = {.answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                               "4\r\none\n\r\n4\r\ntwo\n\r\n0\r\n\r\n",
                     .step = 1,
                     .wait = "\r\n\r\n"};
    HttpCall call = HTTP_CALL("GET", "/v1/vms/a/logs");
    _cleanup_(strbuf_free) StrBuf out = {0};
    int fd = start(&script);
    call.data = &out;
    CHECK_INT(http_call_data(fd, &call, collect, NULL), 0);
    CHECK_STR(out.data, "one\ntwo\n");
    finish(&script, fd);
}

static void test_body_is_sent(void) {
    Script script = {.answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
                     .step = 100,
                     .wait = "{\"name\":\"x\"}",
                     .stay = true};
    HttpCall call = HTTP_CALL("POST", "/v1/vms");
    _cleanup_json_ json_t *body = json_pack("{s:s}", "name", "x");
    int fd = start(&script);
    call.body = body;
    CHECK_INT(http_call_json(fd, &call, NULL, NULL), 0);
    CHECK_CONTAINS(script.request.data, "POST /v1/vms HTTP/1.1\r\n");
    CHECK_CONTAINS(script.request.data, "Content-Length: 12\r\n");
    finish(&script, fd);
}

static void test_upload(void) {
    Script script = {.answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
                     .step = 100,
                     .wait = "\r\n0\r\n\r\n",
                     .stay = true};
    HttpCall call = HTTP_CALL("POST", "/v1/images/import?name=x");
    int fd = start(&script), pipe_fds[2];
    CHECK_INT(pipe(pipe_fds), 0);
    CHECK_INT(fd_write_full(pipe_fds[1], "hello", 5), 0);
    (void)fd_close(pipe_fds[1]);
    call.body_fd = pipe_fds[0];
    CHECK_INT(http_call_json(fd, &call, NULL, NULL), 0);
    CHECK_CONTAINS(script.request.data, "\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    (void)fd_close(pipe_fds[0]);
    finish(&script, fd);
}

/* The server answers while the upload has not ended, and never will. */
static void test_upload_refused_early(void) {
    Script script = {.answer = "HTTP/1.1 507 x\r\nContent-Length: 51\r\n\r\n"
                               "{\"error\":{\"code\":\"no_space\",\"message\":\"disk full\"}}",
                     .step = 100,
                     .wait = "\r\n\r\n",
                     .stay = true};
    HttpCall call = HTTP_CALL("POST", "/v1/images/import?name=x");
    _cleanup_error_ Error error = ERROR_INIT;
    int fd = start(&script), zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    call.body_fd = zero;
    CHECK(http_call_json(fd, &call, NULL, &error) < 0);
    CHECK_CONTAINS(error_message(&error), "disk full");
    (void)fd_close(zero);
    finish(&script, fd);
}

/* What is to be sent is silent, and yet its end or answer is heard. */
static void test_upload_of_silence(void) {
    static const struct {
        const char *answer, *part;
    } cases[] = {{"", "closed the connection"},
                 {"HTTP/1.1 507 x\r\nContent-Length: 51\r\n\r\n"
                  "{\"error\":{\"code\":\"no_space\",\"message\":\"disk full\"}}",
                  "disk full"}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        Script script = {.answer = cases[i].answer, .step = 100, .wait = "\r\n\r\n"};
        HttpCall call = HTTP_CALL("POST", "/v1/images/import?name=x");
        _cleanup_error_ Error error = ERROR_INIT;
        int silence[2], fd = start(&script);
        CHECK_INT(pipe2(silence, O_CLOEXEC), 0);
        call.body_fd = silence[0];
        CHECK(http_call_json(fd, &call, NULL, &error) < 0);
        CHECK_CONTAINS(error_message(&error), cases[i].part);
        (void)fd_close(silence[0]);
        (void)fd_close(silence[1]);
        finish(&script, fd);
    }
}

static void test_upgrade(void) {
    for (size_t step = 1; step <= 4096; step *= 64) {
        Script script = {.answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                                   "Upgrade: ramet-stream\r\n\r\n\r\n\r\nraw",
                         .step = step,
                         .wait = "\r\n\r\n"};
        HttpCall call = HTTP_CALL("POST", "/v1/vms/a/exec");
        char bytes[8] = "";
        int fd = start(&script);
        CHECK_INT(http_call_upgrade(fd, &call, NULL), 0);
        CHECK_INT(fd_read_full(fd, bytes, 7), 7);
        CHECK_STR(bytes, "\r\n\r\nraw");
        CHECK_CONTAINS(script.request.data, "Upgrade: ramet-stream\r\n");
        finish(&script, fd);
    }
}

static void test_upgrade_refused(void) {
    Script script = {.answer = "HTTP/1.1 409 x\r\n\r\n{\"error\":{\"code\":\"conflict\","
                               "\"message\":\"a is stopped\"}}",
                     .step = 100,
                     .wait = "\r\n\r\n"};
    HttpCall call = HTTP_CALL("POST", "/v1/vms/a/exec");
    _cleanup_error_ Error error = ERROR_INIT;
    int fd = start(&script);
    CHECK(http_call_upgrade(fd, &call, &error) < 0);
    CHECK_INT(error.kind, ERROR_CONFLICT);
    finish(&script, fd);
}

static void test_cancel_and_deadline(void) {
    Script script = {.answer = "", .wait = "never", .step = 1};
    HttpCall call = HTTP_CALL("GET", "/v1/version");
    int fd = start(&script);
    call.cancel_fd = eventfd(1, EFD_CLOEXEC);
    CHECK_INT(http_call_json(fd, &call, NULL, NULL), -ECANCELED);
    call.cancel_fd = fd_close(call.cancel_fd);
    call.deadline_usec = clock_monotonic_usec();
    CHECK_INT(http_call_json(fd, &call, NULL, NULL), -ETIMEDOUT);
    finish(&script, fd);
}

static void test_connect_fails(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    int fd = -1;
    CHECK_INT(http_connect("/nonexistent/ramet.sock", &fd, &error), -ENOENT);
    CHECK_CONTAINS(error_message(&error), "/nonexistent/ramet.sock");
}

int main(void) {
    RUN(test_json);
    RUN(test_errors);
    RUN(test_oversize_head);
    RUN(test_endless_interim);
    RUN(test_events);
    RUN(test_event_errors);
    RUN(test_handler_ends_call);
    RUN(test_data);
    RUN(test_body_is_sent);
    RUN(test_upload);
    RUN(test_upload_refused_early);
    RUN(test_upload_of_silence);
    RUN(test_upgrade);
    RUN(test_upgrade_refused);
    RUN(test_cancel_and_deadline);
    RUN(test_connect_fails);
    return 0;
}
