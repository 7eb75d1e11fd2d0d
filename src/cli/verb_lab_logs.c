/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "cli/client.h"
#include "cli/logs_view.h"
#include "cli/output.h"
#include "cli/verb_rows.h"

/* The logs of all as one list. */
static int print_documents(const Args *args, Error *error) {
    _cleanup_json_ json_t *list = json_array();
    int r = 0;
    for (size_t i = 0; r >= 0 && i < args->n_operands; i++) {
        json_t *document = NULL;
        r = logs_document(args, args->operands[i], &document, error);
        if (r >= 0)
            json_array_append_new(list, document);
    }
    return r < 0 ? r : output_json(list, error);
}

/* As if the VMs were the operands. */
static int show(const Args *args, const json_t *vms, Error *error) {
    size_t count = json_array_size(vms);
    _cleanup_free_ const char **names = calloc(count + 1, sizeof(*names));
    Args with = *args;
    if (!names)
        abort();
    for (size_t i = 0; i < count; i++)
        names[i] = json_string_value(json_object_get(json_array_get(vms, i), "vm"));
    with.operands = names;
    with.n_operands = count;
    if (args->json)
        return print_documents(&with, error);
    return count > 0 ? logs_show(&with, true, error) : 0;
}

static int lab_logs_run(const Args *args, Error *error) {
    _cleanup_json_ json_t *lab = NULL;
    int r = client_call(API_LAB_INSPECT, args->operands[0], NULL, NULL, &lab, error);
    return r < 0 ? r : show(args, json_object_get(lab, "vms"), error);
}

static const VerbOption options[] = {
    LOGS_OPTIONS,
    {.name = NULL},
};
static const VerbOperand operands[] = {
    {"LAB", ARG_LAB, "name or id of a lab", 1, 1},
    {.name = NULL},
};

const Verb verb_lab_logs = {
    .name = "lab logs",
    .aliases = "lab log",
    .summary = "show what the consoles of a lab's VMs printed",
    .options = options,
    .operands = operands,
    .description = "Prints the console logs of all VMs of the lab, which have the output of their "
                   "`run:` commands, too. Each line begins with the VM's name; -f follows all of "
                   "them at once until the last VM has ended.\n"
                   "\n"
                   "With --json the document is a list of {\"name\",\"log\"}.",
    .examples = "ramet lab logs -f three",
    .flags = VERB_JSON,
    .run = lab_logs_run,
};
