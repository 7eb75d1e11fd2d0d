/* SPDX-License-Identifier: Apache-2.0 */
/* What goes, and in which order: never what something that stays stands on. */

#include "base/str.h"
#include "check.h"
#include "usage/usage.h"

/* An image, a snapshot over it, its child, and a layer below each. */
static void fill(Usage *usage, bool with_vm) {
    UsageItem *item = usage_add(usage, USAGE_IMAGE, "tree1:a", "base");
    item->bytes = 1000;
    item->at_usec = 10;
    item->named = item->can_be_made = true;
    usage_add(usage, USAGE_LAYER, "l1", "l1")->bytes = 10;
    usage_add(usage, USAGE_LAYER, "l2", "l2")->bytes = 20;
    item = usage_add(usage, USAGE_SNAPSHOT, "s1", "s1");
    item->bytes = 100;
    item->at_usec = 20;
    item = usage_add(usage, USAGE_SNAPSHOT, "s2", "s2");
    item->bytes = 200;
    item->at_usec = 30;
    if (with_vm)
        usage_add(usage, USAGE_VM, "v", "v")->bytes = 5;
    usage_need(usage, usage_find(usage, USAGE_LAYER, "l2"), USAGE_LAYER, "l1");
    usage_need(usage, usage_find(usage, USAGE_SNAPSHOT, "s1"), USAGE_LAYER, "l1");
    usage_need(usage, usage_find(usage, USAGE_SNAPSHOT, "s2"), USAGE_LAYER, "l2");
    usage_need(usage, usage_find(usage, USAGE_SNAPSHOT, "s2"), USAGE_SNAPSHOT, "s1");
    usage_need(usage, usage_find(usage, USAGE_SNAPSHOT, "s1"), USAGE_IMAGE, "tree1:a");
    usage_need(usage, usage_find(usage, USAGE_SNAPSHOT, "s2"), USAGE_IMAGE, "tree1:a");
    if (with_vm)
        usage_need(usage, usage_find(usage, USAGE_VM, "v"), USAGE_SNAPSHOT, "s2");
}

/* "s2 l2 s1 l1": in the order in which they go. The caller owns it. */
static char *order_of(const Usage *usage) {
    StrBuf text = {0};
    for (size_t i = 0; i < usage->n_order; i++)
        strbuf_add_format(&text, "%s%s", i ? " " : "", usage->items[usage->order[i]].label);
    return text.size ? strbuf_steal(&text) : str_copy("");
}

static void check_plan(bool with_vm, const UsagePlan *plan, const char *expected) {
    _cleanup_usage_ Usage usage = {0};
    _cleanup_free_ char *order = NULL;
    fill(&usage, with_vm);
    usage_plan(&usage, plan);
    order = order_of(&usage);
    CHECK_STR(order, expected);
    for (size_t i = 0; i < usage.count; i++)
        for (size_t j = 0; usage.items[i].goes && j < usage.items[i].n_users; j++)
            CHECK(usage.items[usage.items[i].users[j]].goes);
}

static void test_everything(void) {
    check_plan(false, &(UsagePlan){0}, "s2 l2 s1 l1");
    check_plan(false, &(UsagePlan){.all = true}, "s2 l2 s1 l1 base");
    check_plan(true, &(UsagePlan){.all = true}, "");
}

static void test_age(void) {
    check_plan(false, &(UsagePlan){.by_age = true, .before_usec = 25}, "");
    check_plan(false, &(UsagePlan){.by_age = true, .before_usec = 31}, "s2 l2 s1 l1 base");
    check_plan(false, &(UsagePlan){.by_age = true, .before_usec = 5}, "");
}

/* All that nothing needs takes 1330. */
static void test_budget(void) {
    check_plan(false, &(UsagePlan){.by_budget = true, .keep_bytes = 1330}, "");
    check_plan(false, &(UsagePlan){.by_budget = true, .keep_bytes = 1329}, "s2 l2");
    check_plan(false, &(UsagePlan){.by_budget = true, .keep_bytes = 1100}, "s2 l2 s1 l1");
    check_plan(false, &(UsagePlan){.by_budget = true}, "s2 l2 s1 l1 base");
    check_plan(true, &(UsagePlan){.by_budget = true}, "");
    check_plan(false,
               &(UsagePlan){.by_budget = true, .by_age = true, .before_usec = 25, .keep_bytes = 0},
               "");
}

/* What is held stays whatever is asked for, and says why. */
static void test_held(void) {
    _cleanup_usage_ Usage usage = {0};
    size_t s2;
    fill(&usage, false);
    s2 = usage_find(&usage, USAGE_SNAPSHOT, "s2");
    usage.items[s2].held = "it has a pool";
    usage_plan(&usage, &(UsagePlan){.all = true, .by_budget = true});
    CHECK_INT(usage.n_order, 0);
    CHECK_STR(usage.items[s2].why, "it has a pool");
    usage.items[s2].held = NULL;
    usage.items[s2].named = true;
    usage_plan(&usage, &(UsagePlan){.by_budget = true});
    CHECK_INT(usage.n_order, 0);
    CHECK_STR(usage.items[s2].why, "it has a name");
}

int main(void) {
    RUN(test_everything);
    RUN(test_age);
    RUN(test_budget);
    RUN(test_held);
    return 0;
}
