/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"
#include "cli/output.h"
#include "cli/spec.h"
#include "cli/verb_rows.h"

static int create_run(const Args *args, Error *error) {
    _cleanup_json_ json_t *spec = spec_from_args(args, false), *vm = NULL;
    int r = spec_add_files(spec, args, error);
    if (r >= 0)
        r = client_call(API_VM_CREATE, NULL, NULL, spec, &vm, error);
    _cleanup_free_ char *name = r == 0 ? output_member(vm, "name") : NULL;
    return r < 0 ? r : output_json_or_line(args, vm, name, error);
}

static const VerbOption options[] = {
    SPEC_OPTIONS, POLICY_OPTIONS, LIMIT_OPTIONS, WAIT_OPTIONS, {.name = NULL}};
static const VerbOperand operands[] = {
    {"IMAGE", ARG_IMAGE, "name, id or digest of an image; busybox and debian are built when absent",
     1, 1},
    {.name = NULL},
};

const Verb verb_create = {
    .name = "create",
    .aliases = "new",
    .summary = "make a VM and do not start it",
    .options = options,
    .operands = operands,
    .description = "Makes a VM with its disk overlay over the image and prints its name. "
                   "ramet-start(1) starts it.",
    .examples = "ramet create --name web1 --memory 512M debian\nramet start web1",
    .flags = VERB_JSON,
    .run = create_run,
};
