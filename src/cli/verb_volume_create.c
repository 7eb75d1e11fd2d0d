/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cli/client.h"
#include "cli/image_args.h"
#include "cli/output.h"
#include "cli/verb_rows.h"

/* What is no file here, and could be none, is a seed. */
static int add_source(const char *from, json_t *request, Error *error) {
    _cleanup_free_ char *path = NULL;
    int r;
    if (!strchr(from, '/') && access(from, F_OK) < 0) {
        json_object_set_new(request, "seed", json_string(from));
        return 0;
    }
    r = image_args_path(from, &path, error);
    if (r >= 0)
        json_object_set_new(request, "from", json_string(path));
    return r;
}

static int volume_create_run(const Args *args, Error *error) {
    _cleanup_json_ json_t *request = json_pack("{s:s}", "name", args->operands[0]), *volume = NULL;
    const char *from = args_text(args, "from");
    int r = from ? add_source(from, request, error) : 0;
    if (!from && !args_given(args, "size"))
        return error_set(error, ERROR_USAGE, EINVAL,
                         "volume create: --size is needed, or --from what has one");
    if (r < 0)
        return r;
    if (args_given(args, "size"))
        json_object_set_new(request, "size",
                            json_integer((json_int_t)args_number(args, "size", 0)));
    r = client_call(API_VOLUME_CREATE, NULL, NULL, request, &volume, error);
    return r < 0 ? r : output_json_or_line(args, volume, args->operands[0], error);
}

static const VerbOption options[] = {
    {0, "size", ARG_SIZE, .min = MIB, .max = API_DISK_MAX, .help = "its size"},
    {0, "from", ARG_FILE, "SEED|FILE",
     .help = "a seed, or a raw, qcow2, VMDK or VHDX file, whose content it gets"},
    {.name = NULL},
};
static const VerbOperand operands[] = {
    {"NAME", ARG_NAME, "name of the volume", 1, 1},
    {.name = NULL},
};

const Verb verb_volume_create = {
    .name = "volume create",
    .aliases = "volume add",
    .summary = "make a volume, a disk that outlives VMs",
    .options = options,
    .operands = operands,
    .description = "Makes a volume: an empty ext4 of that size, which takes no room yet, or a copy "
                   "of a seed or "
                   "of a file. run --volume NAME:PATH mounts it. One VM writes to it at a time, or "
                   "several read "
                   "it with NAME:PATH:ro; a file system that is smaller than the volume grows when "
                   "a VM that may "
                   "write mounts it.",
    .examples = "ramet volume create data --size 10G\n"
                "ramet run -d --volume data:/srv/data busybox",
    .flags = VERB_JSON,
    .run = volume_create_run,
};
