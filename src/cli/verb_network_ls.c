/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/list.h"
#include "cli/output.h"
#include "cli/verb_rows.h"

static const char *kind_of(const json_t *network) {
    bool uplink = json_is_true(json_object_get(network, "uplink"));
    if (json_is_true(json_object_get(network, "isolated")))
        return uplink ? "isolated" : "isolated, no uplink";
    return uplink ? "open" : "no uplink";
}

static void add_row(Table *table, const json_t *network) {
    _cleanup_free_ char *name = output_member(network, "name");
    _cleanup_free_ char *backend = output_member(network, "backend");
    _cleanup_free_ char *subnet = output_member(network, "subnet");
    _cleanup_free_ char *vms = str_format("%zu", json_array_size(json_object_get(network, "vms")));
    _cleanup_free_ char *age = output_member_age(network, "created_at");
    table_add(table, (const char *[]){name, backend, subnet, kind_of(network), vms, age});
}

static int network_ls_run(const Args *args, Error *error) {
    static const char *const columns[] = {"NAME", "BACKEND", "SUBNET", "KIND",
                                          ">VMS", "CREATED", NULL};
    return list_print(args, API_NETWORK_LIST, NULL, columns, add_row, error);
}

const Verb verb_network_ls = {
    .name = "network ls",
    .aliases = "networks|network list",
    .summary = "list networks",
    .description = "Lists the networks that were made. `user`, in which a VM is alone, and `none` "
                   "are always there, and are not listed.",
    .examples = "ramet network ls",
    .flags = VERB_JSON | VERB_FORMAT,
    .run = network_ls_run,
};
