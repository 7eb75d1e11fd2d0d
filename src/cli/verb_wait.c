/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"
#include "cli/each.h"
#include "cli/output.h"
#include "cli/verbs.h"

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

static int wait_one(const Args *args, const char *vm, json_t **answer, Error *error) {
    _cleanup_json_ json_t *body = json_pack(
        "{s:s}", "state", args_text(args, "state") ? args_text(args, "state") : "stopped");
    _cleanup_free_ char *text = NULL;
    int r = client_call(API_VM_WAIT, vm, NULL, body, answer, error);

    if (r < 0 || args->json)
        return r;
    text = cause_text(*answer);
    return output_line(text, error);
}

static int wait_run(const Args *args, Error *error) {
    return each_operand(args, wait_one, true, error);
}

static const VerbOption options[] = {
    {0, "state", ARG_CHOICE,
     .choices = "created|starting|running|paused|standby|stopping|stopped|failed", .value = "STATE",
     .help = "the state to wait for (default stopped, which failed meets as well)"},
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
                   "A VM that is removed meanwhile ends the wait too.",
    .examples = "ramet wait web1",
    .flags = VERB_JSON,
    .run = wait_run,
};
