/* SPDX-License-Identifier: Apache-2.0 */
/* The real ramet-keeper with a scripted QEMU: keeper.c KEEPER FAKE_QEMU. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/agent.h"
#include "proto/frame.h"
#include "proto/tlv.h"
#include "unit/keeper/vm.h"

#define TEST_UID 700123

/* A client */

typedef struct Client {
    int fd;
    FrameReader reader;
} Client;

static int client_ask(Vm *vm, Client *client, const char *op, const char *word, bool owner,
                      Error *error) {
    int pair[2];
    CHECK_INT(fd_socketpair(SOCK_STREAM, pair), 0);
    _cleanup_json_ json_t *ok = NULL;
    _cleanup_json_ json_t *request = json_pack("{s:s, s:[s], s:b, s:b, s:s}", "op", op, "argv",
                                               word, "stdin", 1, "owner", owner, "path", "/x");
    int r = keeper_call(vm->folder_fd, request, &pair[1], 1, FAR, -1, NULL, NULL, &ok, error);
    fd_close(pair[1]);
    client->fd = pair[0];
    CHECK_INT(frame_reader_init(&client->reader), 0);
    return r;
}

static void client_exec(Vm *vm, Client *client, const char *word) {
    CHECK_INT(client_ask(vm, client, "exec", word, false, NULL), 0);
}

static void client_send(Client *client, uint8_t type, const void *data, size_t size) {
    uint8_t header[FRAME_HEADER_SIZE];
    frame_encode_header(header, 0, 0, type, (uint32_t)size);
    CHECK_INT(fd_write_full(client->fd, header, sizeof(header)), 0);
    CHECK_INT(fd_write_full(client->fd, data, size), 0);
}

/* 0 at the end. */
static uint8_t client_next(Client *client, Frame *frame) {
    while (frame_reader_next(&client->reader, frame) <= 0) {
        size_t size;
        uint8_t *space = frame_reader_space(&client->reader, &size);
        struct pollfd item = {.fd = client->fd, .events = POLLIN};
        CHECK_INT(poll(&item, 1, 60000), 1);
        ssize_t n = read(client->fd, space, size);
        if (n <= 0)
            return 0;
        frame_reader_added(&client->reader, (size_t)n);
    }
    return frame->type;
}

static uint8_t client_skip_to_last(Client *client, Frame *frame) {
    uint8_t type;
    do
        type = client_next(client, frame);
    while (type == FRAME_DATA || type == FRAME_DATA_ERR || type == FRAME_EOF ||
           type == FRAME_EOF_ERR);
    return type;
}

static void client_close(Client *client) {
    client->fd = fd_close(client->fd);
    frame_reader_free(&client->reader);
}

static uint64_t exit_code(const Frame *frame) {
    TlvReader fields;
    TlvField field;
    uint64_t code = 999;
    tlv_read(&fields, frame->payload, frame->length);
    while (tlv_next(&fields, &field) > 0)
        if (field.tag == TAG_EXIT_CODE)
            (void)tlv_u64(&field, &code);
    return code;
}

static void expect_exit(Vm *vm, const char *word, uint64_t code) {
    Client client;
    Frame frame;
    client_exec(vm, &client, word);
    CHECK_INT(client_skip_to_last(&client, &frame), FRAME_EXIT);
    CHECK_INT(exit_code(&frame), code);
    CHECK_INT(client_next(&client, &frame), 0);
    client_close(&client);
}

static void expect_error(Vm *vm, const char *word, const char *part) {
    Client client;
    Frame frame;
    client_exec(vm, &client, word);
    CHECK_INT(client_skip_to_last(&client, &frame), FRAME_ERROR);
    _cleanup_free_ char *text = strndup((const char *)frame.payload, frame.length);
    CHECK_CONTAINS(text, part);
    client_close(&client);
}

/* Asks again until the agent answers: after a re-greeting that takes a moment. */
static void expect_recovery(Vm *vm) {
    for (;;) {
        _cleanup_json_ json_t *ok = NULL;
        _cleanup_error_ Error error = ERROR_INIT;
        int r = vm_ask(vm, "ping", &ok, &error);
        if (r == 0)
            break;
        CHECK_INT(error.kind, ERROR_GUEST_NOT_READY);
    }
    expect_exit(vm, "true", 0);
}

/* Tests */

static void starts_and_stops(void) {
    Vm vm;
    vm_run(&vm, "echo");
    CHECK_STR(vm.stages.data, "sandbox;qemu;kernel;agent;identity;");
    CHECK_STR(json_string_value(json_object_get(vm.ok, "boot")), "cold");
    CHECK_STR(json_string_value(json_object_get(vm.ok, "agent_version")), "fake");
    CHECK_STR(json_string_value(json_object_get(vm.ok, "ram_nonce")),
              "30313233343536373839616263646566");
    ProcessIdentity qemu = {.pid = (pid_t)number(vm.ok, "qemu_pid"),
                            .start_ticks = number(vm.ok, "qemu_start_ticks")};
    _cleanup_close_ int pid_fd = process_open(&qemu);
    CHECK(pid_fd >= 0);
    _cleanup_json_ json_t *status = NULL, *stopped = NULL, *again = NULL;
    CHECK_INT(vm_ask(&vm, "status", &status, NULL), 0);
    CHECK_STR(json_string_value(json_object_get(status, "state")), "running");
    CHECK_STR(json_string_value(json_object_get(status, "vm_id")), "test");
    CHECK(json_is_true(json_object_get(status, "ready")));
    CHECK_INT(number(status, "keeper_pid"), vm.keeper);
    _cleanup_error_ Error error = ERROR_INIT;
    CHECK(vm_start(&vm, &error) < 0); /* only once */
    CHECK_INT(error.kind, ERROR_CONFLICT);
    (void)again;
    CHECK_INT(vm_ask(&vm, "stop", &stopped, NULL), 0);
    CHECK_STR(json_string_value(json_object_get(stopped, "how")), "agent");
    check_cause(&vm, "poweroff");
    CHECK_INT(process_signal(&qemu, 0), -ESRCH);
    vm_end(&vm);
}

static void executes(void) {
    Vm vm;
    Client client;
    Frame frame;
    vm_run(&vm, "echo");
    expect_exit(&vm, "true", 0);
    expect_exit(&vm, "other", 7);
    client_exec(&vm, &client, "cat");
    client_send(&client, FRAME_DATA, "hello", 5);
    CHECK_INT(client_next(&client, &frame), FRAME_DATA);
    CHECK(frame.length == 5 && memcmp(frame.payload, "hello", 5) == 0);
    client_send(&client, FRAME_EOF, NULL, 0);
    CHECK_INT(client_next(&client, &frame), FRAME_EOF);
    CHECK_INT(client_next(&client, &frame), FRAME_EOF_ERR);
    CHECK_INT(client_next(&client, &frame), FRAME_EXIT);
    CHECK_INT(exit_code(&frame), 3);
    CHECK_INT(client_next(&client, &frame), 0);
    client_close(&client);
    vm_kill(&vm);
}

enum { BLOCKS = 100 };

static void *send_blocks(void *data) {
    static uint8_t block[FRAME_PAYLOAD_MAX];
    for (int i = 0; i < BLOCKS; i++) {
        memset(block, i, sizeof(block));
        client_send(data, FRAME_DATA, block, sizeof(block));
    }
    client_send(data, FRAME_EOF, NULL, 0);
    return NULL;
}

/* More than all buffers hold, both ways: both directions must stop and go on. */
static void moves_much(void) {
    Vm vm;
    Client client;
    Frame frame;
    pthread_t thread;
    uint64_t got = 0;
    vm_run(&vm, "echo");
    client_exec(&vm, &client, "cat");
    CHECK_INT(pthread_create(&thread, NULL, send_blocks, &client), 0);
    while (client_next(&client, &frame) == FRAME_DATA) {
        CHECK_INT(frame.payload[0], (int)(got / FRAME_PAYLOAD_MAX));
        got += frame.length;
    }
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_INT(got, (uint64_t)BLOCKS * FRAME_PAYLOAD_MAX);
    CHECK_INT(client_skip_to_last(&client, &frame), FRAME_EXIT);
    client_close(&client);
    vm_kill(&vm);
}

static uint64_t resident_kib(pid_t pid, const char *key) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/status", pid);
    char *text;
    CHECK_INT(fd_read_file_at(AT_FDCWD, path, 65536, &text, NULL), 0);
    const char *line = strstr(text, key);
    uint64_t value = line ? strtoull(line + strlen(key), NULL, 10) : 0;
    free(text);
    return value;
}

/* Clients that never read: the guest floods them up to its credit, and no further. */
static void bounded_memory(void) {
    enum { CLIENTS = 8 };
    Vm vm;
    Client clients[CLIENTS];
    Frame frame;
    vm_run(&vm, "echo");
    printf("  keeper: %llu KiB resident when idle\n",
           (unsigned long long)resident_kib(vm.keeper, "VmRSS:"));
    for (int i = 0; i < CLIENTS; i++)
        client_exec(&vm, &clients[i], "flood");
    expect_recovery(&vm); /* the others still work */
    printf("  keeper: %llu KiB at most with %d floods\n",
           (unsigned long long)resident_kib(vm.keeper, "VmHWM:"), CLIENTS);
    for (int i = 0; i < 40; i++) /* the flood goes on when it is read */
        CHECK_INT(client_next(&clients[CLIENTS - 1], &frame), FRAME_DATA);
    for (int i = 0; i < CLIENTS; i++)
        client_close(&clients[i]);
    expect_recovery(&vm);
    vm_kill(&vm);
}

/* The client must not read before, or it would be within its credit. */
static void expect_over_credit(Vm *vm) {
    Client client;
    Frame frame;
    bool noted = false;
    client_exec(vm, &client, "over");
    while (!noted) {
        _cleanup_json_ json_t *ok = NULL;
        _cleanup_free_ char *log = NULL;
        CHECK_INT(vm_ask(vm, "status", &ok, NULL), 0);
        CHECK_INT(fd_read_file_at(vm->folder_fd, "keeper.log", 65536, &log, NULL), 0);
        noted = strstr(log, "more than it was allowed") != NULL;
    }
    CHECK_INT(client_skip_to_last(&client, &frame), FRAME_ERROR);
    client_close(&client);
}

static void hostile_frames(void) {
    Vm vm;
    vm_run(&vm, "echo");
    expect_exit(&vm, "rules", 999); /* malformed EXIT goes on to the client, which judges it */
    expect_recovery(&vm);
    expect_over_credit(&vm);
    expect_recovery(&vm);
    expect_error(&vm, "noise", "agent was lost");
    expect_recovery(&vm);
    expect_error(&vm, "window", "agent was lost");
    expect_recovery(&vm);
    expect_error(&vm, "restart", "agent was lost");
    expect_recovery(&vm);
    vm_kill(&vm);
}

static void hostile_clients(void) {
    static const uint8_t types[] = {FRAME_WINDOW, FRAME_CANCEL, FRAME_HELLO, FRAME_EXIT, 200};
    Vm vm;
    Client client;
    Frame frame;
    vm_run(&vm, "echo");
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        client_exec(&vm, &client, "hang");
        client_send(&client, types[i], "1234", 4);
        CHECK_INT(client_next(&client, &frame), 0);
        client_close(&client);
    }
    client_exec(&vm, &client, "hang");
    (void)fd_write_full(client.fd, "GET / HTTP/1.1\r\n\r\nthis is no frame", 35);
    CHECK_INT(client_next(&client, &frame), 0);
    client_close(&client);
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_json_ json_t *ok = NULL;
    CHECK(vm_ask(&vm, "exec", &ok, &error) < 0); /* without a stream */
    CHECK_INT(error.kind, ERROR_USAGE);
    CHECK(vm_ask(&vm, "nonsense", &ok, NULL) < 0);
    expect_recovery(&vm);
    vm_kill(&vm);
}

static int fail_start(Vm *vm, const char *mode, Error *error) {
    vm_begin(vm, mode);
    bool spins = strcmp(mode, "spin") == 0;
    vm->plan.silence_timeout_usec = spins ? 0 : 300 * USEC_PER_MSEC;
    vm->plan.ready_timeout_usec = spins ? 0 : 600 * USEC_PER_MSEC;
    vm->plan.silence_cpu_usec = spins ? 100 * USEC_PER_MSEC : 0;
    int r = vm_start(vm, error);
    CHECK(r < 0);
    return r;
}

static void failing_starts(void) {
    static const struct {
        const char *mode;
        ErrorKind kind;
        const char *part, *part2;
    } cases[] = {
        {"die", ERROR_FAILED, "QEMU ended", "flux capacitor"},
        {"spin", ERROR_GUEST_NOT_READY, "nothing was heard of it while it ran", "console: empty"},
        {"silent", ERROR_GUEST_NOT_READY, "first sign of life", "console: empty"},
        {"mute", ERROR_GUEST_NOT_READY, "agent's announcement", "?[31mfake\nstill booting"},
        {"error", ERROR_GUEST_NOT_READY, "the guest cannot start", "no root disk?"},
        {"refuse", ERROR_GUEST_NOT_READY, "identity", "Read-only file system"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        Vm vm;
        _cleanup_error_ Error error = ERROR_INIT;
        (void)fail_start(&vm, cases[i].mode, &error);
        CHECK_CONTAINS(error.message, cases[i].part);
        CHECK_CONTAINS(error.message, cases[i].part2);
        CHECK_INT(error.kind, cases[i].kind);
        check_cause(&vm, "start-failed");
        vm_end(&vm);
    }
}

static void bad_plans(void) {
    Vm vm;
    _cleanup_error_ Error error = ERROR_INIT;
    vm_begin(&vm, "echo");
    vm.plan.kernel_fd = 7;
    CHECK(vm_start(&vm, &error) < 0);
    CHECK_INT(error.kind, ERROR_USAGE);
    vm_end(&vm);
    vm_begin(&vm, "echo");
    free(vm.plan.qemu);
    vm.plan.qemu = str_copy("/nonexistent/qemu");
    CHECK(vm_start(&vm, &error) < 0);
    CHECK_CONTAINS(error.message, "/nonexistent/qemu");
    vm_end(&vm);
}

static uint64_t file_size(Vm *vm, const char *name) {
    struct stat info;
    return fstatat(vm->folder_fd, name, &info, 0) == 0 ? (uint64_t)info.st_size : 0;
}

static void flooding_guest(void) {
    Vm vm;
    vm_run(&vm, "flood");
    while (file_size(&vm, "console.log.1") == 0) {
        _cleanup_json_ json_t *status = NULL;
        CHECK_INT(vm_ask(&vm, "status", &status, NULL), 0);
    }
    for (int i = 0; i < 100; i++) {
        _cleanup_json_ json_t *status = NULL;
        CHECK_INT(vm_ask(&vm, "status", &status, NULL), 0);
    }
    CHECK(file_size(&vm, "console.log") <= CONSOLE_MAX_BYTES);
    CHECK(file_size(&vm, "console.log.1") <= CONSOLE_MAX_BYTES);
    CHECK(file_size(&vm, "keeper.log") <= 16 * KIB);
    printf("  keeper: %llu KiB at most with a flooding guest\n",
           (unsigned long long)resident_kib(vm.keeper, "VmHWM:"));
    vm_kill(&vm);
}

static void stop_falls_back(void) {
    Vm vm;
    vm_run(&vm, "deaf");
    _cleanup_json_ json_t *ok = NULL;
    _cleanup_json_ json_t *request =
        json_pack("{s:s, s:I}", "op", "stop", "timeout_us", (json_int_t)(100 * USEC_PER_MSEC));
    CHECK_INT(keeper_call(vm.folder_fd, request, NULL, 0, FAR, -1, NULL, NULL, &ok, NULL), 0);
    CHECK_STR(json_string_value(json_object_get(ok, "how")), "killed");
    check_cause(&vm, "killed");
    vm_end(&vm);
}

/* A PC has a power button, which is pressed when the agent does not say that it has begun. */
static void stop_presses_the_button(void) {
    Vm vm;
    vm_begin(&vm, "deaf");
    vm.plan.firmware = PLAN_FIRMWARE_BIOS;
    strcpy(vm.plan.machine, "q35");
    CHECK_INT(vm_start(&vm, NULL), 0);
    _cleanup_json_ json_t *ok = NULL;
    CHECK_INT(vm_ask(&vm, "stop", &ok, NULL), 0);
    CHECK_STR(json_string_value(json_object_get(ok, "how")), "agent");
    check_cause(&vm, "poweroff");
    vm_end(&vm);
}

static void owner_goes(void) {
    Vm vm;
    Client owner, other;
    Frame frame;
    vm_begin(&vm, "echo");
    vm.plan.remove_on_exit = true;
    CHECK_INT(vm_start(&vm, NULL), 0);
    _cleanup_json_ json_t *before = NULL, *during = NULL;
    CHECK_INT(vm_ask(&vm, "status", &before, NULL), 0);
    CHECK(json_is_true(json_object_get(before, "owner_gone")));
    CHECK_INT(client_ask(&vm, &owner, "attach", "", true, NULL), 0);
    client_exec(&vm, &other, "hang");
    CHECK_INT(vm_ask(&vm, "status", &during, NULL), 0);
    CHECK(json_is_false(json_object_get(during, "owner_gone")));
    CHECK_INT(number(during, "clients"), 2);
    client_close(&owner);
    CHECK_INT(client_skip_to_last(&other, &frame), FRAME_ERROR);
    client_close(&other);
    siginfo_t info;
    CHECK_INT(waitid(P_PID, (id_t)vm.keeper, &info, WEXITED | WNOWAIT), 0);
    check_cause(&vm, "owner-gone");
    vm_end(&vm);
}

static void wait_for_keeper(Vm *vm) {
    siginfo_t info;
    CHECK_INT(waitid(P_PID, (id_t)vm->keeper, &info, WEXITED | WNOWAIT), 0);
}

static void causes_of_end(void) {
    static const char *const words[][2] = {{"crash", "crashed"}, {"reboot", "reboot"}};
    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        Vm vm;
        vm_run(&vm, "echo");
        expect_error(&vm, words[i][0], words[i][1]);
        wait_for_keeper(&vm);
        check_cause(&vm, words[i][1]);
        vm_end(&vm);
    }
}

static KeeperConnection watch(const Vm *vm) {
    KeeperConnection watcher = {.fd = -1};
    _cleanup_json_ json_t *request = json_pack("{s:s}", "op", "watch");
    CHECK_INT(keeper_connect(vm->folder_fd, &watcher, NULL), 0);
    CHECK_INT(keeper_send(&watcher, request, NULL, 0, NULL), 0);
    return watcher;
}

static void hears_state(KeeperConnection *watcher, const char *state) {
    _cleanup_json_ json_t *event = NULL;
    CHECK_INT(keeper_receive(watcher, FAR, -1, &event, NULL), 0);
    CHECK_STR(json_string_value(json_object_get(event, "state")), state);
}

static void hears_room(KeeperConnection *watcher, const char *state, bool room) {
    _cleanup_json_ json_t *event = NULL;
    CHECK_INT(keeper_receive(watcher, FAR, -1, &event, NULL), 0);
    CHECK_STR(json_string_value(json_object_get(event, "state")), state);
    CHECK(json_is_boolean(json_object_get(event, "no_room")));
    CHECK(json_is_false(json_object_get(event, "no_room")) == room);
}

/* QEMU stops a guest whose write finds no room, and does not end for that: it goes on once there is
 * some, which there is here. */
static void waits_for_room(void) {
    Vm vm;
    vm_run(&vm, "full");
    KeeperConnection watcher = watch(&vm);
    _cleanup_json_ json_t *ok = NULL, *again = NULL;
    hears_room(&watcher, "running", true);
    CHECK_INT(vm_ask(&vm, "sync", &ok, NULL), 0);
    hears_room(&watcher, "paused", false);
    hears_room(&watcher, "running", true);
    CHECK_INT(vm_ask(&vm, "sync", &again, NULL), 0);
    hears_room(&watcher, "paused", false);
    keeper_close(&watcher);
    vm_kill(&vm);
}

static void watchers_hear(void) {
    Vm vm;
    vm_run(&vm, "echo");
    KeeperConnection watcher = watch(&vm);
    static const char *const steps[][2] = {
        {NULL, "running"}, {"pause", "paused"}, {"resume", "running"}, {"stop", "stopping"}};
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        _cleanup_json_ json_t *ok = NULL;
        if (steps[i][0])
            CHECK_INT(vm_ask(&vm, steps[i][0], &ok, NULL), 0);
        hears_state(&watcher, steps[i][1]);
    }
    _cleanup_json_ json_t *event = NULL, *nothing = NULL;
    CHECK_INT(keeper_receive(&watcher, FAR, -1, &event, NULL), 0);
    CHECK_STR(json_string_value(json_object_get(event, "cause")), "poweroff");
    CHECK_INT(keeper_receive(&watcher, FAR, -1, &nothing, NULL), -ECONNRESET);
    keeper_close(&watcher);
    vm_end(&vm);
}

/* QEMU must not live without its keeper. */
static void keeper_killed(void) {
    Vm vm;
    vm_run(&vm, "echo");
    ProcessIdentity qemu = {.pid = (pid_t)number(vm.ok, "qemu_pid"),
                            .start_ticks = number(vm.ok, "qemu_start_ticks")};
    CHECK_INT(kill(vm.keeper, SIGKILL), 0);
    CHECK_INT(process_wait_gone(&qemu, FAR), 0);
    int status;
    CHECK_INT(waitpid(vm.keeper, &status, 0), vm.keeper);
    CHECK_INT(path_remove_tree(vm.folder), 0);
    fd_close(vm.folder_fd);
    fd_close(vm.blank_fd);
    plan_free(&vm.plan);
    json_decref(vm.ok);
    strbuf_free(&vm.stages);
}

static void privileges_are_dropped(void) {
    if (geteuid() != 0) {
        printf("  not root: nothing to drop\n");
        return;
    }
    Vm vm;
    vm_begin(&vm, "flood");
    vm.plan.uid = vm.plan.gid = TEST_UID;
    CHECK_INT(fchown(vm.folder_fd, TEST_UID, TEST_UID), 0);
    CHECK_INT(fchmod(vm.blank_fd, 0644), 0);
    _cleanup_error_ Error error = ERROR_INIT;
    if (vm_start(&vm, &error) < 0)
        fprintf(stderr, "%s\n", error.message);
    CHECK(vm.ok);
    pid_t pids[] = {vm.keeper, (pid_t)number(vm.ok, "qemu_pid")};
    for (size_t i = 0; i < 2; i++) {
        CHECK_INT(resident_kib(pids[i], "Uid:"), TEST_UID);
        CHECK_INT(resident_kib(pids[i], "Gid:"), TEST_UID);
        CHECK_INT(resident_kib(pids[i], "CapBnd:"), 0);
        CHECK_INT(resident_kib(pids[i], "CapPrm:"), 0);
        CHECK_INT(resident_kib(pids[i], "NoNewPrivs:"), 1);
    }
    printf("  keeper's seccomp mode: %llu\n",
           (unsigned long long)resident_kib(vm.keeper, "Seccomp:"));
    while (file_size(&vm, "console.log.1") == 0) { /* rotation works without root */
        _cleanup_json_ json_t *status = NULL;
        CHECK_INT(vm_ask(&vm, "status", &status, NULL), 0);
    }
    vm_kill(&vm);
}

static void round_trip_time(void) {
    enum { COUNT = 200 };
    Vm vm;
    uint64_t before = clock_monotonic_usec();
    vm_run(&vm, "echo");
    uint64_t started = clock_monotonic_usec();
    for (int i = 0; i < COUNT; i++)
        expect_exit(&vm, "true", 0);
    printf("  start %llu us with a fake QEMU, exec %llu us each\n",
           (unsigned long long)(started - before),
           (unsigned long long)(clock_monotonic_usec() - started) / COUNT);
    vm_kill(&vm);
}

int main(int argc, char **argv) {
    CHECK_INT(argc, 3);
    keeper_path = realpath(argv[1], NULL); /* lives to the end */
    fake_path = realpath(argv[2], NULL);
    RUN(starts_and_stops);
    RUN(executes);
    RUN(moves_much);
    RUN(bounded_memory);
    RUN(hostile_frames);
    RUN(hostile_clients);
    RUN(failing_starts);
    RUN(bad_plans);
    RUN(flooding_guest);
    RUN(stop_falls_back);
    RUN(stop_presses_the_button);
    RUN(owner_goes);
    RUN(causes_of_end);
    RUN(watchers_hear);
    RUN(waits_for_room);
    RUN(keeper_killed);
    RUN(privileges_are_dropped);
    RUN(round_trip_time);
    return 0;
}
