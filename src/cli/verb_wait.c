/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <unistd.h>

#include "base/fd.h"
#include "cli/client.h"
#include "cli/each.h"
#include "cli/output.h"
#include "cli/verb_rows.h"

/* "stopped", and why: the cause of the exit, or the error. */
static char *cause_text(const json_t *vm) {
    const json_t *exit = json_object_get(vm, "exit"), *error = json_object_get(vm, "error");
    const json_t *cause = json_is_object(exit) ? json_object_get(exit, "cause") : NULL;
    _cleanup_free_ char *state = output_member(vm, "state");
    if (json_is_object(error))
        cause = json_object_get(error, "message");
    if (json_is_string(cause))
        return str_format("%s: %s", state, json_string_value(cause));
    return str_copy(json_is_object(vm) ? state : "removed");
}

/* As docker wait prints it. */
static int print_status(const char *vm, const json_t *answer, Error *error) {
    const json_t *status = json_object_get(json_object_get(answer, "program"), "exit_status");
    _cleanup_free_ char *text = NULL;
    if (!json_is_integer(status)) {
        error_set(error, ERROR_CONFLICT, ENODATA, "how the program of %s ended is not known", vm);
        error_set_hint(error, "the VM ended before it did, or has not run: ramet inspect %s", vm);
        return -ENODATA;
    }
    text = str_format("%lld", (long long)json_integer_value(status));
    return output_line(text, error);
}

static int wait_one(const Args *args, const char *vm, json_t **answer, Error *error) {
    bool program = args_flag(args, "program");
    _cleanup_json_ json_t *body =
        program ? json_pack("{s:b}", "program", 1)
                : json_pack("{s:s}", "state",
                            args_text(args, "state") ? args_text(args, "state") : "stopped");
    _cleanup_free_ char *text = NULL;
    int r = client_call(API_VM_WAIT, vm, NULL, body, answer, error);
    if (r < 0 || args->json)
        return r;
    if (program)
        return print_status(vm, *answer, error);
    text = cause_text(*answer);
    return output_line(text, error);
}

static int print_output(const json_t *document, const char *name, int fd, Error *error) {
    _cleanup_free_ char *dropped_name = str_format("%s_dropped_bytes", name), *bytes = NULL;
    json_int_t dropped = json_integer_value(json_object_get(document, dropped_name));
    size_t size;
    int r;
    if (json_to_bytes(json_object_get(document, name), &bytes, &size) < 0)
        return error_set(error, ERROR_CORRUPT, EBADMSG, "the answer has no %s", name);
    if (dropped > 0)
        output_note("the first %lld bytes of %s were not kept", (long long)dropped, name);
    r = fd_write_full(fd, bytes, size);
    return r < 0 ? error_set_errno(error, -r, "cannot write the output") : 0;
}

/* Waits for a detached command, and ends as it did. */
static int wait_for_exec(const Args *args, Error *error) {
    _cleanup_json_ json_t *body = json_pack("{s:s}", "id", args_text(args, "exec"));
    _cleanup_json_ json_t *document = NULL;
    int r;
    if (args->n_operands > 1 || args_text(args, "state"))
        return error_set(error, ERROR_USAGE, EINVAL,
                         "wait: --exec goes with one VM, and no --state");
    r = client_call(API_VM_EXEC_WAIT, args->operands[0], NULL, body, &document, error);
    if (r == 0 && args->json)
        r = output_json(document, error);
    if (r == 0 && !args->json)
        r = print_output(document, "stdout", STDOUT_FILENO, error);
    if (r == 0 && !args->json)
        r = print_output(document, "stderr", STDERR_FILENO, error);
    return r < 0 ? r : (int)(json_integer_value(json_object_get(document, "exit_status")) & 255);
}

static int wait_run(const Args *args, Error *error) {
    if (args_flag(args, "program") && (args_text(args, "state") || args_text(args, "exec")))
        return error_set(error, ERROR_USAGE, EINVAL,
                         "wait: --program goes with no --state and no --exec");
    if (args_text(args, "exec"))
        return wait_for_exec(args, error);
    return each_operand(args, wait_one, true, error);
}

static const VerbOption options[] = {
    {0, "state", ARG_CHOICE,
     .choices = "created|starting|running|paused|standby|stopping|stopped|failed", .value = "STATE",
     .help = "the state to wait for (default stopped, which failed meets as well)"},
    {0, "exec", ARG_TEXT, .value = "ID",
     .help = "wait for the command that `ramet exec --detach` gave this id"},
    {0, "program", ARG_FLAG,
     .help = "wait until the VM's program has ended, and print its exit status"},
    {.name = NULL},
};
static const VerbOperand operands[] = {
    {"VM", ARG_VM, "name or id of a VM", 1, MANY},
    {.name = NULL},
};

const Verb verb_wait = {
    .name = "wait",
    .summary = "wait until VMs have stopped",
    .options = options,
    .operands = operands,
    .description = "Waits until each VM is in the state, and prints it with the cause of its end. "
                   "A VM that is removed meanwhile ends the wait too.\n"
                   "\n"
                   "With --program it waits for the program that a VM runs by itself (of an image "
                   "of a container, or of a recipe) and prints its exit status, which is 128 + n "
                   "when signal n ended it. The VM goes on, and `ramet ps` and `ramet inspect` "
                   "show that status, too, until it starts again.\n"
                   "\n"
                   "With --exec it waits for a detached command of one VM instead, prints what "
                   "the command printed (the last 256 KiB of each output), and its exit status "
                   "is the exit status. With --json the document is {\"id\",\"running\","
                   "\"exit_status\",\"timed_out\",\"stdout\",\"stderr\","
                   "\"stdout_dropped_bytes\",\"stderr_dropped_bytes\"}.",
    .examples = "ramet wait web1\nexit $(ramet wait --program job)\nramet wait --exec "
                "980582cbd71879e2 web1",
    .flags = VERB_JSON,
    .run = wait_run,
};
