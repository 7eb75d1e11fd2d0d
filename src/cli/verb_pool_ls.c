/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/list.h"
#include "cli/output.h"
#include "cli/verb_rows.h"

static void add_row(Table *table, const json_t *pool) {
    const char *message =
        json_string_value(json_object_get(json_object_get(pool, "error"), "message"));
    _cleanup_free_ char *source = output_member(pool, "source");
    _cleanup_free_ char *kind = output_member(pool, "kind");
    _cleanup_free_ char *warm = output_member(pool, "warm");
    _cleanup_free_ char *wanted = output_member(pool, "wanted");
    _cleanup_free_ char *memory = output_member_size(pool, "memory_bytes");
    _cleanup_free_ char *age = output_member_age(pool, "created_at");
    table_add(table,
              (const char *[]){source, kind, warm, wanted, memory, age, message ? message : ""});
}

static int pool_ls_run(const Args *args, Error *error) {
    static const char *const columns[] = {"SOURCE",  "KIND",    ">WARM",   ">WANTED",
                                          ">MEMORY", "CREATED", "TROUBLE", NULL};
    return list_print(args, API_POOL_LIST, NULL, columns, add_row, error);
}

const Verb verb_pool_ls = {
    .name = "pool ls",
    .aliases = "pools|pool list",
    .summary = "list pools of warm clones",
    .description = "Lists the pools: the snapshot, the lab's snapshot or the image that the clones "
                   "grow from, how many of them (of a lab, whole copies) are warm and how many are "
                   "wanted, and the memory that they hold. TROUBLE says why the last clone could "
                   "not be made.",
    .examples = "ramet pool ls",
    .flags = VERB_JSON | VERB_FORMAT,
    .run = pool_ls_run,
};
