/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/each.h"
#include "cli/logs_view.h"
#include "cli/verb_rows.h"
#include "cli/vm_names.h"

static int logs_run(const Args *args, Error *error) {
    _cleanup_(strlist_free) StrList names = {0};
    Args expanded;
    int r = vm_names_expand(args, &names, &expanded, error);
    if (r < 0)
        return r;
    return args->json ? each_operand(&expanded, logs_document, false, error)
                      : logs_show(&expanded, false, error);
}

static const VerbOption options[] = {
    LOGS_OPTIONS,
    {.name = NULL},
};
static const VerbOperand operands[] = {
    {"VM", ARG_VM_PATTERN, "name or id of a VM, or a pattern of names with * ? [ ]", 1, MANY},
    {.name = NULL},
};

const Verb verb_logs = {
    .name = "logs",
    .aliases = "log",
    .summary = "show what the consoles of VMs printed",
    .options = options,
    .operands = operands,
    .description =
        "Prints the console log of each VM. With several, each line begins with the VM's name, "
        "and -f follows all of them at once; a VM that is not there does not keep the others "
        "from being shown. A pattern stands for all VMs whose name it fits; quote it, so that the "
        "shell leaves it alone. On a terminal, control sequences other than colours are left "
        "out.\n"
        "\n"
        "--since takes an age (10m, 1h30m) or a time in RFC 3339's form (2026-11-20T17:33:17Z), "
        "and begins with the first line that came then or later. It goes by this host's clock, "
        "whatever the guest's says. A log that an older version wrote does not tell when its "
        "lines came: then all are shown, and a note says so.\n"
        "\n"
        "With --json the document is {\"name\",\"log\"}, for several VMs a list of them.",
    .examples = "ramet logs -f web1\nramet logs --tail 20 web1\nramet logs -f --since 10m 'web*'",
    .flags = VERB_JSON,
    .run = logs_run,
};
