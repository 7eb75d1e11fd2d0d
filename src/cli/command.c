/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/command.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "cli/client.h"
#include "cli/output.h"
#include "cli/terminal.h"
#include "proto/agent.h"

#define GATHERED_MAX (64 * MIB)

/* Walks /etc/passwd with nothing but the shell itself, since a small image has little else. The
 * file is descriptor 3, so that standard input stays the user's. */
static const char shell_script[] = "while IFS=: read -r name pw uid gid gecos home shell <&3; do "
                                   "if [ \"$name\" = \"$1\" ] || [ \"$uid\" = \"$1\" ]; then "
                                   "[ -d \"$home\" ] && cd \"$home\"; "
                                   "[ -x \"$shell\" ] && exec \"$shell\" -l 3<&-; break; fi; "
                                   "done 3</etc/passwd; exec /bin/sh -l";

void command_shell(const char *user, const char *argv[COMMAND_SHELL_WORDS]) {
    argv[0] = "/bin/sh";
    argv[1] = "-c";
    argv[2] = shell_script;
    argv[3] = "sh";
    argv[4] = user;
    argv[5] = NULL;
}

static bool has_variable(const json_t *env, const char *prefix) {
    const json_t *item;
    size_t i;
    json_array_foreach(env, i,
                       item) if (str_has_prefix(json_string_value(item), prefix)) return true;
    return false;
}

/* A program in a terminal wants to know which; ours is the one that shows it. */
static void add_terminal(json_t *request, json_t *env) {
    const char *term = getenv("TERM");
    unsigned rows, columns;
    terminal_size(STDIN_FILENO, &rows, &columns);
    json_object_set_new(request, "rows", json_integer(rows));
    json_object_set_new(request, "columns", json_integer(columns));
    if (!has_variable(env, "TERM=")) {
        _cleanup_free_ char *pair = str_format("TERM=%s", term ? term : "xterm");
        json_array_append_new(env, json_string(pair));
    }
}

json_t *command_request(const Args *args, char *const *argv, const Command *command) {
    json_t *words = json_array(), *env = args_env(args, "env");
    json_t *request = json_pack("{s:o, s:o, s:b, s:b}", "argv", words, "env", env, "tty",
                                command->tty, "stdin", command->interactive);
    for (; *argv; argv++)
        json_array_append_new(words, json_string(*argv));
    if (args_text(args, "workdir"))
        json_object_set_new(request, "directory", json_string(args_text(args, "workdir")));
    if (args_text(args, "user"))
        json_object_set_new(request, "user", json_string(args_text(args, "user")));
    if (args_text(args, "timeout"))
        json_object_set_new(request, "timeout_s",
                            json_integer((json_int_t)args_number(args, "timeout", 0)));
    if (command->tty)
        add_terminal(request, env);
    return request;
}

int command_detach(const char *vm, json_t *request, json_t **answer, Error *error) {
    (void)json_object_del(request, "stdin");
    (void)json_object_set_new(request, "detach", json_true());
    return client_call(API_VM_EXEC, vm, NULL, request, answer, error);
}

static json_t *gathered_bytes(int fd) {
    struct stat st;
    _cleanup_free_ char *bytes = NULL;
    size_t size;
    if (fstat(fd, &st) < 0)
        return json_string("");
    size = (size_t)MIN_OF((uint64_t)st.st_size, GATHERED_MAX);
    bytes = malloc(size + 1);
    if (!bytes || fd_pread_full(fd, bytes, size, 0) != (ssize_t)size)
        return json_string("");
    return json_from_bytes(bytes, size);
}

static int print_document(int out_fd, int err_fd, const ClientStreamEnd *end, const json_t *vm,
                          Error *error) {
    _cleanup_json_ json_t *document = json_pack(
        "{s:i, s:b, s:o, s:o}", "exit_status", end->status, "timed_out", end->timed_out != 0,
        "stdout", gathered_bytes(out_fd), "stderr", gathered_bytes(err_fd));
    if (vm)
        json_object_set(document, "vm", (json_t *)vm);
    return output_json(document, error);
}

static int run_gathered(ClientStream *stream, ClientStreamEnd *end, int *signal, json_t *const *vm,
                        Error *error) {
    _cleanup_close_ int out_fd = memfd_create("stdout", MFD_CLOEXEC);
    _cleanup_close_ int err_fd = memfd_create("stderr", MFD_CLOEXEC);
    int r;
    if (out_fd < 0 || err_fd < 0)
        return error_set_errno(error, errno, "cannot gather the output");
    stream->out_fd = out_fd;
    stream->err_fd = err_fd;
    r = client_stream_run(stream, end, signal, error);
    if (r == 0)
        r = print_document(out_fd, err_fd, end, vm ? *vm : NULL, error);
    return r;
}

typedef struct CommandSession {
    const Command *command;
    Terminal terminal;
} CommandSession;

static void enter_terminal(CommandSession *session) {
    const Command *command = session->command;
    if (command->tty && command->interactive && isatty(STDIN_FILENO))
        (void)terminal_make_raw(&session->terminal, STDIN_FILENO, NULL);
}

static void session_event(void *data, const json_t *event) {
    const Command *command = ((CommandSession *)data)->command;
    if (command->on_event)
        command->on_event(command->data, event);
}

/* Raw mode begins here, not earlier: until it is ready Ctrl-C must be a signal. */
static void session_ready(void *data, const json_t *vm) {
    CommandSession *session = data;
    if (session->command->on_ready)
        session->command->on_ready(session->command->data, vm);
    enter_terminal(session);
}

static void tell_timeout(const ClientStreamEnd *end) {
    if (end->timed_out == TIMED_OUT_SILENT)
        output_note("the command's time is over, and the guest does not say that it ended");
    else if (end->timed_out)
        output_note("the command's time was over (--timeout): it was ended");
}

int command_run(int socket, const Command *command, json_t *const *vm, Error *error) {
    CommandSession session = {.command = command, .terminal = TERMINAL_INIT};
    ClientStream stream = {.socket = socket,
                           .in_fd = command->interactive ? STDIN_FILENO : -1,
                           .out_fd = STDOUT_FILENO,
                           .err_fd = STDERR_FILENO,
                           .run = command->run,
                           .signals = true,
                           .resize_fd = command->tty && isatty(STDIN_FILENO) ? STDIN_FILENO : -1,
                           .on_event = session_event,
                           .on_ready = session_ready,
                           .data = &session};
    ClientStreamEnd end = {0};
    int signal = 0, r;
    if (!command->run)
        enter_terminal(&session);
    r = command->json ? run_gathered(&stream, &end, &signal, vm, error)
                      : client_stream_run(&stream, &end, &signal, error);
    terminal_restore(&session.terminal);
    if (r == -ECANCELED && signal) {
        if (command->left)
            *command->left = true;
        return 128 + signal;
    }
    if (r == 0 && !command->json)
        tell_timeout(&end);
    return r < 0 ? r : end.status;
}
