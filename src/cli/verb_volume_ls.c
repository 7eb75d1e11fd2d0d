/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/list.h"
#include "cli/output.h"
#include "cli/verb_rows.h"

static char *users_of(const json_t *volume) {
    const json_t *user;
    StrBuf text = {0};
    size_t i;
    json_array_foreach(json_object_get(volume, "users"), i, user) {
        strbuf_add_format(&text, "%s%s%s", i ? ", " : "",
                          json_string_value(json_object_get(user, "name")),
                          json_is_true(json_object_get(user, "read_only")) ? " (ro)" : "");
    }
    return text.size ? strbuf_steal(&text) : str_copy("-");
}

static void add_row(Table *table, const json_t *volume) {
    _cleanup_free_ char *name = output_member(volume, "name");
    _cleanup_free_ char *size = output_member_size(volume, "virtual_bytes");
    _cleanup_free_ char *taken = output_member_size(volume, "allocated_bytes");
    _cleanup_free_ char *users = users_of(volume);
    _cleanup_free_ char *age = output_member_age(volume, "created_at");
    table_add(table, (const char *[]){name, size, taken, users, age});
}

static int volume_ls_run(const Args *args, Error *error) {
    static const char *const columns[] = {"NAME", ">SIZE", ">TAKEN", "USERS", "CREATED", NULL};
    if (args_flag(args, "quiet"))
        return list_print_member(API_VOLUME_LIST, NULL, "name", error);
    return list_print(args, API_VOLUME_LIST, NULL, columns, add_row, error);
}

static const VerbOption options[] = {LIST_QUIET("names only"), {.name = NULL}};

const Verb verb_volume_ls = {
    .name = "volume ls",
    .aliases = "volumes|volume list",
    .summary = "list volumes",
    .options = options,
    .description = "Lists volumes, what room they take, and the VMs and snapshots that have them.",
    .examples = "ramet volume ls",
    .flags = VERB_JSON | VERB_FORMAT,
    .run = volume_ls_run,
};
