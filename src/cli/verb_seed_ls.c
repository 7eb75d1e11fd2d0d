/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/list.h"
#include "cli/output.h"
#include "cli/verb_rows.h"

static void add_row(Table *table, const json_t *seed) {
    _cleanup_free_ char *name = output_member(seed, "name");
    _cleanup_free_ char *digest = output_member_digest(seed, "digest");
    _cleanup_free_ char *size = output_member_size(seed, "virtual_bytes");
    _cleanup_free_ char *content = output_member_size(seed, "content_bytes");
    _cleanup_free_ char *users = str_format("%zu", json_array_size(json_object_get(seed, "users")));
    _cleanup_free_ char *age = output_member_age(seed, "created_at");
    table_add(table, (const char *[]){name, digest, content, size, users, age});
}

static int seed_ls_run(const Args *args, Error *error) {
    static const char *const columns[] = {"NAME",   "DIGEST",  ">CONTENT", ">SIZE",
                                          ">USERS", "CREATED", NULL};
    if (args_flag(args, "quiet"))
        return list_print_member(API_SEED_LIST, NULL, "name", error);
    return list_print(args, API_SEED_LIST, NULL, columns, add_row, error);
}

static const VerbOption options[] = {LIST_QUIET("names only"), {.name = NULL}};

const Verb verb_seed_ls = {
    .name = "seed ls",
    .aliases = "seeds|seed list",
    .summary = "list seeds",
    .options = options,
    .description = "Lists seeds with the size of their content and of their disk, and how many VMs "
                   "and snapshots have each. Those that images bring have no name, and are shown "
                   "by image inspect.",
    .examples = "ramet seed ls",
    .flags = VERB_JSON | VERB_FORMAT,
    .run = seed_ls_run,
};
