/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/import_file.h"
#include "cli/output.h"
#include "cli/verb_rows.h"

static int snapshot_import_run(const Args *args, Error *error) {
    const char *name = args_text(args, "name");
    _cleanup_json_ json_t *snapshot = NULL, *request = json_object();
    _cleanup_free_ char *made = NULL;
    int r;
    if (name)
        (void)json_object_set_new(request, "name", json_string(name));
    r = import_file(API_SNAPSHOT_IMPORT, args->operands[0], request, &snapshot, error);
    if (r < 0)
        return r;
    made =
        output_member(snapshot, json_is_string(json_object_get(snapshot, "name")) ? "name" : "id");
    return output_json_or_line(args, snapshot, made, error);
}

static const VerbOption options[] = {
    {0, "name", ARG_NAME, .help = "name of the snapshot; else that which it had"},
    {.name = NULL},
};
static const VerbOperand operands[] = {
    {"FILE", ARG_FILE_OR_STDIN, "what ramet snapshot export wrote; - for standard input", 1, 1},
    {.name = NULL},
};

const Verb verb_snapshot_import = {
    .name = "snapshot import",
    .summary = "import a snapshot from a file",
    .options = options,
    .operands = operands,
    .description =
        "Imports what ramet snapshot export wrote, and prints its name. A snapshot that this host "
        "cannot restore (another QEMU, machine, CPU model or accelerator) is refused with the "
        "reason before anything is read; so is one that was written with --since when that "
        "snapshot is not here. What is here already is not stored again. A file that was cut or "
        "changed is refused, and nothing stays. Import only what you would run.",
    .examples = "ramet snapshot import warm.ramet\n"
                "ramet fork warm -n 8",
    .flags = VERB_JSON,
    .run = snapshot_import_run,
};
