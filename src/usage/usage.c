/* SPDX-License-Identifier: Apache-2.0 */

/* The graph, and the choice of what goes. Nothing here knows of files or rows.
 *
 * One thing goes at a time: the oldest of those that may go and that nothing stands on which stays.
 * What it stood on may be free then, so it is looked again. For a budget all that could go is added
 * up first, whatever its age; it is gone on until what is left of that fits. */

#include "usage/usage.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"

const char *usage_kind_name(UsageKind kind) {
    static const char *const NAMES[] = {
        [USAGE_IMAGE] = "images",     [USAGE_LAYER] = "layers",
        [USAGE_VM] = "VM disks",      [USAGE_SNAPSHOT] = "snapshots",
        [USAGE_CACHE] = "boot cache", [USAGE_STEP] = "recipe steps",
        [USAGE_KERNEL] = "kernels",   [USAGE_INITRAMFS] = "initramfs",
        [USAGE_HOT] = "hot memory",   [USAGE_FETCHED] = "fetched",
        [USAGE_SEED] = "seeds",       [USAGE_VOLUME] = "volumes",
        [USAGE_SCRATCH] = "scratch",
    };
    return NAMES[kind];
}

void usage_free(Usage *usage) {
    for (size_t i = 0; i < usage->count; i++)
        free(usage->items[i].users);
    free(usage->items);
    free(usage->order);
    *usage = (Usage){0};
}

static void *grow(void *array, size_t count, size_t size) {
    if ((count & (count - 1)) == 0) /* full at each power of two */
        array = reallocarray(array, count ? count * 2 : 1, size);
    if (!array)
        abort();
    return array;
}

UsageItem *usage_add(Usage *usage, UsageKind kind, const char *id, const char *label) {
    UsageItem *item;
    usage->items = grow(usage->items, usage->count, sizeof(*usage->items));
    item = &usage->items[usage->count++];
    *item = (UsageItem){.kind = kind};
    str_set(item->id, id);
    str_set(item->label, label);
    return item;
}

size_t usage_find(const Usage *usage, UsageKind kind, const char *id) {
    for (size_t i = 0; i < usage->count; i++)
        if (usage->items[i].kind == kind && str_equal(usage->items[i].id, id))
            return i;
    return SIZE_MAX;
}

void usage_need(Usage *usage, size_t user, UsageKind kind, const char *id) {
    size_t index = *id ? usage_find(usage, kind, id) : SIZE_MAX;
    UsageItem *item;
    if (index == SIZE_MAX || index == user)
        return;
    item = &usage->items[index];
    for (size_t i = 0; i < item->n_users; i++)
        if (item->users[i] == user)
            return;
    item->users = grow(item->users, item->n_users, sizeof(*item->users));
    item->users[item->n_users++] = user;
}

/* ---- what may go ---- */

/* NULL: it may, once nothing stands on it. Layers go with the last one that stands on them. */
static const char *find_reason(const UsageItem *item, const UsagePlan *plan) {
    if (item->held)
        return item->held;
    switch (item->kind) {
    case USAGE_VM:
    case USAGE_VOLUME:
        return "it is not pruned";
    case USAGE_LAYER:
        return NULL;
    default:
        break;
    }
    if (item->named && !plan->all && !(item->can_be_made && (plan->by_age || plan->by_budget)))
        return "it has a name";
    return plan->by_age && item->at_usec >= plan->before_usec && item->kind != USAGE_SCRATCH
               ? "it is not old enough"
               : NULL;
}

static bool is_free(const Usage *usage, const UsageItem *item) {
    for (size_t i = 0; i < item->n_users; i++)
        if (!usage->items[item->users[i]].goes)
            return false;
    return true;
}

static UsageItem *find_next(const Usage *usage) {
    UsageItem *next = NULL;
    for (size_t i = 0; i < usage->count; i++) {
        UsageItem *item = &usage->items[i];
        if (!item->goes && !item->why && is_free(usage, item) &&
            (!next || item->kind == USAGE_LAYER || item->at_usec < next->at_usec))
            next = item;
        if (next && next->kind == USAGE_LAYER)
            break;
    }
    return next;
}

static void forget(Usage *usage) {
    usage->n_order = 0;
    for (size_t i = 0; i < usage->count; i++)
        usage->items[i].goes = false;
}

/* Until what has gone takes `enough` bytes. Returns what has. */
static uint64_t choose(Usage *usage, const UsagePlan *plan, uint64_t enough) {
    uint64_t sum = 0;
    UsageItem *item;
    forget(usage);
    for (size_t i = 0; i < usage->count; i++)
        usage->items[i].why = find_reason(&usage->items[i], plan);
    while ((item = find_next(usage)) && (sum < enough || item->kind == USAGE_LAYER)) {
        item->goes = true;
        sum += item->bytes;
        usage->order = grow(usage->order, usage->n_order, sizeof(*usage->order));
        usage->order[usage->n_order++] = (size_t)(item - usage->items);
    }
    return sum;
}

void usage_plan(Usage *usage, const UsagePlan *plan) {
    UsagePlan ageless = *plan;
    uint64_t sum, enough = UINT64_MAX;
    ageless.by_age = false;
    ageless.by_budget = true;
    if (plan->by_budget) {
        sum = choose(usage, &ageless, UINT64_MAX);
        enough = sum > plan->keep_bytes ? sum - plan->keep_bytes : 0;
    }
    (void)choose(usage, plan, enough);
    for (size_t i = 0; i < usage->count; i++)
        if (!usage->items[i].goes && !usage->items[i].why && is_free(usage, &usage->items[i]))
            usage->items[i].why = "it is within the size to keep";
}
