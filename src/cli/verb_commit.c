/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"
#include "cli/output.h"
#include "cli/verb_rows.h"

static int commit_run(const Args *args, Error *error) {
    _cleanup_json_ json_t *request =
        json_pack("{s:s, s:b}", "name", args->operands[1], "replace", args_flag(args, "replace"));
    _cleanup_json_ json_t *image = NULL;
    _cleanup_free_ char *name = NULL;
    int r = client_call(API_VM_COMMIT, args->operands[0], NULL, request, &image, error);
    if (r < 0)
        return r;
    name = output_member(image, "name");
    return output_json_or_line(args, image, name, error);
}

static const VerbOption options[] = {
    {0, "replace", ARG_FLAG, .help = "take the name from another image that has it"},
    {.name = NULL},
};
static const VerbOperand operands[] = {
    {"VM", ARG_VM, "name or id of the VM", 1, 1},
    {"NAME", ARG_NAME, "name of the image", 1, 1},
    {.name = NULL},
};

const Verb verb_commit = {
    .name = "commit",
    .summary = "make an image of a VM's disk",
    .options = options,
    .operands = operands,
    .description =
        "Makes an image of a VM's disk as it is, with the kernel that the VM has. A VM that runs "
        "goes on; its file systems are frozen for a moment, as for a snapshot. The image stands "
        "alone: it needs neither the VM nor the image that this was made from. Its program, "
        "variables, working folder and user are what the VM has. A VM of it boots and has an "
        "identity "
        "of its own. Prints the image's name.",
    .examples = "ramet commit web1 web-prepared\n"
                "ramet run -d --name web2 web-prepared",
    .flags = VERB_JSON,
    .run = commit_run,
};
