/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/each.h"
#include "cli/spec.h"
#include "cli/verb_rows.h"
#include "proto/api/api.h"

/* start and restart: the same request to another operation. */
static int post_one(ApiId operation, const Args *args, const char *vm, json_t **answer,
                    Error *error) {
    json_t *request = json_pack("{s:b}", "cold", args_flag(args, "cold"));
    wait_from_args(args, request);
    return each_post(operation, vm, request, answer, error);
}

static int start_one(const Args *args, const char *vm, json_t **answer, Error *error) {
    return post_one(API_VM_START, args, vm, answer, error);
}

static int start_run(const Args *args, Error *error) {
    return each_operand(args, start_one, false, error);
}

static int restart_one(const Args *args, const char *vm, json_t **answer, Error *error) {
    return post_one(API_VM_RESTART, args, vm, answer, error);
}

static int restart_run(const Args *args, Error *error) {
    return each_operand(args, restart_one, false, error);
}

static const VerbOperand operands[] = {
    {"VM", ARG_VM, "name or id of a VM", 1, MANY},
    {.name = NULL},
};

static const VerbOption options[] = {
    {0, "cold", ARG_FLAG, .help = "boot, and do not restore"},
    WAIT_OPTIONS,
    {.name = NULL},
};

const Verb verb_start = {
    .name = "start",
    .summary = "start VMs",
    .options = options,
    .operands = operands,
    .description =
        "Starts each VM and returns once it is ready: its agent has answered and its name, "
        "address and clock are set.",
    .examples = "ramet start web1",
    .flags = VERB_JSON,
    .run = start_run,
};

const Verb verb_restart = {
    .name = "restart",
    .aliases = "reboot",
    .summary = "stop VMs and start them again",
    .options = options,
    .operands = operands,
    .description =
        "Stops each VM in good order where it runs, starts it, and returns once it is ready.",
    .examples = "ramet restart web1",
    .flags = VERB_JSON,
    .run = restart_run,
};
