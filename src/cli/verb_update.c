/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "cli/client.h"
#include "cli/output.h"
#include "cli/spec.h"
#include "cli/verb_rows.h"

static int update_run(const Args *args, Error *error) {
    _cleanup_json_ json_t *request = json_object(), *vm = NULL;
    int r;
    policy_from_args(args, request);
    limits_from_args(args, request);
    r = client_call(API_VM_UPDATE, args->operands[0], NULL, request, &vm, error);
    return r < 0 ? r : output_json_or_line(args, vm, args->operands[0], error);
}

static int check_given(const Args *args, Error *error) {
    static const char *const names[] = {"ttl",          "restart",    "idle-standby", "cpu-limit",
                                        "memory-limit", "pids-limit", "io-limit"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (args_given(args, names[i]))
            return 0;
    return error_set(error, ERROR_USAGE, EINVAL, "update: there is nothing to change");
}

static const VerbOption options[] = {
    POLICY_OPTIONS,
    LIMIT_OPTIONS,
    {.name = NULL},
};
static const VerbOperand operands[] = {
    {"VM", ARG_VM, "name or id of a VM", 1, 1},
    {.name = NULL},
};

const Verb verb_update = {
    .name = "update",
    .summary = "change when a VM ends, starts again or goes to standby by itself, and its limits",
    .options = options,
    .operands = operands,
    .description =
        "Changes what run, create and fork were told with the same options, whether the VM runs "
        "or not. What is not given stays as it is.\n"
        "\n"
        "A new --ttl counts from now; --ttl 0 ends it. --restart no also cancels a restart that "
        "is waited for. A new limit holds at once. `ramet inspect` shows all of it, and when the "
        "time to live is over as "
        "expires_at.",
    .examples = "ramet update web1 --ttl 2h\n"
                "ramet update web1 --restart on-failure:5 --ttl 0\n"
                "ramet update web1 --cpu-limit 0.5 --io-limit bytes=20M",
    .flags = VERB_JSON,
    .check = check_given,
    .run = update_run,
};
