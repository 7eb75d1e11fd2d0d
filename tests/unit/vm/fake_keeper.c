/* SPDX-License-Identifier: Apache-2.0 */

/* A scripted ramet-keeper: it speaks the daemon's protocol (src/proto/keeper.h) and plays the part
 * that the VM's name asks for. Its QEMU is a waiting child. The first word of the name says how:
 *
 *   ok       starts, and does what it is asked
 *   fail     the guest cannot start
 *   silent   nothing is heard of the guest
 *   slow     starts once the file "go" is in the VM's folder; says "starting" until then
 *   dies     ends when it is told to start
 *   noclaim  a warm one that is to get this name ends
 *   full     its snapshots fail for want of space
 *   alone    it cannot be saved together with others, as it finds out when it is frozen
 *   lost     it ends while it stands still to be saved together with others
 *   later    ends by itself with the cause in the file "cause", once that is there
 *
 * The folder's file "starts" counts the starts: "rebootN" in a cause file is not needed for that.
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "base/process/process.h"
#include "base/process/spawn.h"
#include "base/str.h"
#include "proto/keeper.h"
#include "proto/plan.h"

#define CLIENTS_MAX 16

typedef struct Client {
    int fd;
    bool watches;
    int fds[32];
    size_t n_fds;
} Client;

static int listener;
static Client clients[CLIENTS_MAX];
static size_t n_clients;
static int folder = -1;
static Plan plan;
static const char *state = "waiting";
static ProcessIdentity qemu;
static int start_fd = -1; /* who waits for the start's answer */

static void send_json(int fd, json_t *message) {
    _cleanup_free_ char *text = json_to_text(message);
    (void)fd_send_message(fd, text, strlen(text), NULL, 0);
    json_decref(message);
}

static void answer_error(int fd, ErrorKind kind, const char *message) {
    _cleanup_error_ Error error = ERROR_INIT;
    (void)error_set(&error, kind, 0, "%s", message);
    send_json(fd, json_from_error(&error));
}

static void tell_watchers(const char *word) {
    for (size_t i = 0; i < n_clients; i++)
        if (clients[i].watches)
            send_json(clients[i].fd, json_pack("{s:s, s:s}", "event", "state", "state", word));
}

static void end(const char *cause) {
    _cleanup_free_ char *text = str_format(
        "{\"cause\":\"%s\",\"status\":0,\"signal\":0,\"qemu\":\"\",\"console\":\"last line\"}",
        cause);
    if (qemu.pid > 0) {
        (void)kill(qemu.pid, SIGKILL);
        (void)waitpid(qemu.pid, NULL, 0);
    }
    if (folder >= 0)
        (void)path_write_atomic_at(folder, "exit.json", text, strlen(text), 0600);
}

static bool part_is(const char *part) {
    return str_has_prefix(name_within_lab(plan.name), part);
}

static void become_ready(void) {
    state = plan.start_paused ? "warm" : "running";
    tell_watchers(state);
    if (start_fd >= 0)
        send_json(start_fd,
                  json_pack("{s:{s:s, s:s, s:I, s:I, s:I, s:s, s:s, s:s, s:I}}", "ok", "boot",
                            "cold", "accel", "tcg", "qemu_pid", (json_int_t)qemu.pid,
                            "qemu_start_ticks", (json_int_t)qemu.start_ticks, "ready_at_us",
                            (json_int_t)clock_monotonic_usec(), "agent_version", "0", "marker",
                            "00", "ram_nonce", "00", "counter", (json_int_t)1));
    start_fd = -1;
}

static void stage(int fd, const char *name) {
    send_json(fd, json_pack("{s:s, s:s, s:I}", "event", "stage", "name", name, "at_us",
                            (json_int_t)clock_monotonic_usec()));
}

/* "noclaim" in the new name: it cannot. */
static void claim(Client *client, const json_t *request) {
    const char *name = json_string_value(json_object_get(request, "name"));
    if (!str_equal(state, "warm") || str_has_prefix(name, "noclaim")) {
        end("start-failed");
        answer_error(client->fd, ERROR_GUEST_NOT_READY, "it cannot be claimed");
        exit(0);
    }
    (void)snprintf(plan.name, sizeof(plan.name), "%s", name);
    plan.start_paused = false;
    start_fd = client->fd;
    stage(client->fd, "claim");
    become_ready();
}

/* Returns once the program answers: where vfork(2) is fork(2), as under the thread sanitizer, it
 * may not have been executed yet when spawn_process() returns, and has nobody's memory for a
 * moment. */
static void start_qemu(void) {
    char *argv[] = {(char *)"cat", NULL};
    int ends[2];
    char echo;
    if (fd_socketpair(SOCK_STREAM, ends) < 0)
        exit(1);
    const SpawnFd fds[] = {{.from = ends[1], .to = 0}, {.from = ends[1], .to = 1}};
    const SpawnOptions options = {
        .program = "cat", .argv = argv, .fds = fds, .n_fds = 2, .die_with_parent = true};
    pid_t pid;

    if (spawn_process(&options, &pid, NULL) < 0)
        exit(1);
    (void)fd_close(ends[1]);
    /* ends[0] stays open as long as this process lives: cat ends at the end of its input. */
    if (fd_write_full(ends[0], "?", 1) < 0 || fd_read_full(ends[0], &echo, 1) != 1)
        exit(1);
    (void)process_identify(pid, &qemu);
}

static void count_start(void) {
    int fd = openat(folder, "starts", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    (void)fd_write_full(fd, "x", 1);
    (void)fd_close(fd);
}

static void start(Client *client, const json_t *request) {
    plan_init(&plan);
    if (plan_from_json(json_object_get(request, "plan"), client->n_fds, &plan, NULL) < 0) {
        answer_error(client->fd, ERROR_USAGE, "a bad plan");
        return;
    }
    folder = fcntl(client->fds[plan.console_dir_fd], F_DUPFD_CLOEXEC, 3);
    count_start();
    if (part_is("dies"))
        _exit(3);
    stage(client->fd, "qemu");
    start_qemu();
    state = "starting";
    stage(client->fd, "kernel");
    if (part_is("silent")) {
        end("start-failed");
        answer_error(client->fd, ERROR_GUEST_NOT_READY, "nothing was heard of it");
        exit(0);
    }
    stage(client->fd, "agent");
    if (part_is("fail")) {
        end("start-failed");
        answer_error(client->fd, ERROR_GUEST_NOT_READY, "it panicked; console:\nlast line");
        exit(0);
    }
    start_fd = client->fd;
    if (!part_is("slow"))
        become_ready();
}

/* Waits for a word of who asked; false: it is over. */
static bool meet(Client *client, const char *where) {
    _cleanup_json_ json_t *message = NULL;
    char text[100];
    if (part_is("lost") && str_equal(where, "paused")) {
        end("crashed");
        _exit(3);
    }
    if (part_is("alone") && str_equal(where, "frozen")) {
        answer_error(client->fd, ERROR_TIMEOUT, "its agent does not freeze");
        return false;
    }
    send_json(client->fd, json_pack("{s:s, s:s, s:I}", "event", "meet", "where", where, "at_us",
                                    (json_int_t)clock_monotonic_usec()));
    ssize_t size = fd_receive_message(client->fd, text, sizeof(text), NULL, NULL);
    if (size > 0 && json_parse("word", text, (size_t)size, &message, NULL) == 0 &&
        json_is_true(json_object_get(message, "go_on")))
        return true;
    answer_error(client->fd, ERROR_CANCELLED, "another VM could not be saved");
    return false;
}

static bool meet_all(Client *client, const json_t *request) {
    return !json_is_true(json_object_get(request, "group")) ||
           (meet(client, "copied") && meet(client, "frozen") && meet(client, "paused"));
}

/* "full" in the name: the disk is full once the VM's disk was switched. */
static void save(Client *client, const json_t *request) {
    static const char digits[] = "00112233445566778899aabbccddeeff";
    bool paused = json_is_true(json_object_get(request, "stay_paused"));
    if (!meet_all(client, request))
        return;
    if (json_array_size(json_object_get(request, "disks")) > 0)
        send_json(client->fd, json_pack("{s:s}", "event", "disks_switched"));
    if (part_is("full")) {
        answer_error(client->fd, ERROR_NO_SPACE, "cannot save the memory: no space left");
        return;
    }
    stage(client->fd, "write");
    (void)fd_write_full(client->fds[0], "state", 5);
    (void)ftruncate(client->fds[1], (off_t)plan.memory_bytes);
    (void)fd_pwrite_full(client->fds[1], "memory", 6, 4096);
    (void)fd_pwrite_full(client->fds[2], "memory", 6, 4096);
    state = paused ? "paused" : state;
    send_json(client->fd, json_pack("{s:{s:I, s:s, s:b, s:b, s:I, s:I, s:I, s:s, s:s, s:I}}", "ok",
                                    "pause_us", (json_int_t)7, "kind", "full", "whole", 1, "frozen",
                                    1, "dirty_bytes", (json_int_t)4096, "memory_bytes",
                                    (json_int_t)4096, "state_bytes", (json_int_t)5, "marker",
                                    digits, "ram_nonce", digits, "counter", (json_int_t)1));
}

static void serve(Client *client, const json_t *request) {
    const char *op = json_string_value(json_object_get(request, "op"));
    if (str_equal(op, "start")) {
        (void)prctl(PR_SET_PDEATHSIG, 0);
        start(client, request);
    } else if (str_equal(op, "claim")) {
        claim(client, request);
    } else if (str_equal(op, "status")) {
        send_json(client->fd,
                  json_pack("{s:{s:s, s:I, s:I, s:I, s:s, s:b, s:s, s:b}}", "ok", "state", state,
                            "qemu_pid", (json_int_t)qemu.pid, "qemu_start_ticks",
                            (json_int_t)qemu.start_ticks, "keeper_pid", (json_int_t)getpid(),
                            "boot", "cold", "ready", str_equal(state, "running"), "vm_id",
                            plan.vm_id, "owner_gone", plan.remove_on_exit));
    } else if (str_equal(op, "watch")) {
        client->watches = true;
        send_json(client->fd, json_pack("{s:s, s:s}", "event", "state", "state", state));
    } else if (str_equal(op, "stop") || str_equal(op, "kill")) {
        end(str_equal(op, "stop") ? "poweroff" : "killed");
        send_json(client->fd, json_pack("{s:{s:s}}", "ok", "how", "agent"));
        exit(0);
    } else if (str_equal(op, "pause") || str_equal(op, "resume")) {
        state = str_equal(op, "pause") ? "paused" : "running";
        send_json(client->fd, json_pack("{s:{}}", "ok"));
    } else if (str_equal(op, "snapshot") && client->n_fds >= 3) {
        save(client, request);
    } else if (str_equal(op, "exec") && client->n_fds == 1) {
        _cleanup_free_ char *text = json_to_text(request);

        send_json(client->fd, json_pack("{s:{}}", "ok"));
        (void)fd_write_full(client->fds[0], text, strlen(text));
    } else {
        answer_error(client->fd, ERROR_USAGE, "there is no such operation");
    }
}

static void drop(size_t i) {
    if (start_fd == clients[i].fd)
        start_fd = -1;
    for (size_t f = 0; f < clients[i].n_fds; f++)
        (void)fd_close(clients[i].fds[f]);
    (void)fd_close(clients[i].fd);
    clients[i] = clients[--n_clients];
}

static void hear(size_t i) {
    static char text[KEEPER_MESSAGE_MAX];
    Client *client = &clients[i];
    size_t room = ARRAY_SIZE(client->fds) - client->n_fds;
    ssize_t size =
        fd_receive_message(client->fd, text, sizeof(text), client->fds + client->n_fds, &room);
    _cleanup_json_ json_t *request = NULL;
    if (size <= 0) {
        drop(i);
        return;
    }
    client->n_fds += room;
    if (json_parse("request", text, (size_t)size, &request, NULL) == 0 &&
        json_object_get(request, "op"))
        serve(client, request);
}

/* The files that drive it are looked for a hundred times a second: they come from outside. */
static void look_for_orders(void) {
    _cleanup_free_ char *cause = NULL;
    if (folder < 0)
        return;
    if (str_equal(state, "starting") && faccessat(folder, "go", F_OK, 0) == 0)
        become_ready();
    if (fd_read_file_at(folder, "cause", 100, &cause, NULL) == 0) {
        (void)unlinkat(folder, "cause", 0);
        end(cause);
        exit(0);
    }
}

int main(int argc, char **argv) {
    struct pollfd fds[CLIENTS_MAX + 1];
    (void)signal(SIGPIPE, SIG_IGN);
    if (argc != 3)
        return 2;
    listener = atoi(argv[2]);
    for (;;) {
        size_t n = n_clients;
        fds[0] = (struct pollfd){.fd = n < CLIENTS_MAX ? listener : -1, .events = POLLIN};
        for (size_t i = 0; i < n; i++)
            fds[i + 1] = (struct pollfd){.fd = clients[i].fd, .events = POLLIN};
        (void)poll(fds, n + 1, 10);
        look_for_orders();
        for (size_t i = n; i-- > 0;)
            if (fds[i + 1].revents)
                hear(i);
        if (fds[0].revents)
            clients[n_clients++] = (Client){.fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)};
    }
}
