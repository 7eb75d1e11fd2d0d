/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"
#include "cli/output.h"
#include "cli/verb_rows.h"

static int rename_run(const Args *args, Error *error) {
    _cleanup_json_ json_t *request = json_pack("{s:s}", "name", args->operands[1]), *vm = NULL;
    int r = client_call(API_VM_RENAME, args->operands[0], NULL, request, &vm, error);
    return r < 0 ? r : output_json_or_line(args, vm, args->operands[1], error);
}

static const VerbOperand operands[] = {
    {"VM", ARG_VM, "name or id of a VM", 1, 1},
    {"NEW", ARG_NAME, "its new name", 1, 1},
    {.name = NULL},
};

const Verb verb_rename = {
    .name = "rename",
    .aliases = "mv",
    .summary = "give a VM another name",
    .operands = operands,
    .description =
        "Gives a VM, in whatever state, another name. It goes on undisturbed, and its id, files, "
        "snapshots and clones stay what they are.\n"
        "\n"
        "The host name in the guest follows at once where the VM does not run. One that runs, or "
        "waits in standby, keeps it until ramet starts or restarts it. A host name that was given "
        "with --hostname stays.",
    .examples = "ramet rename web1 web-old",
    .flags = VERB_JSON,
    .run = rename_run,
};
