/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"
#include "cli/output.h"
#include "cli/table.h"
#include "cli/verbs.h"

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
    _cleanup_json_ json_t *pools = NULL;
    _cleanup_(table_free_p) Table *table = NULL;
    const json_t *pool;
    size_t i;
    int r = client_call(API_POOL_LIST, NULL, NULL, NULL, &pools, error);

    if (r < 0)
        return r;
    if (args->json)
        return output_json(pools, error);
    table = table_new(stdout, (const char *[]){"SOURCE", "KIND", ">WARM", ">WANTED", ">MEMORY",
                                               "CREATED", "TROUBLE", NULL});
    json_array_foreach(pools, i, pool) add_row(table, pool);
    table_print(table);
    return output_flush(error);
}

const Verb verb_pool_ls = {
    .name = "pool ls",
    .summary = "list pools of warm clones",
    .description = "Lists the pools: the snapshot or image that the clones grow from, how many of "
                   "them are warm and how many are wanted, and the memory that they hold. TROUBLE "
                   "says why the last clone could not be made.",
    .examples = "ramet pool ls",
    .flags = VERB_JSON,
    .run = pool_ls_run,
};
