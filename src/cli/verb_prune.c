/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "cli/client.h"
#include "cli/output.h"
#include "cli/verb_rows.h"

static void print_kept(const json_t *kept, bool dry_run) {
    static const char *const NAMES[] = {"image", "seed", "snapshot"};
    const json_t *one;
    size_t i;
    json_array_foreach(kept, i, one) {
        _cleanup_free_ char *what = output_member(one, "what"), *why = output_member(one, "why");
        const char *name = NULL;
        for (size_t k = 0; !name && k < ARRAY_SIZE(NAMES); k++)
            name = json_string_value(json_object_get(one, NAMES[k]));
        output_note("%s %s %s: %s", dry_run ? "would keep" : "kept", what, str_or_empty(name), why);
    }
}

static void print_removed(const json_t *removed) {
    const json_t *one;
    size_t i;
    json_array_foreach(removed, i, one) {
        _cleanup_free_ char *what = output_member(one, "what"), *name = output_member(one, "name");
        _cleanup_free_ char *size = output_member_size(one, "bytes");
        output_note("would remove %s %s, %s", what, name, size);
    }
}

/* A number of the report, or how many of that kind went. */
static long long count_of(const json_t *report, const char *key) {
    const json_t *value = json_object_get(report, key), *one;
    long long count = json_integer_value(value);
    size_t i;
    json_array_foreach(json_object_get(report, "removed"), i, one) count +=
        str_equal(json_string_value(json_object_get(one, "what")), key);
    return count;
}

/* "2 snapshots, 1 image, 3 layers": without what there is none of. */
static char *summary_of(const json_t *report) {
    static const char *const PARTS[][3] = {
        {"snapshot", "snapshot", "snapshots"},
        {"boot cache entry", "boot cache entry", "boot cache entries"},
        {"recipe step", "recipe step", "recipe steps"},
        {"image", "image", "images"},
        {"seed", "seed", "seeds"},
        {"layers", "layer", "layers"},
        {"hot_memory", "snapshot's hot memory", "snapshots' hot memory"},
        {"fetched", "fetched layer", "fetched layers"},
        {"boot_files", "kernel or initramfs", "kernels and initramfs"},
        {"scratch", "piece of scratch", "pieces of scratch"}};
    StrBuf text = {0};
    for (size_t i = 0; i < ARRAY_SIZE(PARTS); i++) {
        long long count = count_of(report, PARTS[i][0]);
        if (count > 0)
            strbuf_add_format(&text, "%s%lld %s", text.size ? ", " : "", count,
                              PARTS[i][count == 1 ? 1 : 2]);
    }
    return text.size ? strbuf_steal(&text) : str_copy("nothing");
}

static void print_details(const json_t *report, bool dry_run) {
    print_kept(json_object_get(report, "kept"), dry_run);
    if (dry_run)
        print_removed(json_object_get(report, "removed"));
}

/* Unlike other sizes this may be 0. */
static int read_budget(const Args *args, uint64_t *bytes) {
    const char *text = args_text(args, "keep-bytes");
    if (!str_equal(text, "0"))
        return parse_size(text, bytes);
    *bytes = 0;
    return 0;
}

static int prune_check(const Args *args, Error *error) {
    uint64_t bytes;
    if (!args_given(args, "keep-bytes") || read_budget(args, &bytes) == 0)
        return 0;
    return error_set(error, ERROR_USAGE, EINVAL, "--keep-bytes %s is no size",
                     args_text(args, "keep-bytes"));
}

static json_t *request_of(const Args *args) {
    json_t *request = json_object();
    uint64_t before, budget;
    if (args_flag(args, "all"))
        (void)json_object_set_new(request, "all", json_true());
    if (args_flag(args, "dry-run"))
        (void)json_object_set_new(request, "dry_run", json_true());
    if (args_time(args, "until", &before))
        (void)json_object_set_new(request, "before", json_integer((json_int_t)before));
    if (args_given(args, "keep-bytes") && read_budget(args, &budget) == 0)
        (void)json_object_set_new(request, "keep_bytes", json_integer((json_int_t)budget));
    return request;
}

static int prune_run(const Args *args, Error *error) {
    _cleanup_json_ json_t *request = request_of(args), *report = NULL;
    _cleanup_free_ char *freed = NULL, *memory = NULL, *summary = NULL, *line = NULL;
    bool dry_run = args_flag(args, "dry-run");
    int r = client_call(API_PRUNE, NULL, NULL, request, &report, error);
    if (r < 0)
        return r;
    if (!args->json)
        print_details(report, dry_run);
    freed = output_member_size(report, "freed_bytes");
    memory = output_member_size(report, "freed_memory_bytes");
    summary = summary_of(report);
    line = str_format("%s %s, %s of disk and %s of memory %s", summary,
                      dry_run ? "would be removed" : "removed", freed, memory,
                      dry_run ? "would be freed" : "freed");
    return output_json_or_line(args, report, line, error);
}

static const VerbOption options[] = {
    {'a', "all", ARG_FLAG, .help = "also what has a name, if nothing stands on it"},
    {0, "until", ARG_TIME, .value = "AGE", .help = "only what is older: 24h, or a time"},
    {0, "keep-bytes", ARG_TEXT, "SIZE",
     .help = "the oldest first, until what is left takes no more"},
    {'n', "dry-run", ARG_FLAG, .help = "only tell what would go"},
    {.name = NULL},
};

#define PRUNE_DESCRIPTION                                                                          \
    "Removes what nothing needs any more: snapshots without a name from which nothing grows, "     \
    "entries of the boot cache that no VM grows from, and kernels that were booted for it (the "   \
    "next run of such an image boots again, and with --until those stay that were forked since), " \
    "layers of disks on which nothing stands, hot memory that no VM maps, and scratch "            \
    "that nobody works on. With --until or --keep-bytes also images on which nothing stands, "     \
    "unless they were made by ramet commit, and the layers that registries gave; with --all "      \
    "those, too, and snapshots with a name. "                                                      \
    "What a VM, a snapshot, a lab or a pool grows from stays in any case; standard error says "    \
    "why."

const Verb verb_prune = {
    .name = "prune",
    .summary = "remove what nothing needs",
    .options = options,
    .description = PRUNE_DESCRIPTION,
    .examples = "ramet prune\n"
                "ramet prune --until 168h --keep-bytes 20G --dry-run",
    .flags = VERB_JSON,
    .check = prune_check,
    .run = prune_run,
};

const Verb verb_snapshot_prune = {
    .name = "snapshot prune",
    .summary = "remove snapshots that nothing needs",
    .options = options,
    .description = PRUNE_DESCRIPTION,
    .examples = "ramet snapshot prune",
    .flags = VERB_JSON,
    .check = prune_check,
    .run = prune_run,
};
