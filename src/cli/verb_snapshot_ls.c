/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/list.h"
#include "cli/output.h"
#include "cli/verb_rows.h"

static char *short_id(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    return text ? str_format("%.12s", text) : str_copy("-");
}

static void add_row(Table *table, const json_t *snapshot) {
    const json_t *memory = json_object_get(snapshot, "memory");
    _cleanup_free_ char *id = short_id(snapshot, "id");
    _cleanup_free_ char *name = output_member(snapshot, "name");
    _cleanup_free_ char *vm = output_member(snapshot, "vm");
    _cleanup_free_ char *kind = output_member(memory, "kind");
    _cleanup_free_ char *size = output_member_size(memory, "allocated_bytes");
    _cleanup_free_ char *disk =
        output_member_size(json_object_get(snapshot, "disk"), "allocated_bytes");
    _cleanup_free_ char *parent = short_id(snapshot, "parent");
    _cleanup_free_ char *vms = str_format("%zu", json_array_size(json_object_get(snapshot, "vms")));
    _cleanup_free_ char *age = output_member_age(snapshot, "created_at");
    table_add(table, (const char *[]){name, id, vm, kind, size, disk, vms, parent, age});
}

static int snapshot_ls_run(const Args *args, Error *error) {
    static const char *const columns[] = {"NAME",  "ID",   "OF VM",  "KIND",    ">MEMORY",
                                          ">DISK", ">VMS", "PARENT", "CREATED", NULL};
    if (args_flag(args, "quiet") && !args->json)
        return list_print_member(API_SNAPSHOT_LIST, args_flag(args, "all") ? "all=1" : NULL, "id",
                                 error);
    return list_print(args, API_SNAPSHOT_LIST, args_flag(args, "all") ? "all=1" : NULL, columns,
                      add_row, error);
}

static const VerbOption options[] = {
    LIST_QUIET("only the ids"),
    {'a', "all", ARG_FLAG, .help = "also those that belong to standby and to the boot cache"},
    {.name = NULL},
};

const Verb verb_snapshot_ls = {
    .name = "snapshot ls",
    .aliases = "snapshots|snapshot list",
    .summary = "list snapshots",
    .options = options,
    .description = "Lists the snapshots: name, id, the VM that each was taken of, whether its "
                   "memory is whole (full) or the difference to another's (diff), the room that "
                   "its memory and its layer of the disk take, and how many VMs grow from it.",
    .examples = "ramet snapshot ls",
    .flags = VERB_JSON | VERB_FORMAT,
    .run = snapshot_ls_run,
};
