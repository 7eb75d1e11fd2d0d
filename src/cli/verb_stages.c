/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "base/path.h"
#include "cli/client.h"
#include "cli/output.h"
#include "cli/stages_view.h"
#include "cli/verb_rows.h"

static int write_trace(const char *file, const char *vm, const json_t *stages, Error *error) {
    _cleanup_json_ json_t *trace = NULL;
    _cleanup_fclose_ FILE *stream = NULL;
    int r = stages_to_trace(vm, stages, &trace, error);
    if (r < 0)
        return r;
    stream = fopen(file, "we");
    if (!stream)
        return error_set_errno(error, errno, "cannot write %s", file);
    if (json_dumpf(trace, stream, JSON_INDENT(1)) < 0 || fputc('\n', stream) == EOF ||
        fflush(stream) != 0)
        return error_set_errno(error, errno ? errno : EIO, "cannot write %s", file);
    return 0;
}

static int stages_run(const Args *args, Error *error) {
    const char *vm = args->operands[0], *file = args_text(args, "trace");
    _cleanup_json_ json_t *answer = NULL;
    const json_t *stages;
    int r = client_call(API_VM_STAGES, vm, NULL, NULL, &answer, error);
    if (r < 0)
        return r;
    stages = json_object_get(answer, "stages");
    if (file)
        r = write_trace(file, vm, stages, error);
    if (r < 0)
        return r;
    if (args->json)
        return output_json(answer, error);
    if (file) {
        output_note("wrote %s; open it in https://ui.perfetto.dev", file);
        return 0;
    }
    r = stages_print(stdout, json_string_value(json_object_get(answer, "boot")), stages, error);
    return r < 0 ? r : output_flush(error);
}

static const VerbOption options[] = {
    {0, "trace", ARG_FILE, .help = "write them as Chrome trace events, which Perfetto opens"},
    {.name = NULL},
};
static const VerbOperand operands[] = {
    {"VM", ARG_VM, "name or id of a VM", 1, 1},
    {.name = NULL},
};

const Verb verb_stages = {
    .name = "stages",
    .summary = "show where the time of a VM's start went",
    .options = options,
    .operands = operands,
    .description = "Shows the stages of the VM's last start, from the request until it was ready: "
                   "when each began, how long it took, and a bar.",
    .examples = "ramet stages web1\nramet stages web1 --trace start.json",
    .flags = VERB_JSON,
    .run = stages_run,
};
