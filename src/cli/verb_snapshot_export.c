/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/export_file.h"
#include "cli/output.h"
#include "cli/verb_rows.h"

static int snapshot_export_run(const Args *args, Error *error) {
    const char *snapshot = args->operands[0], *file = args->operands[1];
    const char *since = args_text(args, "since");
    _cleanup_free_ char *query = since ? str_format("since=%s", since) : NULL;
    _cleanup_json_ json_t *report = NULL;
    uint64_t bytes;
    int r = export_file(API_SNAPSHOT_EXPORT, snapshot, query, file, &bytes, error);
    if (r < 0 || str_equal(file, "-"))
        return r;
    report = json_pack("{s:s, s:s, s:I}", "snapshot", snapshot, "file", file, "bytes",
                       (json_int_t)bytes);
    return output_json_or_line(args, report, file, error);
}

static const VerbOption options[] = {
    {0, "since", ARG_SNAPSHOT, .help = "leave out what this one has, which the reader has too"},
    {.name = NULL},
};
static const VerbOperand operands[] = {
    {"SNAPSHOT", ARG_SNAPSHOT, "name or id of a snapshot", 1, 1},
    {"FILE", ARG_FILE_OR_STDIN, "file to write; - for standard output", 1, 1},
    {.name = NULL},
};

const Verb verb_snapshot_export = {
    .name = "snapshot export",
    .summary = "write a snapshot into one file",
    .options = options,
    .operands = operands,
    .description =
        "Writes one file with a snapshot and all that it stands on: memory, device state, disk and "
        "kernel, compressed with zstd by all cores, holes left out, and each part with a digest. "
        "ramet snapshot import reads it on another machine, if that has the same QEMU, CPU model "
        "and "
        "accelerator, and VMs are forked from it there. With --since only what that snapshot lacks "
        "is written: pages of memory, layers of the disk. The file holds what the VM had in its "
        "memory, keys and passwords, too.",
    .examples = "ramet snapshot export warm warm.ramet\n"
                "ramet snapshot export later - --since warm | ssh other ramet snapshot import -",
    .flags = VERB_JSON,
    .run = snapshot_export_run,
};
