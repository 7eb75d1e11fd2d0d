/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/command.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "cli/output.h"
#include "cli/terminal.h"

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
        json_array_append_new(words, json_stringn_nocheck(*argv, strlen(*argv)));
    if (args_text(args, "workdir"))
        json_object_set_new(request, "directory", json_string(args_text(args, "workdir")));
    if (args_text(args, "user"))
        json_object_set_new(request, "user", json_string(args_text(args, "user")));
    if (command->tty)
        add_terminal(request, env);
    return request;
}

/* The file's bytes as a string; what is no UTF-8 is replaced. */
static json_t *gathered_text(int fd) {
    struct stat st;
    _cleanup_free_ char *text = NULL;
    size_t size;
    json_t *json;

    if (fstat(fd, &st) < 0)
        return json_string("");
    size = (size_t)MIN_OF((uint64_t)st.st_size, GATHERED_MAX);
    text = calloc(1, size + 1);
    if (!text || fd_pread_full(fd, text, size, 0) != (ssize_t)size)
        return json_string("");
    json = json_stringn(text, size);
    for (size_t i = 0; !json && i < size; i++)
        if ((unsigned char)text[i] >= 0x80)
            text[i] = '?';
    return json ? json : json_stringn(text, size);
}

static int print_document(int out_fd, int err_fd, int status, const json_t *vm, Error *error) {
    _cleanup_json_ json_t *document =
        json_pack("{s:i, s:o, s:o}", "exit_status", status, "stdout", gathered_text(out_fd),
                  "stderr", gathered_text(err_fd));

    if (vm)
        json_object_set(document, "vm", (json_t *)vm);
    return output_json(document, error);
}

static int run_gathered(Stream *stream, StreamEnd *end, int *signal, json_t *const *vm,
                        Error *error) {
    _cleanup_close_ int out_fd = memfd_create("stdout", MFD_CLOEXEC);
    _cleanup_close_ int err_fd = memfd_create("stderr", MFD_CLOEXEC);
    int r;

    if (out_fd < 0 || err_fd < 0)
        return error_set_errno(error, errno, "cannot gather the output");
    stream->out_fd = out_fd;
    stream->err_fd = err_fd;
    r = stream_run(stream, end, signal, error);
    if (r == 0)
        r = print_document(out_fd, err_fd, end->status, vm ? *vm : NULL, error);
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

int command_run(int socket, const Command *command, json_t *const *vm, Error *error) {
    CommandSession session = {.command = command, .terminal = TERMINAL_INIT};
    Stream stream = {.socket = socket,
                     .in_fd = command->interactive ? STDIN_FILENO : -1,
                     .out_fd = STDOUT_FILENO,
                     .err_fd = STDERR_FILENO,
                     .run = command->run,
                     .signals = true,
                     .resize_fd = command->tty && isatty(STDIN_FILENO) ? STDIN_FILENO : -1,
                     .on_event = session_event,
                     .on_ready = session_ready,
                     .data = &session};
    StreamEnd end = {0};
    int signal = 0, r;

    if (!command->run)
        enter_terminal(&session);
    r = command->json ? run_gathered(&stream, &end, &signal, vm, error)
                      : stream_run(&stream, &end, &signal, error);
    terminal_restore(&session.terminal);
    if (r == -ECANCELED && signal)
        return 128 + signal;
    return r < 0 ? r : end.status;
}
