/* SPDX-License-Identifier: Apache-2.0 */
/* Three ways to run:
 *
 *     IMAGE CMD…   POST /v1/run: one stream carries the start's events, READY, the command and its
 *                  end. With --rm the VM belongs to the stream; it is removed here once the command
 *                  has ended, and by the daemon when this program dies.
 *     IMAGE        of a container: the same, and the command is its own program
 *     IMAGE        else on a terminal: the same, and the command is a shell
 *     -d, or IMAGE without a terminal: POST /v1/vms, and back once it is ready; a command of -d is
 *                  then put into the guest's background, with the console as its output; the
 *                  program of an image of a container the daemon starts */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/spec.h"
#include "cli/stages_view.h"
#include "cli/verb_rows.h"

typedef struct Run {
    const Args *args;
    Progress progress;
    json_t *vm; /* owned; NULL until it is ready */
} Run;

static void show_stages(const Args *args, const json_t *vm) {
    const char *name = json_string_value(json_object_get(vm, "name"));
    if (args_flag(args, "stages"))
        (void)stages_print(stderr, name, json_object_get(vm, "stages"), NULL);
}

static void on_event(void *data, const json_t *event) {
    (void)progress_event(&((Run *)data)->progress, event);
}

static void on_ready(void *data, const json_t *vm) {
    Run *run = data;
    run->vm = json_incref((json_t *)vm);
    progress_end(&run->progress);
    show_stages(run->args, vm);
}

/* --rm: gone when we return. That the keeper or the daemon was faster is success. */
static int remove_vm(const json_t *vm, Error *error) {
    const char *id = json_string_value(json_object_get(vm, "id"));
    int r = client_call(API_VM_REMOVE, id ? id : "", "force=1", NULL, NULL, error);
    if (r < 0 && error->kind == ERROR_NOT_FOUND) {
        error_clear(error);
        return 0;
    }
    return r < 0 ? error_add_context(error, "cannot remove the VM") : 0;
}

static int run_attached(const Args *args, json_t *spec, char *const *argv, const Command *command,
                        Error *error) {
    _cleanup_close_ int fd = -1;
    Run run = {.args = args};
    Command attached = *command;
    _cleanup_error_ Error removal = ERROR_INIT;
    bool left = false; /* then the daemon removes it, as when we die */
    int r;
    json_object_set_new(spec, "exec", command_request(args, argv, command));
    if (!*argv) /* the image's own */
        (void)json_object_del(json_object_get(spec, "exec"), "argv");
    r = client_upgrade(API_RUN, NULL, spec, &fd, error);
    if (r < 0)
        return r;
    progress_start(&run.progress);
    attached.run = true;
    attached.left = &left;
    attached.on_event = on_event;
    attached.on_ready = on_ready;
    attached.data = &run;
    r = command_run(fd, &attached, &run.vm, error);
    progress_end(&run.progress);
    fd = fd_close(fd);
    if (run.vm && !left && args_flag(args, "rm") && remove_vm(run.vm, &removal) < 0)
        output_error(&removal);
    json_decref(run.vm);
    return r;
}

/* Runs it in the guest's background; its output goes to the console, and so to `ramet logs`. With
 * a time it is a detached command, whose end the keeper sees to. */
static int start_background(const Args *args, const json_t *vm, Error *error) {
    static const char script[] = "exec </dev/null >/dev/console 2>&1; \"$@\" &";
    static const char timed_script[] = "exec </dev/null >/dev/console 2>&1; exec \"$@\"";
    bool timed = args_text(args, "timeout") != NULL;
    const char *id = json_string_value(json_object_get(vm, "id"));
    Command command = {0};
    _cleanup_close_ int fd = -1;
    _cleanup_free_ char **argv = calloc(args->n_command + 5, sizeof(*argv));
    _cleanup_json_ json_t *request = NULL;
    int r;
    if (!argv)
        return error_set_errno(error, ENOMEM, "cannot run the command");
    argv[0] = (char *)"/bin/sh";
    argv[1] = (char *)"-c";
    argv[2] = (char *)(timed ? timed_script : script);
    argv[3] = (char *)"sh";
    memcpy(argv + 4, args->command, args->n_command * sizeof(*argv));
    request = command_request(args, argv, &command);
    if (timed)
        return command_detach(id, request, NULL, error);
    r = client_upgrade(API_VM_EXEC, id, request, &fd, error);
    return r < 0 ? r : command_run(fd, &command, NULL, error);
}

/* Has the image a program of its own, which is to be run? One that is not there yet has none, and
 * that of a warm one runs already. */
static bool has_program(const Args *args) {
    _cleanup_json_ json_t *image = NULL;
    const json_t *config;
    if (args_given(args, "entrypoint"))
        return true;
    if (client_call(API_IMAGE_INSPECT, args->operands[0], NULL, NULL, &image, NULL) < 0)
        return false;
    config = json_object_get(image, "config");
    if (!json_is_object(config) || json_object_get(config, "ready"))
        return false;
    return str_equal(json_string_value(json_object_get(image, "init")), "agent") ||
           json_is_true(json_object_get(config, "beside_init"));
}

static void add_program(const Args *args, json_t *spec) {
    const char *entrypoint = args_text(args, "entrypoint");
    if (entrypoint)
        json_object_set_new(spec, "entrypoint",
                            *entrypoint ? json_pack("[s]", entrypoint) : json_array());
    if (args_flag(args, "publish-all"))
        json_object_set_new(spec, "publish_all", json_true());
}

/* The daemon starts it, now and in each later start. */
static void add_detached_program(const Args *args, json_t *spec) {
    json_t *words = json_array();
    for (size_t i = 0; i < args->n_command; i++)
        json_array_append_new(words, json_string(args->command[i]));
    if (json_array_size(words) > 0)
        json_object_set_new(spec, "command", words);
    else
        json_decref(words);
    if (args_text(args, "user"))
        json_object_set_new(spec, "user", json_string(args_text(args, "user")));
    if (args_text(args, "workdir"))
        json_object_set_new(spec, "directory", json_string(args_text(args, "workdir")));
}

static int run_detached(const Args *args, const json_t *spec, bool program, Error *error) {
    _cleanup_json_ json_t *vm = NULL;
    _cleanup_free_ char *name = NULL;
    int r = client_call(API_VM_CREATE, NULL, NULL, spec, &vm, error);
    if (r == 0 && args->n_command > 0 && !program)
        r = start_background(args, vm, error);
    if (r != 0)
        return r;
    show_stages(args, vm);
    name = output_member(vm, "name");
    return output_json_or_line(args, vm, name, error);
}

static int run_program(const Args *args, json_t *spec, const Command *command, Error *error) {
    char *none[] = {NULL};
    char *const *argv = args->n_command > 0 ? args->command : none;
    if (!args_flag(args, "detach"))
        return run_attached(args, spec, argv, command, error);
    if (args_text(args, "timeout"))
        return error_set(error, ERROR_USAGE, EINVAL,
                         "run: --timeout is for a command that is waited for");
    add_detached_program(args, spec);
    return run_detached(args, spec, true, error);
}

static int run_run(const Args *args, Error *error) {
    _cleanup_json_ json_t *spec = spec_from_args(args, true);
    bool waits = args->n_command > 0 && !args_flag(args, "detach");
    bool program = args_given(args, "entrypoint") || (!waits && has_program(args));
    bool terminal = args->n_command == 0 && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) &&
                    !args_flag(args, "detach");
    bool shell = terminal && !program;
    Command command = {.interactive = terminal || args_flag(args, "interactive"),
                       .tty = terminal || args_flag(args, "tty"),
                       .json = args->json};
    const char *shell_argv[COMMAND_SHELL_WORDS];
    if (spec_add_files(spec, args, error) < 0)
        return -EINVAL;
    add_program(args, spec);
    if (program)
        return run_program(args, spec, &command, error);
    if (args_text(args, "timeout") && args->n_command == 0 && (!shell || args_flag(args, "detach")))
        return error_set(error, ERROR_USAGE, EINVAL, "run: --timeout is for a command");
    if (args_flag(args, "detach") || (args->n_command == 0 && (!shell || args->json)))
        return run_detached(args, spec, false, error);
    if (!shell)
        return run_attached(args, spec, args->command, &command, error);
    command_shell("0", shell_argv);
    return run_attached(args, spec, (char *const *)shell_argv, &command, error);
}

static const VerbOption options[] = {
    SPEC_OPTIONS,
    POLICY_OPTIONS,
    LIMIT_OPTIONS,
    WAIT_OPTIONS,
    {0, "rm", ARG_FLAG, .help = "remove the VM at the end"},
    {'d', "detach", ARG_FLAG, .help = "return once it is ready, and print its name"},
    {0, "entrypoint", ARG_TEXT_OR_EMPTY, "PROGRAM",
     .help = "program to run, with CMD as its arguments, instead of the image's; \"\": CMD alone"},
    {'P', "publish-all", ARG_FLAG,
     .help = "lead free ports of this host to all that the image serves"},
    {'i', "interactive", ARG_FLAG, .help = "pass standard input on to the command"},
    {'t', "tty", ARG_FLAG, .help = "give the command a terminal"},
    {'w', "workdir", ARG_TEXT, "DIR", .help = "working folder of the command"},
    {'u', "user", ARG_TEXT, "USER",
     .help = "user of the command, and optionally :group, by name or number"},
    COMMAND_TIMEOUT_OPTION,
    {0, "cold", ARG_FLAG, .help = "boot, and do not restore"},
    {0, "stages", ARG_FLAG, .help = "show where the time of the start went"},
    {.name = NULL},
};
static const VerbOperand operands[] = {
    {"IMAGE", ARG_IMAGE, "name, id or digest of an image; busybox and debian are built when absent",
     1, 1},
    {"CMD", ARG_COMMAND, "program and arguments to run in the VM", 0, MANY},
    {.name = NULL},
};

const Verb verb_run = {
    .name = "run",
    .summary = "make a VM, start it, and run a command in it",
    .options = options,
    .operands = operands,
    .description =
        "Makes a VM over the image, starts it, and runs CMD in it once it is ready. What CMD "
        "prints is printed here, and its exit status is the exit status. The VM stays unless "
        "--rm is given.\n"
        "\n"
        "An image of a container (ramet image pull) has a program of its own, which runs without "
        "CMD, "
        "too; CMD takes the place of the image's command, and --entrypoint that of its "
        "entrypoint. Variables, working folder and user are the image's unless said otherwise. The "
        "program runs again in each later start of the VM, and ramet stop sends it the image's "
        "stop "
        "signal first.\n"
        "\n"
        "Without CMD, on a terminal, it runs a shell. Without CMD and without a terminal, or with "
        "--detach, it prints the VM's name once it is ready; a CMD of --detach then runs in the "
        "guest's background with the console as its output.\n"
        "\n"
        "INT, TERM, HUP and QUIT are passed on to CMD. When it has not ended five seconds later, "
        "or "
        "with a second one, ramet leaves with 128 + the signal's number, and CMD is ended. Before "
        "the VM is ready the first one cancels: what was begun is undone.\n"
        "\n"
        "With --json and CMD the document is "
        "{\"exit_status\",\"timed_out\",\"stdout\",\"stderr\",\"vm\"}, "
        "without CMD it is the VM.",
    .examples = "ramet run busybox -- uname -a\n"
                "ramet run --rm -it debian\n"
                "ramet run -d --name web1 -p 8080:80 -m 512M debian\n"
                "ramet run -d --name cache -P redis\n"
                "echo hello | ramet run --rm -i busybox -- wc -c",
    .flags = VERB_JSON | VERB_COMMAND_STATUS,
    .run = run_run,
};
