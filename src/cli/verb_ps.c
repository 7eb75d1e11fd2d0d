/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"
#include "cli/list.h"
#include "cli/output.h"
#include "cli/verbs.h"

static void add_row(Table *table, const json_t *vm) {
    _cleanup_free_ char *id = output_member(vm, "id"), *name = output_member(vm, "name");
    _cleanup_free_ char *image = output_member(vm, "image"), *state = output_member(vm, "state");
    _cleanup_free_ char *boot = output_member(vm, "boot"), *ip = output_member(vm, "ip");
    _cleanup_free_ char *memory = output_member_size(vm, "memory_bytes");
    _cleanup_free_ char *cpus = output_member(vm, "cpus");
    _cleanup_free_ char *age = output_member_age(vm, "created_at");
    _cleanup_free_ char *short_id = str_format("%.12s", id);

    table_add(table, (const char *[]){short_id, name, image, state, boot, memory, cpus, ip, age});
}

static int print_ids(const char *query, Error *error) {
    _cleanup_json_ json_t *vms = NULL;
    const json_t *vm;
    size_t i;
    int r = client_call(API_VM_LIST, NULL, query, NULL, &vms, error);

    if (r < 0)
        return r;
    json_array_foreach(vms, i, vm) {
        _cleanup_free_ char *id = output_member(vm, "id");

        (void)puts(id);
    }
    return output_flush(error);
}

static int ps_run(const Args *args, Error *error) {
    static const char *const columns[] = {"ID",      "NAME",  "IMAGE", "STATE",   "BOOT",
                                          ">MEMORY", ">CPUS", "IP",    "CREATED", NULL};
    const char *query = args_flag(args, "all") ? "all=1" : NULL;

    if (args_flag(args, "quiet") && !args->json)
        return print_ids(query, error);
    return list_print(args, API_VM_LIST, query, columns, add_row, error);
}

static const VerbOption options[] = {
    {'a', "all", ARG_FLAG, .help = "also those that do not run"},
    {'q', "quiet", ARG_FLAG, .help = "only the ids"},
    {.name = NULL},
};

const Verb verb_ps = {
    .name = "ps",
    .summary = "list VMs",
    .options = options,
    .description = "Lists the VMs that run, or with --all every one.",
    .examples = "ramet ps -a\nramet rm -f $(ramet ps -aq)",
    .flags = VERB_JSON,
    .run = ps_run,
};
