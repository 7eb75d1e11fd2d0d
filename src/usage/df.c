/* SPDX-License-Identifier: Apache-2.0 */

#include "usage/df.h"

#include <sys/statvfs.h>

#include "base/clock.h"
#include "base/str.h"
#include "home/inside.h"
#include "usage/usage.h"
#include "usage/usage_collect.h"

typedef struct Sum {
    uint64_t count, used, bytes, shared_bytes, reclaimable_bytes;
} Sum;

static void add_item(Sum *sum, const UsageItem *item) {
    bool busy = item->kind == USAGE_SCRATCH && item->held;
    sum->count++;
    sum->used += item->n_users > 0 || item->kind == USAGE_VM || busy;
    sum->bytes += item->bytes;
    sum->shared_bytes += item->n_users > 1 ? item->bytes : 0;
    sum->reclaimable_bytes += item->goes ? item->bytes : 0;
}

static json_t *sum_to_json(const char *kind, const Sum *sum) {
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I}", "kind", kind, "count",
                     (json_int_t)sum->count, "used", (json_int_t)sum->used, "bytes",
                     (json_int_t)sum->bytes, "shared_bytes", (json_int_t)sum->shared_bytes,
                     "reclaimable_bytes", (json_int_t)sum->reclaimable_bytes);
}

static json_t *item_to_json(const UsageItem *item) {
    _cleanup_free_ char *at = item->at_usec ? clock_format_realtime(item->at_usec) : NULL;
    const char *why = item->goes ? NULL : item->why ? item->why : "something stands on it";
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:b, s:o, s:o}", "kind",
                     usage_kind_name(item->kind), "id", item->id, "name", item->label, "bytes",
                     (json_int_t)item->bytes, "users", (json_int_t)item->n_users, "reclaimable",
                     item->goes, "why", why ? json_string(why) : json_null(), "created_at",
                     at ? json_string(at) : json_null());
}

static json_t *list_kinds(const Usage *usage, Sum *disk, Sum *memory) {
    json_t *list = json_array();
    for (UsageKind kind = 0; kind < USAGE_KIND_COUNT; kind++) {
        Sum *all = kind == USAGE_HOT ? memory : disk, sum = {0};
        for (size_t i = 0; i < usage->count; i++)
            if (usage->items[i].kind == kind)
                add_item(&sum, &usage->items[i]);
        all->bytes += sum.bytes;
        all->reclaimable_bytes += sum.reclaimable_bytes;
        (void)json_array_append_new(list, sum_to_json(usage_kind_name(kind), &sum));
    }
    return list;
}

static json_t *list_items(const Usage *usage) {
    json_t *list = json_array();
    for (size_t i = 0; i < usage->count; i++)
        (void)json_array_append_new(list, item_to_json(&usage->items[i]));
    return list;
}

static uint64_t free_bytes(const Home *home) {
    struct statvfs info;
    return statvfs(home->path, &info) < 0 ? 0 : (uint64_t)info.f_bavail * info.f_frsize;
}

int home_df(Home *home, bool items, json_t **usage, Error *error) {
    _cleanup_usage_ Usage all = {0};
    Sum disk = {0}, memory = {0};
    json_t *kinds;
    int r = usage_collect(home, &all, error);
    if (r < 0)
        return r;
    usage_plan(&all, &(UsagePlan){.all = true});
    kinds = list_kinds(&all, &disk, &memory);
    *usage = json_pack("{s:o, s:I, s:I, s:I, s:I, s:I}", "kinds", kinds, "disk_bytes",
                       (json_int_t)disk.bytes, "memory_bytes", (json_int_t)memory.bytes,
                       "reclaimable_bytes", (json_int_t)disk.reclaimable_bytes,
                       "reclaimable_memory_bytes", (json_int_t)memory.reclaimable_bytes,
                       "free_bytes", (json_int_t)free_bytes(home));
    (void)json_object_set_new(*usage, "items", items ? list_items(&all) : json_null());
    return 0;
}
