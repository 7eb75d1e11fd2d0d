/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"
#include "cli/image_args.h"
#include "cli/output.h"
#include "cli/verb_rows.h"

static int seed_create_run(const Args *args, Error *error) {
    _cleanup_json_ json_t *request = json_pack("{s:s}", "name", args->operands[0]), *seed = NULL;
    _cleanup_free_ char *folder = NULL;
    int r = image_args_path(args_text(args, "from"), &folder, error);
    if (r < 0)
        return r;
    json_object_set_new(request, "from", json_string(folder));
    if (args_given(args, "size"))
        json_object_set_new(request, "size",
                            json_integer((json_int_t)args_number(args, "size", 0)));
    if (args_flag(args, "replace"))
        json_object_set_new(request, "replace", json_true());
    r = client_call(API_SEED_CREATE, NULL, NULL, request, &seed, error);
    return r < 0 ? r : output_json_or_line(args, seed, args->operands[0], error);
}

static const VerbOption options[] = {
    {0, "from", ARG_FOLDER, .required = true, .help = "the folder whose content it gets"},
    {0, "size", ARG_SIZE, .min = MIB, .max = API_DISK_MAX,
     .help = "size of the disk; its content, a quarter and 64 MiB when absent"},
    {0, "replace", ARG_FLAG, .help = "take the name from another seed that has it"},
    {.name = NULL},
};
static const VerbOperand operands[] = {
    {"NAME", ARG_NAME, "name of the seed", 1, 1},
    {.name = NULL},
};

const Verb verb_seed_create = {
    .name = "seed create",
    .aliases = "seed add|seed build",
    .summary = "make a seed of a folder",
    .options = options,
    .operands = operands,
    .description =
        "Makes a frozen ext4 disk of a folder: with owners, modes, times, links and extended "
        "attributes as they are, the folder's own, too. Each VM of run --seed NAME:PATH has a disk "
        "of its own over it, mounted at PATH. Nothing is copied for that.\n"
        "\n"
        "A folder that changes while it is read is an error, and nothing stays. The same folder "
        "gives the same seed. With --replace the name may stand for another seed already: VMs, "
        "snapshots and images keep what they have, and that goes with the last of them.",
    .examples = "ramet seed create home --from ./home\n"
                "ramet run -it --seed home:/root:8G busybox",
    .flags = VERB_JSON,
    .run = seed_create_run,
};
