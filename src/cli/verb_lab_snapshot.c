/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"
#include "cli/output.h"
#include "cli/verb_rows.h"

static int lab_snapshot_run(const Args *args, Error *error) {
    _cleanup_json_ json_t *request = json_pack("{s:s}", "name", args->operands[1]);
    _cleanup_json_ json_t *snapshot = NULL;
    if (args_flag(args, "clone-volumes"))
        json_object_set_new(request, "clone_volumes", json_true());
    int r = client_call(API_LAB_SNAPSHOT, args->operands[0], NULL, request, &snapshot, error);
    return r < 0 ? r : output_json_or_line(args, snapshot, args->operands[1], error);
}

static const VerbOption options[] = {
    {0, "clone-volumes", ARG_FLAG,
     .help = "take copies of the volumes that its VMs write to, for copies of the lab"},
    {.name = NULL},
};
static const VerbOperand operands[] = {
    {"LAB", ARG_LAB, "name or id of a lab", 1, 1},
    {"NAME", ARG_NAME, "name of the snapshot", 1, 1},
    {.name = NULL},
};

const Verb verb_lab_snapshot = {
    .name = "lab snapshot",
    .summary = "freeze all VMs of a lab at one moment",
    .options = options,
    .operands = operands,
    .description =
        "Freezes memory, device state and disk of each of the lab's VMs; of one that is stopped "
        "the disk, and it is stopped in copies, too. One that is paused or in standby has to go on "
        "first. "
        "For some milliseconds all of them stand still at once, and their networks hold what is "
        "under way; then the lab runs on. What one of them has heard of another by then, that one "
        "has said in the snapshot, too, so the connections among them go on in every copy that "
        "lab fork makes.\n"
        "\n"
        "lab snapshot ls, inspect and rm list, show and remove such snapshots. What belongs to one "
        "cannot be removed alone.",
    .examples = "ramet lab snapshot three ready\n"
                "ramet lab fork ready -n 4",
    .flags = VERB_JSON,
    .run = lab_snapshot_run,
};
