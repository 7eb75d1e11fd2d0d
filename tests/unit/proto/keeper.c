/* SPDX-License-Identifier: Apache-2.0 */
/* keeper_call against a scripted keeper in a thread. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/path.h"
#include "base/str.h"
#include "check.h"
#include "proto/keeper.h"

#define FAR (clock_monotonic_usec() + 60 * USEC_PER_SEC)

typedef struct FakeKeeper {
    char *body; /* owned by who looks at it */
    int listen_fd;
    const char *const *answers; /* NULL-terminated */
    size_t n_fds;               /* how many came */
    size_t n_messages;
    bool in_order;
    pthread_t thread;
} FakeKeeper;

static char folder[] = "/tmp/ramet-test-XXXXXX";
static int folder_fd;

/* Each descriptor is of a file whose size is its index. */
static void count_fds(FakeKeeper *keeper, const int *fds, size_t n_fds) {
    for (size_t i = 0; i < n_fds; i++) {
        struct stat info;
        CHECK_INT(fstat(fds[i], &info), 0);
        if ((size_t)info.st_size != keeper->n_fds++)
            keeper->in_order = false;
        fd_close(fds[i]);
    }
}

static void *fake_keeper(void *data) {
    FakeKeeper *keeper = data;
    _cleanup_close_ int fd = accept4(keeper->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    CHECK(fd >= 0);
    keeper->in_order = true;
    for (;;) {
        static char text[KEEPER_MESSAGE_MAX];
        int fds[FD_PASS_MAX];
        size_t n_fds = FD_PASS_MAX;
        ssize_t size = fd_receive_message(fd, text, sizeof(text), fds, &n_fds);
        if (size <= 0)
            return NULL;
        keeper->n_messages++;
        if (memmem(text, (size_t)size, "\"body\"", 6)) {
            _cleanup_close_ int body = fds[--n_fds];
            keeper->body = calloc(1, 1 << 20);
            CHECK(fd_pread_full(body, keeper->body, (1 << 20) - 1, 0) > 0);
        }
        count_fds(keeper, fds, n_fds);
        if (keeper->body || memmem(text, (size_t)size, "\"op\"", 4))
            break;
    }
    for (const char *const *answer = keeper->answers; *answer; answer++)
        CHECK(fd_send_message(fd, *answer, strlen(*answer), NULL, 0) > 0);
    return NULL;
}

static void start_keeper(FakeKeeper *keeper, const char *const *answers) {
    *keeper = (FakeKeeper){.answers = answers};
    keeper->listen_fd = fd_unix_listen_at(folder_fd, KEEPER_SOCKET_NAME, SOCK_SEQPACKET, 0600, 4);
    CHECK(keeper->listen_fd >= 0);
    CHECK_INT(pthread_create(&keeper->thread, NULL, fake_keeper, keeper), 0);
}

static void end_keeper(FakeKeeper *keeper) {
    CHECK_INT(pthread_join(keeper->thread, NULL), 0);
    fd_close(keeper->listen_fd);
}

static void on_event(void *data, const json_t *event) {
    StrBuf *seen = data;
    strbuf_add_format(seen, "%s;", json_string_value(json_object_get(event, "name")));
}

static void many_descriptors(void) {
    static const char *const answers[] = {"{\"event\":\"stage\",\"name\":\"a\"}",
                                          "{\"event\":\"stage\",\"name\":\"b\"}",
                                          "{\"ok\":{\"qemu_pid\":7}}", NULL};
    FakeKeeper keeper;
    int fds[75];
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        _cleanup_free_ char *path = str_format("%s/file", folder);
        fds[i] = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        CHECK(fds[i] >= 0 && ftruncate(fds[i], (off_t)i) == 0 && unlink(path) == 0);
    }
    start_keeper(&keeper, answers);
    _cleanup_json_ json_t *request = json_pack("{s:s}", "op", "start");
    _cleanup_json_ json_t *ok = NULL;
    StrBuf seen = {0};
    CHECK_INT(
        keeper_call(folder_fd, request, fds, ARRAY_SIZE(fds), FAR, -1, on_event, &seen, &ok, NULL),
        0);
    end_keeper(&keeper);
    CHECK_INT(keeper.n_fds, ARRAY_SIZE(fds));
    CHECK_INT(keeper.n_messages, 5);
    CHECK(keeper.in_order);
    CHECK_STR(seen.data, "a;b;");
    CHECK_INT(json_integer_value(json_object_get(ok, "qemu_pid")), 7);
    strbuf_free(&seen);
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        fd_close(fds[i]);
}

/* A request that no message holds comes as a file, behind all other descriptors. */
static void long_request(void) {
    static const char *const answers[] = {"{\"ok\":{}}", NULL};
    _cleanup_free_ char *text = calloc(1, 300001), *expected = NULL;
    memset(text, 'x', 300000);
    _cleanup_json_ json_t *request = json_pack("{s:s, s:s}", "op", "exec", "argv", text);
    expected = json_to_text(request);
    for (size_t n_fds = 0; n_fds <= 2 * FD_PASS_MAX; n_fds += FD_PASS_MAX) {
        FakeKeeper keeper;
        _cleanup_json_ json_t *ok = NULL;
        int fds[2 * FD_PASS_MAX];
        _cleanup_close_ int fd = memfd_create("empty", MFD_CLOEXEC);
        for (size_t i = 0; i < n_fds; i++)
            fds[i] = fd;
        start_keeper(&keeper, answers);
        CHECK_INT(keeper_call(folder_fd, request, fds, n_fds, FAR, -1, NULL, NULL, &ok, NULL), 0);
        end_keeper(&keeper);
        CHECK_INT(keeper.n_fds, n_fds);
        CHECK_STR(keeper.body, expected);
        free(keeper.body);
    }
}

static int ask(const char *const *answers, int cancel_fd, uint64_t deadline_usec, Error *error) {
    FakeKeeper keeper;
    start_keeper(&keeper, answers);
    _cleanup_json_ json_t *request = json_pack("{s:s}", "op", "status");
    _cleanup_json_ json_t *ok = NULL;
    int r =
        keeper_call(folder_fd, request, NULL, 0, deadline_usec, cancel_fd, NULL, NULL, &ok, error);
    end_keeper(&keeper);
    return r;
}

static void errors(void) {
    static const char *const told[] = {
        "{\"error\":{\"code\":\"conflict\",\"message\":\"busy\",\"hint\":\"wait\"}}", NULL};
    static const char *const garbage[] = {"{\"what\":1}", NULL};
    static const char *const broken[] = {"{", NULL};
    static const char *const nothing[] = {NULL};
    _cleanup_error_ Error error = ERROR_INIT;
    CHECK(ask(told, -1, FAR, &error) < 0);
    CHECK_STR(error.message, "busy");
    CHECK_STR(error.hint, "wait");
    CHECK(ask(garbage, -1, FAR, NULL) < 0);
    CHECK(ask(broken, -1, FAR, NULL) < 0);
    CHECK_INT(ask(nothing, -1, FAR, NULL), -ECONNRESET);
}

static void nobody_there(void) {
    _cleanup_json_ json_t *request = json_pack("{s:s}", "op", "status");
    json_t *ok = NULL;
    _cleanup_error_ Error error = ERROR_INIT;
    CHECK_INT(keeper_call(folder_fd, request, NULL, 0, FAR, -1, NULL, NULL, &ok, &error),
              -ECONNREFUSED);
    CHECK_INT(error.kind, ERROR_NOT_FOUND);
}

/* A keeper that accepts nothing: the wait ends by the deadline or by the cancel descriptor. */
static void waits_end(void) {
    _cleanup_close_ int listen_fd =
        fd_unix_listen_at(folder_fd, KEEPER_SOCKET_NAME, SOCK_SEQPACKET, 0600, 4);
    CHECK(listen_fd >= 0);
    _cleanup_json_ json_t *request = json_pack("{s:s}", "op", "status");
    json_t *ok = NULL;
    CHECK_INT(keeper_call(folder_fd, request, NULL, 0, clock_monotonic_usec() + 1000, -1, NULL,
                          NULL, &ok, NULL),
              -ETIMEDOUT);
    int cancel[2];
    CHECK_INT(fd_socketpair(SOCK_STREAM, cancel), 0);
    fd_close(cancel[1]);
    CHECK_INT(
        keeper_call(folder_fd, request, NULL, 0, UINT64_MAX, cancel[0], NULL, NULL, &ok, NULL),
        -ECANCELED);
    fd_close(cancel[0]);
}

int main(void) {
    CHECK(mkdtemp(folder));
    folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    RUN(many_descriptors);
    RUN(long_request);
    RUN(errors);
    RUN(nobody_there);
    RUN(waits_end);
    fd_close(folder_fd);
    CHECK_INT(path_remove_tree(folder), 0);
    return 0;
}
