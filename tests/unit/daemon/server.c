/* SPDX-License-Identifier: Apache-2.0 */
/* The server over a real socket, with fake_vm.c in the place of VMs. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../base/scratch.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "base/str.h"
#include "daemon/listen.h"
#include "daemon/server.h"
#include "home/home.h"
#include "proto/agent.h"
#include "proto/api/api.h"
#include "proto/api/http_body.h"
#include "proto/api/http_client.h"
#include "proto/frame.h"
#include "proto/log_times.h"

#include "fake_vm.h"

#define LONG_WAIT_MSEC 60000

static Home *home;
static Server *server;
static char *socket_path;
static int stop_fd;

static void start_server(const char *path) {
    int listen_fd;
    bool made;
    home = fake_home_new(path);
    stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    socket_path = path_join(path, "ramet.sock");
    Passed passed;
    CHECK_INT(listen_adopt_passed(&passed, NULL), 0);
    CHECK_INT(listen_open(socket_path, &passed, &listen_fd, &made, NULL), 0);
    CHECK(made);
    ServerOptions options = {.home = home, .listen_fd = listen_fd, .stop_fd = stop_fd};
    CHECK_INT(server_start(&options, &server, NULL), 0);
}

static void stop_server(void) {
    CHECK_INT(server_stop(server, 60 * USEC_PER_SEC), 0);
    (void)fd_close(stop_fd);
    fake_home_free(home);
    free(socket_path);
}

static int dial(void) {
    int fd;
    CHECK_INT(http_connect(socket_path, &fd, NULL), 0);
    return fd;
}

/* ---- raw HTTP ---- */

/* Sends the text, in steps, and reads all until the server closes. */
static char *raw(const char *text, size_t step) {
    _cleanup_(strbuf_free) StrBuf out = {0};
    _cleanup_close_ int fd = dial();
    char buffer[4096];
    ssize_t n;
    for (size_t at = 0; at < strlen(text); at += step)
        if (fd_write_full(fd, text + at, MIN_OF(step, strlen(text) - at)) < 0)
            break;
    while ((n = read(fd, buffer, sizeof(buffer))) > 0)
        strbuf_add(&out, buffer, (size_t)n);
    return strbuf_steal(&out);
}

static void expect_raw(const char *text, const char *status, const char *part) {
    _cleanup_free_ char *answer = raw(text, 4096);
    if (!str_has_prefix(answer, status))
        fprintf(stderr, "%s\n", answer);
    CHECK(str_has_prefix(answer, status));
    CHECK_CONTAINS(answer, part);
}

#define END "Host: x\r\nConnection: close\r\n\r\n"

static void test_statuses(void) {
    expect_raw("GET /v1/nothing HTTP/1.1\r\n" END, "HTTP/1.1 404", "\"code\":\"not_found\"");
    expect_raw("GET / HTTP/1.1\r\n" END, "HTTP/1.1 404", "no path /");
    expect_raw("GET /v1/vms/%00web1 HTTP/1.1\r\n" END, "HTTP/1.1 404", "error");
    expect_raw("PUT /v1/vms/a HTTP/1.1\r\n" END, "HTTP/1.1 405", "Allow: DELETE, GET");
    expect_raw("GET /v1/vms?color=1 HTTP/1.1\r\n" END, "HTTP/1.1 400", "color");
    expect_raw("GET /v1/vms/x/logs?since=soon HTTP/1.1\r\n" END, "HTTP/1.1 400", "RFC 3339");
    expect_raw("GET /v1/vms?all=7 HTTP/1.1\r\n" END, "HTTP/1.1 400", "all is neither");
    expect_raw("GET /v1/vms/none HTTP/1.1\r\n" END, "HTTP/1.1 404", "none");
    expect_raw("POST /v1/vms HTTP/1.1\r\nContent-Length: 9\r\n" END "{\"image\":", "HTTP/1.1 400",
               "line 1");
    expect_raw("POST /v1/vms HTTP/1.1\r\nContent-Length: 2\r\n" END "[]", "HTTP/1.1 400",
               "not a JSON object");
    expect_raw("POST /v1/vms HTTP/1.1\r\nContent-Length: 2\r\n" END "{}", "HTTP/1.1 400",
               "lacks \\\"image\\\"");
    expect_raw("POST /v1/run HTTP/1.1\r\nContent-Length: 13\r\n" END "{\"image\":\"b\"}",
               "HTTP/1.1 426", "ramet-stream");
    expect_raw("POST /v1/vms HTTP/1.1\r\nContent-Length: 99999999\r\n" END, "HTTP/1.1 413",
               "longer than 16384 KiB");
}

static void test_plain_exec(void) {
    expect_raw("POST /v1/vms/runs/exec HTTP/1.1\r\nContent-Length: 34\r\n" END
               "{\"argv\":[\"cat\"],\"input\":\"from us\"}",
               "HTTP/1.1 200", "\"answer\":\"document\",\"chunked\":true},\"input\":\"from us\"");
    expect_raw("POST /v1/vms/runs/exec HTTP/1.1\r\nAccept: application/x-ndjson\r\n"
               "Content-Length: 17\r\n" END "{\"argv\":[\"true\"]}",
               "HTTP/1.1 200", "\"answer\":\"lines\"");
    expect_raw("POST /v1/vms/runs/exec HTTP/1.1\r\nContent-Type: application/x-ndjson\r\n"
               "Content-Length: 46\r\n" END
               "{\"argv\":[\"x\"]}\n{\"stream\":\"stdin\",\"data\":\"yes\"}",
               "HTTP/1.1 200", "\"input\":\"yes\"");
    expect_raw("POST /v1/vms/runs/exec HTTP/1.1\r\nContent-Length: 31\r\n" END
               "{\"argv\":[\"true\"],\"detach\":true}",
               "HTTP/1.1 200", "{\"id\":\"d1\"}");
    expect_raw("POST /v1/vms/runs/exec HTTP/1.1\r\nContent-Length: 30\r\n" END
               "{\"argv\":[\"true\"],\"stdin\":true}",
               "HTTP/1.1 400", "Upgrade");
    /* the keeper refuses, and the socket is ours again */
    expect_raw("POST /v1/vms/runs/exec/wait HTTP/1.1\r\nContent-Length: 16\r\n" END
               "{\"id\":\"refused\"}",
               "HTTP/1.1 409", "runs is paused");
}

static void test_plain_files(void) {
    expect_raw("PUT /v1/vms/runs/files?path=/x&mode=600 HTTP/1.1\r\nContent-Length: 3\r\n" END
               "abc",
               "HTTP/1.1 200", "\"op\":\"write\",");
    expect_raw("PUT /v1/vms/runs/files?path=/x&mode=600 HTTP/1.1\r\nContent-Length: 3\r\n" END
               "abc",
               "HTTP/1.1 200", "\"mode\":384,\"bytes\":3,\"answer\":\"done\"");
    expect_raw("PUT /v1/vms/runs/files?path=/x HTTP/1.1\r\nContent-Type: application/x-tar\r\n"
               "Content-Length: 3\r\n" END "abc",
               "HTTP/1.1 200", "\"op\":\"copy_in\",");
    expect_raw("PUT /v1/vms/runs/files?path=/x&mode=78 HTTP/1.1\r\nContent-Length: 0\r\n" END,
               "HTTP/1.1 400", "octal");
    expect_raw("GET /v1/vms/runs/files HTTP/1.1\r\n" END, "HTTP/1.1 400", "lacks");
    expect_raw("GET /v1/vms/runs/files?path=/x HTTP/1.1\r\n" END, "HTTP/1.1 200",
               "\"op\":\"read\",");
    expect_raw("GET /v1/vms/runs/files/stat?path=/x HTTP/1.1\r\n" END, "HTTP/1.1 200",
               "\"op\":\"stat\",");
    expect_raw("DELETE /v1/vms/runs/files HTTP/1.1\r\n" END, "HTTP/1.1 405", "Allow: GET, PUT");
}

static void test_slow_writer(void) {
    _cleanup_free_ char *answer =
        raw("GET /v1/vms?all=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 1);
    CHECK(str_has_prefix(answer, "HTTP/1.1 200"));
    CHECK_CONTAINS(answer, "web1");
}

static void test_large_headers(void) {
    _cleanup_(strbuf_free) StrBuf text = {0};
    _cleanup_free_ char *answer = NULL;
    strbuf_add_text(&text, "GET /v1/version HTTP/1.1\r\n");
    while (text.size < 2 * SERVER_HEADERS_MAX)
        strbuf_add_text(&text, "X-Header: abcdefghijklmnopqrstuvwxyz\r\n");
    strbuf_add_text(&text, END);
    answer = raw(text.data, 4096);
    CHECK(answer[0] == '\0' || str_has_prefix(answer, "HTTP/1.1 431"));
}

/* A body without a length is cut off as well, and the client that writes first still hears it. */
static void test_large_chunked_body(void) {
    _cleanup_(strbuf_free) StrBuf text = {0};
    _cleanup_free_ char *zeroes = calloc(1, 65537), *answer = NULL;
    memset(zeroes, ' ', 65536);
    strbuf_add_text(&text, "POST /v1/vms HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" END);
    for (int i = 0; i < 260; i++)
        strbuf_add_format(&text, "10000\r\n%s\r\n", zeroes);
    strbuf_add_text(&text, "0\r\n\r\n");
    answer = raw(text.data, 65536);
    CHECK(str_has_prefix(answer, "HTTP/1.1 413"));
}

static void test_two_requests_on_one_connection(void) {
    _cleanup_free_ char *answer =
        raw("GET /v1/version HTTP/1.1\r\nHost: x\r\n\r\nGET /v1/vms HTTP/1.1\r\n" END, 4096);
    CHECK_CONTAINS(answer, "\"api\":1");
    CHECK_CONTAINS(answer, "[]");
}

/* ---- plain calls ---- */

static int call_json(const char *method, const char *path, json_t *body, json_t **answer,
                     Error *error) {
    _cleanup_json_ json_t *owned = body;
    _cleanup_close_ int fd = dial();
    HttpCall call = HTTP_CALL(method, path);
    call.body = owned;
    return http_call_json(fd, &call, answer, error);
}

static void test_plain_calls(void) {
    _cleanup_json_ json_t *version = NULL, *openapi = NULL, *vm = NULL, *image = NULL;
    CHECK_INT(call_json("GET", "/v1/version", NULL, &version, NULL), 0);
    CHECK_STR(json_string_value(json_object_get(version, "version")), RAMET_VERSION);
    CHECK_INT(json_integer_value(json_object_get(version, "pid")), getpid());
    CHECK_INT(call_json("GET", "/v1/openapi.json", NULL, &openapi, NULL), 0);
    CHECK(json_object_get(openapi, "paths"));
    CHECK_INT(
        call_json("POST", "/v1/vms", json_pack("{s:s, s:s}", "image", "b", "name", "n"), &vm, NULL),
        0);
    CHECK_STR(json_string_value(json_object_get(vm, "name")), "n");
    CHECK_INT(call_json("POST", "/v1/images/build",
                        json_pack("{s:s, s:s, s:[s, s]}", "name", "d", "from", "debian", "include",
                                  "a", "b"),
                        &image, NULL),
              0);
    CHECK_INT(json_integer_value(json_object_get(image, "packages")), 2);
}

static void test_upload(void) {
    _cleanup_json_ json_t *image = NULL;
    _cleanup_close_ int fd = dial(), file = memfd_create("upload", MFD_CLOEXEC);
    HttpCall call = HTTP_CALL("POST", "/v1/images/import?name=x");
    CHECK_INT(fd_write_full(file, "the bytes", 9), 0);
    CHECK_INT(lseek(file, 0, SEEK_SET), 0);
    call.body_fd = file;
    CHECK_INT(http_call_json(fd, &call, &image, NULL), 0);
    CHECK_STR(json_string_value(json_object_get(image, "bytes")), "the bytes");
}

static void test_import_needs_one_source(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    CHECK(call_json("POST", "/v1/images/import", json_pack("{s:s}", "name", "x"), NULL, &error) <
          0);
    CHECK_CONTAINS(error_message(&error), "neither a path nor an upload");
}

/* ---- streams ---- */

static int count_line(void *data, const json_t *line) {
    (void)line;
    ++*(int *)data;
    return 0;
}

static int call_events(const char *name, int *events, json_t **vm, Error *error) {
    _cleanup_json_ json_t *body = json_pack("{s:s, s:s}", "image", "b", "name", name);
    _cleanup_close_ int fd = dial();
    HttpCall call = HTTP_CALL("POST", "/v1/vms");
    call.body = body;
    call.on_event = count_line;
    call.data = events;
    return http_call_json(fd, &call, vm, error);
}

static void test_events_of_an_operation(void) {
    _cleanup_json_ json_t *vm = NULL;
    _cleanup_error_ Error error = ERROR_INIT;
    int events = 0;
    CHECK_INT(call_events("web1", &events, &vm, NULL), 0);
    CHECK_INT(events, 2);
    CHECK_STR(json_string_value(json_object_get(vm, "name")), "web1");
    events = 0;
    CHECK(call_events("bad", &events, NULL, &error) < 0);
    CHECK_INT(events, 2);
    CHECK_INT(error.kind, ERROR_GUEST_NOT_READY);
    CHECK(call_events("refused", &events, NULL, &error) < 0);
    CHECK_INT(error.kind, ERROR_CONFLICT);
}

/* What fails before the first event is an ordinary HTTP error. */
static void test_early_failure_has_a_status(void) {
    expect_raw("POST /v1/vms HTTP/1.1\r\nAccept: application/x-ndjson\r\nContent-Length: 30\r\n" END
               "{\"image\":\"b\",\"name\":\"refused\"}",
               "HTTP/1.1 409", "taken");
}

static void test_old_client_gets_no_chunks(void) {
    _cleanup_free_ char *answer =
        raw("POST /v1/vms HTTP/1.0\r\nAccept: application/x-ndjson\r\n"
            "Content-Length: 27\r\n\r\n{\"image\":\"b\",\"name\":\"web1\"}",
            4096);
    CHECK(!strstr(answer, "chunked"));
    CHECK_CONTAINS(answer, "\r\n\r\n{\"event\":\"stage\",\"name\":\"plan\"}\n");
}

static void wait_count(atomic_int *counter, int value) {
    uint64_t deadline_usec = clock_monotonic_usec() + LONG_WAIT_MSEC * USEC_PER_MSEC;
    while (atomic_load(counter) < value) {
        CHECK(clock_monotonic_usec() < deadline_usec);
        (void)poll(NULL, 0, 1);
    }
}

static void test_client_leaves(const char *head) {
    int waiting = fake_waiting, cancelled = fake_cancelled, fd = dial();
    CHECK_INT(fd_write_full(fd, head, strlen(head)), 0);
    wait_count(&fake_waiting, waiting + 1);
    (void)fd_close(fd);
    wait_count(&fake_cancelled, cancelled + 1);
}

#define SLOW "Content-Length: 27\r\n\r\n{\"image\":\"b\",\"name\":\"slow\"}"

static void test_client_that_leaves_cancels(void) {
    test_client_leaves("POST /v1/vms HTTP/1.1\r\nHost: x\r\n" SLOW);
    test_client_leaves("POST /v1/vms HTTP/1.1\r\nHost: x\r\nAccept: application/x-ndjson\r\n" SLOW);
    test_client_leaves("POST /v1/run HTTP/1.1\r\nHost: x\r\nUpgrade: ramet-stream\r\n"
                       "Connection: Upgrade\r\n" SLOW);
    test_client_leaves("POST /v1/vms/a/wait HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
}

static int upgrade(const char *path, const json_t *body, int *fd, Error *error) {
    HttpCall call = HTTP_CALL("POST", path);
    *fd = dial();
    call.body = body;
    return http_call_upgrade(*fd, &call, error);
}

static void expect_bytes(int fd, const char *expected) {
    char bytes[64] = "";
    CHECK_INT(fd_read_full(fd, bytes, strlen(expected)), (ssize_t)strlen(expected));
    CHECK_STR(bytes, expected);
}

/* The stream lives on after the daemon has let go of it, in both directions. */
static void test_exec(void) {
    _cleanup_json_ json_t *body = json_pack("{s:[s]}", "argv", "true");
    _cleanup_close_ int fd = -1;
    CHECK_INT(upgrade("/v1/vms/runs/exec", body, &fd, NULL), 0);
    expect_bytes(fd, "exec");
    for (int i = 0; i < 50; i++) {
        CHECK_INT(fd_write_full(fd, "ping", 4), 0);
        expect_bytes(fd, "ping");
    }
}

static void test_exec_refused(void) {
    _cleanup_json_ json_t *body = json_pack("{s:[s]}", "argv", "true");
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_close_ int a = -1, b = -1;
    CHECK(upgrade("/v1/vms/stands/exec", body, &a, &error) < 0);
    CHECK_INT(error.kind, ERROR_CONFLICT);
    CHECK_CONTAINS(error.hint, "ramet start stands");
    CHECK(upgrade("/v1/vms/none/exec", body, &b, &error) < 0);
    CHECK_INT(error.kind, ERROR_NOT_FOUND);
}

static uint8_t read_frame(FrameReader *reader, int fd, char **payload) {
    Frame frame;
    while (frame_reader_next(reader, &frame) == 0) {
        size_t room;
        uint8_t *space = frame_reader_space(reader, &room);
        ssize_t n = read(fd, space, 1); /* no byte beyond the frame */
        if (n <= 0)
            return 0;
        frame_reader_added(reader, (size_t)n);
    }
    *payload = strndup((const char *)frame.payload, frame.length);
    return frame.type;
}

static void expect_frame(FrameReader *reader, int fd, uint8_t type, const char *part) {
    _cleanup_free_ char *payload = NULL;
    CHECK_INT(read_frame(reader, fd, &payload), type);
    CHECK_CONTAINS(payload, part);
}

static void test_run(void) {
    _cleanup_json_ json_t *body =
        json_pack("{s:s, s:s, s:{s:[s]}}", "image", "b", "name", "web1", "exec", "argv", "true");
    _cleanup_close_ int fd = -1;
    FrameReader reader;
    CHECK_INT(frame_reader_init(&reader), 0);
    CHECK_INT(upgrade("/v1/run", body, &fd, NULL), 0);
    expect_frame(&reader, fd, FRAME_EVENT, "plan");
    expect_frame(&reader, fd, FRAME_EVENT, "boot");
    expect_frame(&reader, fd, FRAME_READY, "\"web1\"");
    expect_bytes(fd, "exec");
    CHECK_INT(fd_write_full(fd, "ping", 4), 0);
    expect_bytes(fd, "ping");
    frame_reader_free(&reader);
}

static void test_run_fails(const char *name, const char *part, size_t events) {
    _cleanup_json_ json_t *body =
        json_pack("{s:s, s:s, s:b}", "image", "b", "name", name, "remove", 1);
    _cleanup_close_ int fd = -1;
    FrameReader reader;
    char byte;
    CHECK_INT(frame_reader_init(&reader), 0);
    CHECK_INT(upgrade("/v1/run", body, &fd, NULL), 0);
    for (size_t i = 0; i < events; i++)
        expect_frame(&reader, fd, FRAME_EVENT, "stage");
    if (str_equal(name, "unheard"))
        expect_frame(&reader, fd, FRAME_READY, name);
    expect_frame(&reader, fd, FRAME_ERROR, part);
    CHECK_INT(read(fd, &byte, 1), 0);
    frame_reader_free(&reader);
}

static void test_agent(void) {
    _cleanup_json_ json_t *agent = NULL;
    CHECK_INT(call_json("GET", "/v1/vms/runs/agent", NULL, &agent, NULL), 0);
    CHECK_INT(json_integer_value(json_object_get(agent, "clock_us")), 17);
    CHECK_STR(json_string_value(json_object_get(agent, "ram_nonce")), "aa");
    CHECK_INT(json_integer_value(json_object_get(agent, "counter")), 3);
}

/* The clones are the client's own: their keepers get its stream. */
static void test_fork_of_ones_own(const char *source, uint8_t type, const char *part) {
    _cleanup_json_ json_t *body = json_pack("{s:s}", "source", source);
    _cleanup_close_ int fd = -1;
    FrameReader reader;
    CHECK_INT(frame_reader_init(&reader), 0);
    CHECK_INT(upgrade("/v1/fork", body, &fd, NULL), 0);
    if (type == FRAME_READY)
        expect_bytes(fd, "attach");
    expect_frame(&reader, fd, type, part);
    frame_reader_free(&reader);
}

static void test_forks_of_ones_own(void) {
    int removed = fake_removed;
    test_fork_of_ones_own("s", FRAME_READY, "{\"vms\":[{\"id\":\"s\",\"name\":\"c\"}]}");
    CHECK_INT(fake_removed, removed);
    test_fork_of_ones_own("unheard", FRAME_ERROR, "keeper is gone");
    CHECK_INT(fake_removed, removed + 1);
}

static void test_run_failures(void) {
    int removed = fake_removed;
    test_run_fails("refused", "taken", 0);
    test_run_fails("bad", "guest_not_ready", 2);
    CHECK_INT(fake_removed, removed);
    test_run_fails("unheard", "keeper is gone", 2);
    CHECK_INT(fake_removed, removed + 1);
}

/* ---- logs ---- */

static void write_log(const char *name, const char *file, const char *text) {
    _cleanup_free_ char *folder = fake_vm_folder(home, name);
    _cleanup_free_ char *path = path_join(folder, file);
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    CHECK_INT(fd_write_full(fd, text, strlen(text)), 0);
}

static int collect(void *data, const void *bytes, size_t size) {
    strbuf_add(data, bytes, size);
    return 0;
}

static void expect_logs(const char *query, const char *expected) {
    _cleanup_free_ char *path = api_path(API_VM_LOGS, "talks", query);
    _cleanup_(strbuf_free) StrBuf out = {0};
    _cleanup_close_ int fd = dial();
    HttpCall call = HTTP_CALL("GET", path);
    call.data = &out;
    CHECK_INT(http_call_data(fd, &call, collect, NULL), 0);
    CHECK_STR(out.data ? out.data : "", expected);
}

static void test_logs(void) {
    fake_add_vm(home, "talks", "stopped");
    expect_logs(NULL, "");
    expect_logs("follow=1", "");
    write_log("talks", "console.log", "three\nfour\nfi");
    write_log("talks", "console.log.1", "one\ntwo\n");
    expect_logs(NULL, "one\ntwo\nthree\nfour\nfi");
    expect_logs("tail=0", "");
    expect_logs("tail=1", "fi");
    expect_logs("tail=2", "four\nfi");
    expect_logs("tail=3", "three\nfour\nfi");
    expect_logs("tail=4", "two\nthree\nfour\nfi");
    expect_logs("tail=100", "one\ntwo\nthree\nfour\nfi");
    write_log("talks", "console.log", "ve\n");
    expect_logs("tail=1", "five\n");
    expect_logs("tail=1&follow=1", "five\n");
}

/* The marks of a log: as the keeper notes them. */
static void write_marks(const char *name, const char *log, const char *file, size_t count,
                        const LogTimesMark *marks) {
    _cleanup_free_ char *folder = fake_vm_folder(home, name);
    _cleanup_close_ int folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    LogTimesHeader header = {.magic = LOG_TIMES_MAGIC};
    _cleanup_(strbuf_free) StrBuf content = {0};
    struct stat st;

    CHECK_INT(fstatat(folder_fd, log, &st, 0), 0);
    header.inode = st.st_ino;
    strbuf_add(&content, (const char *)&header, sizeof(header));
    strbuf_add(&content, (const char *)marks, count * sizeof(*marks));
    CHECK_INT(path_write_atomic_at(folder_fd, file, content.data, content.size, 0600), 0);
}

static void expect_note(const char *query, bool expected) {
    _cleanup_free_ char *path = api_path(API_VM_LOGS, "talks", query);
    _cleanup_(strbuf_free) StrBuf out = {0};
    _cleanup_close_ int fd = dial();
    char note[HTTP_NOTE_SIZE];
    HttpCall call = HTTP_CALL("GET", path);
    call.data = &out;
    call.note = note;
    CHECK_INT(http_call_data(fd, &call, collect, NULL), 0);
    CHECK_INT(strstr(note, "not noted") != NULL, expected);
}

#define SECONDS(n) ((uint64_t)(n)*USEC_PER_SEC)

/* "talks" has one\ntwo\n and three\nfour\nfive\n */
static void test_logs_since(void) {
    static const LogTimesMark older[] = {{0, SECONDS(10)}, {4, SECONDS(20)}};
    static const LogTimesMark newer[] = {{0, SECONDS(30)}, {8, SECONDS(40)}, {11, SECONDS(50)}};
    static const char all[] = "one\ntwo\nthree\nfour\nfive\n";
    expect_logs("since=40000000", all); /* nobody noted the times */
    expect_note("since=40000000", true);
    expect_note("tail=1", false);
    write_marks("talks", "console.log", "console.times", 3, newer);
    expect_logs("since=40000000", "four\nfive\n"); /* the mark is within the line */
    expect_note("since=40000000", false);
    expect_logs("since=30000000", all); /* the older log may have more, nobody knows */
    expect_note("since=30000000", true);
    write_marks("talks", "console.log.1", "console.times.1", 2, older);
    expect_logs("since=30000000", "three\nfour\nfive\n");
    expect_note("since=30000000", false);
    expect_logs("since=15000000", "two\nthree\nfour\nfive\n");
    expect_logs("since=0", all);
    expect_note("since=0", false);
    expect_logs("since=1970-01-01T00:00:45Z", "five\n");
    expect_logs("since=1970-01-01T01:00:51%2B01:00", "");
    expect_logs("since=45000000&tail=1", "five\n");
    expect_logs("since=40000000&tail=100", "four\nfive\n");
    expect_logs("since=2999-01-01T00:00:00Z", "");
    write_marks("talks", "console.log", "console.times.1", 3, newer); /* renamed, log not yet */
    expect_logs("since=40000000", "four\nfive\n");
}

/* Marks that no keeper wrote. */
static void test_bad_marks(void) {
    static const LogTimesMark far[] = {{0, SECONDS(1)}, {UINT64_MAX, SECONDS(50)}};
    static const LogTimesMark late[] = {{6, SECONDS(30)}};
    write_marks("talks", "console.log", "console.times", 2, far);
    expect_logs("since=40000000", "");
    write_marks("talks", "console.log", "console.times", 1, late); /* what is before is unknown */
    expect_note("since=20000000", true);
    expect_note("since=40000000", false);
    write_marks("talks", "console.log", "console.times", 0, NULL);
    expect_note("since=20000000", true);
}

typedef struct Follower {
    StrBuf out;
    pthread_mutex_t lock;
    pthread_cond_t grew;
} Follower;

static int follower_add(void *data, const void *bytes, size_t size) {
    Follower *follower = data;
    pthread_mutex_lock(&follower->lock);
    strbuf_add(&follower->out, bytes, size);
    pthread_cond_broadcast(&follower->grew);
    pthread_mutex_unlock(&follower->lock);
    return 0;
}

static void follower_wait(Follower *follower, const char *expected) {
    pthread_mutex_lock(&follower->lock);
    while (!str_equal(follower->out.data, expected))
        pthread_cond_wait(&follower->grew, &follower->lock);
    pthread_mutex_unlock(&follower->lock);
}

static void *follow_logs(void *data) {
    _cleanup_close_ int fd = dial();
    HttpCall call = HTTP_CALL("GET", "/v1/vms/chats/logs?follow=1");
    call.data = data;
    CHECK_INT(http_call_data(fd, &call, follower_add, NULL), 0);
    return NULL;
}

static void rotate(const char *name) {
    _cleanup_free_ char *folder = fake_vm_folder(home, name);
    _cleanup_free_ char *from = path_join(folder, "console.log");
    _cleanup_free_ char *to = path_join(folder, "console.log.1");
    CHECK_INT(rename(from, to), 0);
}

static void test_followed_logs(void) {
    Follower follower = {.lock = PTHREAD_MUTEX_INITIALIZER, .grew = PTHREAD_COND_INITIALIZER};
    pthread_t thread;
    fake_add_vm(home, "chats", "running");
    CHECK_INT(pthread_create(&thread, NULL, follow_logs, &follower), 0);
    write_log("chats", "console.log", "a\n");
    follower_wait(&follower, "a\n");
    write_log("chats", "console.log", "b\n");
    follower_wait(&follower, "a\nb\n");
    rotate("chats");
    write_log("chats", "console.log", "c\n");
    follower_wait(&follower, "a\nb\nc\n");
    write_log("chats", "console.log", "last\n");
    fake_set_state(home, "chats", "stopped");
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_STR(follower.out.data, "a\nb\nc\nlast\n");
    strbuf_free(&follower.out);
}

/* ---- events ---- */

typedef struct Listener {
    const char *until; /* the type that ends it */
    StrBuf types;
} Listener;

static int listener_add(void *data, const json_t *event) {
    Listener *listener = data;
    const char *type = json_string_value(json_object_get(event, "type"));
    strbuf_add_format(&listener->types, "%s ", type);
    return str_equal(type, listener->until);
}

static void *follow_events(void *data) {
    _cleanup_close_ int fd = dial();
    HttpCall call = HTTP_CALL("GET", "/v1/events?follow=1&since=0");
    call.on_event = listener_add;
    call.data = data;
    CHECK_INT(http_call_lines(fd, &call, NULL), 1);
    return NULL;
}

static void test_events(void) {
    Listener all = {0}, followed = {.until = "last"};
    _cleanup_close_ int fd = dial();
    HttpCall call = HTTP_CALL("GET", "/v1/events");
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, follow_events, &followed), 0);
    home_event(home, "middle", NULL, "x", NULL);
    home_event(home, "last", NULL, "x", NULL);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK(str_has_suffix(followed.types.data, "middle last "));
    call.on_event = listener_add;
    call.data = &all;
    CHECK_INT(http_call_lines(fd, &call, NULL), 0);
    CHECK_STR(all.types.data, followed.types.data);
    strbuf_free(&all.types);
    strbuf_free(&followed.types);
}

/* ---- who may ---- */

/* Connects with another effective user of this thread alone: SO_PEERCRED is taken then. */
static void *dial_as_nobody(void *data) {
    CHECK_INT(syscall(SYS_setresuid, -1, 65534, -1), 0);
    *(int *)data = fd_unix_connect(socket_path, SOCK_STREAM);
    return NULL;
}

static void test_stranger_is_refused(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_free_ char *folder = str_copy(socket_path);
    HttpCall call = HTTP_CALL("GET", "/v1/version");
    pthread_t thread;
    int fd = -1;
    if (geteuid() != 0)
        return;
    *strrchr(folder, '/') = '\0';
    CHECK_INT(chmod(folder, 0755), 0);
    CHECK_INT(chmod(socket_path, 0666), 0);
    CHECK_INT(pthread_create(&thread, NULL, dial_as_nobody, &fd), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK(fd >= 0);
    CHECK(http_call_json(fd, &call, NULL, &error) < 0);
    CHECK_INT(error.kind, ERROR_PERMISSION);
    (void)fd_close(fd);
}

/* ---- the end ---- */

static void *wait_for_vm(void *data) {
    _cleanup_error_ Error error = ERROR_INIT;
    (void)data;
    CHECK(call_json("POST", "/v1/vms/a/wait", NULL, NULL, &error) < 0);
    CHECK_INT(error.kind, ERROR_CANCELLED);
    return NULL;
}

/* A stop ends who only watches at once, and tells them. */
static void test_stop(void) {
    int waiting = fake_waiting;
    pthread_t thread;
    eventfd_t count = 0;
    CHECK_INT(pthread_create(&thread, NULL, wait_for_vm, NULL), 0);
    wait_count(&fake_waiting, waiting + 1);
    CHECK_INT(call_json("POST", "/v1/daemon/stop", NULL, NULL, NULL), 0);
    CHECK_INT(eventfd_read(stop_fd, &count), 0);
    stop_server();
    CHECK_INT(pthread_join(thread, NULL), 0);
}

int main(void) {
    _cleanup_scratch_ char *path = scratch_new();
    start_server(path);
    fake_add_vm(home, "runs", "running");
    fake_add_vm(home, "stands", "stopped");
    RUN(test_statuses);
    RUN(test_plain_exec);
    RUN(test_plain_files);
    RUN(test_slow_writer);
    RUN(test_large_headers);
    RUN(test_large_chunked_body);
    RUN(test_two_requests_on_one_connection);
    RUN(test_plain_calls);
    RUN(test_upload);
    RUN(test_import_needs_one_source);
    RUN(test_events_of_an_operation);
    RUN(test_early_failure_has_a_status);
    RUN(test_old_client_gets_no_chunks);
    RUN(test_client_that_leaves_cancels);
    RUN(test_exec);
    RUN(test_exec_refused);
    RUN(test_run);
    RUN(test_run_failures);
    RUN(test_forks_of_ones_own);
    RUN(test_agent);
    RUN(test_logs);
    RUN(test_logs_since);
    RUN(test_bad_marks);
    RUN(test_followed_logs);
    RUN(test_events);
    RUN(test_stranger_is_refused);
    RUN(test_stop);
    return 0;
}
