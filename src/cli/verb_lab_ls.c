/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/list.h"
#include "cli/output.h"
#include "cli/verb_rows.h"

/* "3/3": those that are ready, of all. */
static char *count_vms(const json_t *lab) {
    const json_t *vms = json_object_get(lab, "vms"), *vm;
    size_t ready = 0, i;
    json_array_foreach(vms, i, vm) ready += json_is_true(json_object_get(vm, "ready"));
    return str_format("%zu/%zu", ready, json_array_size(vms));
}

static void add_row(Table *table, const json_t *lab) {
    const json_t *networks = json_object_get(lab, "networks");
    _cleanup_free_ char *name = output_member(lab, "name");
    _cleanup_free_ char *state = output_member(lab, "state");
    _cleanup_free_ char *vms = count_vms(lab);
    _cleanup_free_ char *count = str_format("%zu", json_array_size(networks));
    _cleanup_free_ char *age = output_member_age(lab, "created_at");
    table_add(table, (const char *[]){name, state, vms, count, age});
}

static int lab_ls_run(const Args *args, Error *error) {
    static const char *const columns[] = {"NAME", "STATE", ">READY", ">NETWORKS", "CREATED", NULL};
    return list_print(args, API_LAB_LIST, NULL, columns, add_row, error);
}

const Verb verb_lab_ls = {
    .name = "lab ls",
    .aliases = "labs|lab list",
    .summary = "list labs",
    .description = "Lists the labs, and how many of the VMs of each run and answer.",
    .examples = "ramet lab ls",
    .flags = VERB_JSON | VERB_FORMAT,
    .run = lab_ls_run,
};
