/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"
#include "cli/output.h"
#include "cli/table.h"
#include "cli/verb_rows.h"

static void add_kind(Table *table, const json_t *kind) {
    _cleanup_free_ char *name = output_member(kind, "kind");
    _cleanup_free_ char *count = output_member(kind, "count");
    _cleanup_free_ char *used = output_member(kind, "used");
    _cleanup_free_ char *bytes = output_member_size(kind, "bytes");
    _cleanup_free_ char *shared = output_member_size(kind, "shared_bytes");
    _cleanup_free_ char *reclaimable = output_member_size(kind, "reclaimable_bytes");
    table_add(table, (const char *[]){name, count, used, bytes, shared, reclaimable});
}

static void print_kinds(const json_t *usage) {
    static const char *const columns[] = {"WHAT",    ">COUNT",       ">IN USE", ">ON DISK",
                                          ">SHARED", ">RECLAIMABLE", NULL};
    Table *table = table_new(stdout, columns);
    const json_t *kind;
    size_t i;
    json_array_foreach(json_object_get(usage, "kinds"), i, kind) add_kind(table, kind);
    table_print(table);
    table_free(table);
}

static void add_item(Table *table, const json_t *item) {
    _cleanup_free_ char *kind = output_member(item, "kind");
    _cleanup_free_ char *name = output_member(item, "name");
    _cleanup_free_ char *bytes = output_member_size(item, "bytes");
    _cleanup_free_ char *users = output_member(item, "users");
    _cleanup_free_ char *age = output_member_age(item, "created_at");
    _cleanup_free_ char *why = output_member(item, "why");
    table_add(table, (const char *[]){kind, name, bytes, users, age, why});
}

static void print_items(const json_t *usage) {
    static const char *const columns[] = {"WHAT", "NAME",   ">ON DISK", ">USERS",
                                          "AGE",  "~STAYS", NULL};
    Table *table = table_new(stdout, columns);
    const json_t *item;
    size_t i;
    json_array_foreach(json_object_get(usage, "items"), i, item) add_item(table, item);
    table_print(table);
    table_free(table);
}

static int df_run(const Args *args, Error *error) {
    bool items = args_flag(args, "verbose");
    _cleanup_json_ json_t *usage = NULL;
    _cleanup_free_ char *all = NULL, *memory = NULL, *left = NULL, *line = NULL;
    int r = client_call(API_DF, NULL, items || args->json ? "items=1" : NULL, NULL, &usage, error);
    if (r < 0)
        return r;
    if (args->json)
        return output_json(usage, error);
    if (items)
        print_items(usage);
    else
        print_kinds(usage);
    all = output_member_size(usage, "disk_bytes");
    memory = output_member_size(usage, "memory_bytes");
    left = output_member_size(usage, "free_bytes");
    line = str_format("%s on the disk, of which %s are left, and %s of memory", all, left, memory);
    return output_line(line, error);
}

static const VerbOption options[] = {
    {'v', "verbose", ARG_FLAG, .help = "each thing by itself, and why it stays"},
    {.name = NULL},
};

const Verb verb_df = {
    .name = "df",
    .summary = "show what takes room",
    .options = options,
    .description =
        "Shows what takes room: how many there are of each kind, on how many of them something "
        "stands, what they take on the disk (hot memory: of RAM), how much of that several "
        "share, and how much ramet prune --all would free. Overlays are counted with their VM, "
        "and what they stand on once, however many do.",
    .examples = "ramet df\n"
                "ramet df -v\n"
                "ramet df --json",
    .flags = VERB_JSON,
    .run = df_run,
};
