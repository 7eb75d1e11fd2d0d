/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/list.h"
#include "cli/output.h"
#include "cli/verb_rows.h"

static char *count_of(const json_t *snapshot, const char *key) {
    return str_format("%zu", json_array_size(json_object_get(snapshot, key)));
}

static char *milliseconds(const json_t *snapshot, const char *key) {
    json_int_t usec = json_integer_value(json_object_get(snapshot, key));
    return str_format("%.1f ms", (double)usec / 1000);
}

static void add_row(Table *table, const json_t *snapshot) {
    _cleanup_free_ char *name = output_member(snapshot, "name");
    _cleanup_free_ char *lab = output_member(snapshot, "lab");
    _cleanup_free_ char *vms = count_of(snapshot, "vms");
    _cleanup_free_ char *spread = milliseconds(snapshot, "spread_us");
    _cleanup_free_ char *copies = count_of(snapshot, "copies");
    _cleanup_free_ char *age = output_member_age(snapshot, "created_at");
    table_add(table, (const char *[]){name, lab, vms, spread, copies, age});
}

static int lab_snapshot_ls_run(const Args *args, Error *error) {
    static const char *const columns[] = {"NAME",    "OF LAB",  ">VMS", ">SPREAD",
                                          ">COPIES", "CREATED", NULL};
    return list_print(args, API_LAB_SNAPSHOT_LIST, NULL, columns, add_row, error);
}

const Verb verb_lab_snapshot_ls = {
    .name = "lab snapshot-ls",
    .aliases = "lab snapshots",
    .summary = "list labs' snapshots (or: lab snapshot ls)",
    .description = "Lists the snapshots of labs: how many VMs each has, how long it took from the "
                   "first of them that stood still to the last, and how many labs grow from it.",
    .examples = "ramet lab snapshot ls",
    .flags = VERB_JSON | VERB_FORMAT,
    .run = lab_snapshot_ls_run,
};
