/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"
#include "cli/output.h"
#include "cli/verb_rows.h"

static int show(const json_t *snapshot, json_t **shown, Error *error) {
    _cleanup_free_ char *id = output_member(snapshot, "id");
    return client_call(API_SNAPSHOT_INSPECT, id, NULL, NULL, shown, error);
}

static int snapshot_create_run(const Args *args, Error *error) {
    _cleanup_json_ json_t *request = json_object(), *snapshot = NULL, *shown = NULL;
    _cleanup_free_ char *name = NULL;
    int r;
    if (args->n_operands > 1)
        json_object_set_new(request, "name", json_string(args->operands[1]));
    if (args_text(args, "compress"))
        json_object_set_new(request, "compress", json_string(args_text(args, "compress")));
    if (args_flag(args, "clone-volumes"))
        json_object_set_new(request, "clone_volumes", json_true());
    r = client_call(API_VM_SNAPSHOT, args->operands[0], NULL, request, &snapshot, error);
    if (r < 0)
        return r;
    name = output_member(snapshot, args->n_operands > 1 ? "name" : "id");
    if (args->json) /* who reads that wants the memory's SHA-256 in it */
        r = show(snapshot, &shown, error);
    return r < 0 ? r : output_json_or_line(args, shown ? shown : snapshot, name, error);
}

static const VerbOption options[] = {
    {0, "clone-volumes", ARG_FLAG,
     .help = "of volumes that the VM writes to it has a copy, as they are then"},
    {0, "compress", ARG_CHOICE, .choices = "zstd", .help = "store its memory compressed"},
    {.name = NULL},
};
static const VerbOperand operands[] = {
    {"VM", ARG_VM, "name or id of a VM", 1, 1},
    {"NAME", ARG_NAME, "name of the snapshot", 0, 1},
    {.name = NULL},
};

const Verb verb_snapshot_create = {
    .name = "snapshot create",
    .aliases = "snapshot take",
    .summary = "freeze a VM, from which others can grow",
    .options = options,
    .operands = operands,
    .description =
        "Freezes memory, device state and disk of a VM, and prints the snapshot's name, or its id "
        "when it has no name. A VM that runs is paused for some milliseconds and runs on; its file "
        "systems are synced first. A VM that does not run has no memory: VMs that grow from its "
        "snapshot boot. With --json this waits until the SHA-256 of the memory is computed, as "
        "snapshot inspect does.",
    .examples = "ramet snapshot create web1 ready\n"
                "ramet fork ready -n 8",
    .flags = VERB_JSON,
    .run = snapshot_create_run,
};
