/* SPDX-License-Identifier: Apache-2.0 */

/* The client against a scripted server: each test writes what the server does, step by step, as a
 * list of lines. "<" waits for a command line that contains the text; ">" sends the text and a
 * newline; "." sends it one byte at a time; "raw" sends it as it is; "fd" waits for a command with
 * a descriptor. The end of the list closes the connection. */

#include "qemu/qmp.h"

#include <errno.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "check.h"

#define GREETING "{\"QMP\":{\"version\":{},\"capabilities\":[]}}"
#define BOUND (clock_monotonic_usec() + 60 * USEC_PER_SEC)

typedef struct Step {
    const char *action;
    const char *text;
} Step;

typedef struct Server {
    int fd;
    const Step *steps;
    pthread_t thread;
} Server;

static void server_expect(int fd, const char *part, bool want_fd) {
    char line[65536];
    size_t size = 0;
    bool got_fd = false;
    while (size == 0 || line[size - 1] != '\n') {
        int fds[1];
        size_t n_fds = 1;
        CHECK(size < sizeof(line) - 1);
        CHECK(fd_receive_message(fd, line + size, 1, fds, &n_fds) == 1);
        size++;
        if (n_fds) {
            got_fd = true;
            (void)close(fds[0]);
        }
    }
    line[size] = '\0';
    CHECK_CONTAINS(line, part);
    CHECK_INT(got_fd, want_fd);
}

static void server_step(int fd, const Step *step) {
    if (str_equal(step->action, "<"))
        server_expect(fd, step->text, false);
    if (str_equal(step->action, "fd"))
        server_expect(fd, step->text, true);
    if (str_equal(step->action, ">") || str_equal(step->action, "raw"))
        (void)fd_write_full(fd, step->text, strlen(step->text));
    if (str_equal(step->action, "."))
        for (const char *byte = step->text; *byte; byte++)
            CHECK_INT(fd_write_full(fd, byte, 1), 0);
    if (str_equal(step->action, ">") || str_equal(step->action, "."))
        (void)fd_write_full(fd, "\r\n", 2);
}

static void *server_run(void *data) {
    Server *server = data;
    for (const Step *step = server->steps; step->action; step++)
        server_step(server->fd, step);
    (void)close(server->fd);
    return NULL;
}

static Qmp *server_start(Server *server, const Step *steps) {
    int pair[2];
    CHECK_INT(fd_socketpair(SOCK_STREAM, pair), 0);
    *server = (Server){.fd = pair[1], .steps = steps};
    CHECK_INT(pthread_create(&server->thread, NULL, server_run, server), 0);
    return qmp_new(pair[0]);
}

static void server_stop(Server *server) {
    CHECK_INT(pthread_join(server->thread, NULL), 0);
}

#define START(...)                                    \
    Server server;                                    \
    const Step steps[] = {__VA_ARGS__, {NULL, NULL}}; \
    Qmp *qmp = server_start(&server, steps);          \
    _cleanup_error_ Error error = ERROR_INIT

#define STOP()                \
    do {                      \
        qmp_free(qmp);        \
        server_stop(&server); \
    } while (0)

#define HELLO                                                     \
    {">", GREETING}, {"<", "\"execute\":\"qmp_capabilities\""}, { \
        ">", "{\"return\":{},\"id\":1}"                           \
    }

static void test_greeting_and_call(void) {
    START(HELLO, {"<", "{\"execute\":\"query-status\",\"id\":2,\"arguments\":{\"a\":1}}"},
          {">", "{\"return\":{\"status\":\"running\"},\"id\":2}"});
    _cleanup_json_ json_t *greeting = NULL, *result = NULL, *arguments = json_pack("{s:i}", "a", 1);
    CHECK_INT(qmp_greeting(qmp, BOUND, &greeting, &error), 0);
    CHECK(json_object_get(greeting, "QMP"));
    CHECK_INT(qmp_call(qmp, "query-status", arguments, BOUND, &result, &error), 0);
    CHECK_STR(json_string_value(json_object_get(result, "status")), "running");
    STOP();
}

static void test_one_byte_at_a_time(void) {
    START({".", GREETING}, {"<", "qmp_capabilities"}, {".", "{\"event\":\"STOP\"}"},
          {".", "{\"return\":{},\"id\":1}"});
    json_t *event;
    CHECK_INT(qmp_greeting(qmp, BOUND, NULL, &error), 0);
    event = qmp_next_event(qmp);
    CHECK_STR(qmp_event_name(event), "STOP");
    json_decref(event);
    CHECK(!qmp_next_event(qmp));
    STOP();
}

static void test_reordered_replies_and_events_between(void) {
    START(HELLO, {"<", "first"}, {"<", "second"}, {"<", "third"}, {">", "{\"event\":\"A\"}"},
          {">", "{\"return\":3,\"id\":4}"}, {">", "{\"event\":\"B\"}"},
          {">", "{\"return\":99,\"id\":77}"}, {">", "{\"return\":1,\"id\":2}"},
          {">", "{\"event\":\"C\"}\r\n{\"return\":2,\"id\":3}"});
    static const char *const names[] = {"C", "B", NULL};
    uint64_t ids[3];
    json_t *result, *event;
    CHECK_INT(qmp_greeting(qmp, BOUND, NULL, &error), 0);
    CHECK_INT(qmp_send(qmp, "first", NULL, -1, BOUND, &ids[0], &error), 0);
    CHECK_INT(qmp_send(qmp, "second", NULL, -1, BOUND, &ids[1], &error), 0);
    CHECK_INT(qmp_send(qmp, "third", NULL, -1, BOUND, &ids[2], &error), 0);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(qmp_receive(qmp, ids[i], BOUND, &result, &error), 0);
        CHECK_INT(json_integer_value(result), i + 1);
        json_decref(result);
    }
    CHECK_INT(qmp_wait_event(qmp, names, BOUND, &event, &error), 0);
    CHECK_STR(qmp_event_name(event), "B");
    json_decref(event);
    event = qmp_next_event(qmp);
    CHECK_STR(qmp_event_name(event), "A");
    json_decref(event);
    STOP();
}

static void test_error_reply(void) {
    START(HELLO, {"<", "quit"},
          {">", "{\"id\":2,\"error\":{\"class\":\"GenericError\",\"desc\":\"no \\u001bway\"}}"},
          {"<", "fly"},
          {">", "{\"id\":3,\"error\":{\"class\":\"CommandNotFound\",\"desc\":\"unknown\"}}"},
          {"<", "odd"}, {">", "{\"id\":4,\"error\":[]}"});
    json_t *untouched = NULL;
    CHECK_INT(qmp_greeting(qmp, BOUND, NULL, &error), 0);
    CHECK_INT(qmp_call(qmp, "quit", NULL, BOUND, &untouched, &error), -EREMOTEIO);
    CHECK_STR(error_message(&error), "QMP quit: no ?way");
    CHECK(!untouched);
    CHECK_INT(qmp_call(qmp, "fly", NULL, BOUND, NULL, &error), -ENOSYS);
    CHECK_INT(error.kind, ERROR_UNSUPPORTED);
    CHECK_INT(qmp_call(qmp, "odd", NULL, BOUND, NULL, &error), -EREMOTEIO);
    STOP();
}

static void test_descriptor(void) {
    START(HELLO, {"fd", "\"execute\":\"getfd\""}, {">", "{\"return\":{},\"id\":2}"});
    CHECK_INT(qmp_greeting(qmp, BOUND, NULL, &error), 0);
    CHECK_INT(qmp_call_fd(qmp, "getfd", NULL, STDOUT_FILENO, BOUND, NULL, &error), 0);
    STOP();
}

/* The connection stays good: the late reply is dropped and the next one is found. */
static void test_deadline_then_late_reply(void) {
    START(HELLO, {"<", "slow"}, {"<", "next"}, {">", "{\"return\":1,\"id\":2}"},
          {">", "{\"return\":2,\"id\":3}"});
    json_t *result;
    CHECK_INT(qmp_greeting(qmp, BOUND, NULL, &error), 0);
    CHECK_INT(qmp_call(qmp, "slow", NULL, clock_monotonic_usec(), NULL, &error), -ETIMEDOUT);
    CHECK_CONTAINS(error_message(&error), "slow");
    CHECK_INT(qmp_call(qmp, "next", NULL, BOUND, &result, &error), 0);
    CHECK_INT(json_integer_value(result), 2);
    json_decref(result);
    STOP();
}

static void test_end_of_stream(void) {
    START(HELLO, {"<", "quit"}, {">", "{\"event\":\"SHUTDOWN\"}"});
    json_t *event;
    CHECK_INT(qmp_greeting(qmp, BOUND, NULL, &error), 0);
    CHECK_INT(qmp_call(qmp, "quit", NULL, BOUND, NULL, &error), -ECONNRESET);
    event = qmp_next_event(qmp);
    CHECK_STR(qmp_event_name(event), "SHUTDOWN");
    json_decref(event);
    CHECK_INT(qmp_process(qmp, &error), -ECONNRESET);
    CHECK_INT(qmp_call(qmp, "stop", NULL, BOUND, NULL, &error), -ECONNRESET);
    STOP();
}

static void test_end_before_greeting(void) {
    START({"raw", "{\"QMP\":"});
    CHECK_INT(qmp_greeting(qmp, BOUND, NULL, &error), -ECONNRESET);
    STOP();
}

static void refuse_line(const char *line) {
    START(HELLO, {"<", "stop"}, {">", line}, {">", "{\"return\":{},\"id\":2}"});
    CHECK_INT(qmp_greeting(qmp, BOUND, NULL, &error), 0);
    CHECK_INT(qmp_call(qmp, "stop", NULL, BOUND, NULL, &error), -EBADMSG);
    CHECK_INT(error.kind, ERROR_CORRUPT);
    CHECK_INT(qmp_process(qmp, &error), -EBADMSG);
    STOP();
}

static void test_garbage(void) {
    refuse_line("what is this");
    refuse_line("[1]");
    refuse_line("{}");
    refuse_line("{\"return\":{},\"id\":2");
    refuse_line("{\"return\":{}}");
    refuse_line("{\"return\":{},\"id\":\"2\"}");
    refuse_line("{\"a\":1,\"a\":2}");
    refuse_line(GREETING);
}

/* Ids that nobody asked for are dropped and change nothing. */
static void test_foreign_ids(void) {
    START(HELLO, {"<", "stop"}, {">", "{\"return\":{},\"id\":0}"},
          {">", "{\"return\":{},\"id\":-5}"}, {">", "{\"return\":{},\"id\":1}"},
          {">", "{\"return\":7,\"id\":2}"});
    json_t *result;
    CHECK_INT(qmp_greeting(qmp, BOUND, NULL, &error), 0);
    CHECK_INT(qmp_call(qmp, "stop", NULL, BOUND, &result, &error), 0);
    CHECK_INT(json_integer_value(result), 7);
    json_decref(result);
    STOP();
}

static void test_oversize_line(void) {
    _cleanup_free_ char *line = malloc(QMP_LINE_MAX + 1);
    Server server;
    const Step steps[] = {{"raw", line}, {NULL, NULL}};
    _cleanup_error_ Error error = ERROR_INIT;
    Qmp *qmp;
    memset(line, ' ', QMP_LINE_MAX);
    line[QMP_LINE_MAX] = '\0';
    qmp = server_start(&server, steps);
    CHECK_INT(qmp_greeting(qmp, BOUND, NULL, &error), -EBADMSG);
    CHECK_CONTAINS(error_message(&error), "too long");
    STOP();
}

static void test_event_flood(void) {
    _cleanup_(strbuf_free) StrBuf flood = {0};
    _cleanup_error_ Error error = ERROR_INIT;
    Step steps[] = {HELLO, {"raw", NULL}, {NULL, NULL}};
    Server server;
    json_t *event;
    Qmp *qmp;
    for (unsigned i = 0; i < QMP_EVENTS_MAX + 10; i++)
        strbuf_add_format(&flood, "{\"event\":\"E%u\"}\n", i);
    steps[3].text = flood.data;
    qmp = server_start(&server, steps);
    CHECK_INT(qmp_greeting(qmp, BOUND, NULL, &error), 0);
    CHECK_INT(qmp_wait_event(qmp, (const char *const[]){"never", NULL}, BOUND, &event, &error),
              -ECONNRESET);
    CHECK_INT(qmp_events_lost(qmp), 10);
    event = qmp_next_event(qmp);
    CHECK_STR(qmp_event_name(event), "E10");
    json_decref(event);
    STOP();
}

static void test_too_many_pending(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    uint64_t id = 0;
    int pair[2];
    Qmp *qmp;
    CHECK_INT(fd_socketpair(SOCK_STREAM, pair), 0);
    qmp = qmp_new(pair[0]);
    for (unsigned i = 0; i < QMP_PENDING_MAX; i++)
        CHECK_INT(qmp_send(qmp, "stop", NULL, -1, BOUND, &id, &error), 0);
    CHECK_INT(qmp_send(qmp, "stop", NULL, -1, BOUND, &id, &error), -EBUSY);
    qmp_forget(qmp, 1);
    CHECK_INT(qmp_send(qmp, "stop", NULL, -1, BOUND, &id, &error), 0);
    CHECK_INT(qmp_receive(qmp, 1, BOUND, NULL, &error), -EINVAL);
    CHECK_INT(qmp_receive(qmp, 0, BOUND, NULL, &error), -EINVAL);
    qmp_free(qmp);
    (void)close(pair[1]);
}

/* A server that reads nothing: the call ends at its deadline, and half a command breaks the
 * connection. */
static void test_server_reads_nothing(void) {
    _cleanup_free_ char *big = malloc(4 * MIB);
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_json_ json_t *arguments = NULL;
    int pair[2];
    Qmp *qmp;
    memset(big, 'x', 4 * MIB);
    arguments = json_pack("{s:s%}", "a", big, (size_t)(4 * MIB));
    CHECK_INT(fd_socketpair(SOCK_STREAM, pair), 0);
    qmp = qmp_new(pair[0]);
    CHECK_INT(qmp_call(qmp, "big", arguments, clock_monotonic_usec(), NULL, &error), -ETIMEDOUT);
    CHECK_INT(qmp_call(qmp, "stop", NULL, BOUND, NULL, &error), -ETIMEDOUT);
    qmp_free(qmp);
    (void)close(pair[1]);
}

int main(void) {
    RUN(test_greeting_and_call);
    RUN(test_one_byte_at_a_time);
    RUN(test_reordered_replies_and_events_between);
    RUN(test_error_reply);
    RUN(test_descriptor);
    RUN(test_deadline_then_late_reply);
    RUN(test_end_of_stream);
    RUN(test_end_before_greeting);
    RUN(test_garbage);
    RUN(test_foreign_ids);
    RUN(test_oversize_line);
    RUN(test_event_flood);
    RUN(test_too_many_pending);
    RUN(test_server_reads_nothing);
    return 0;
}
