/* SPDX-License-Identifier: Apache-2.0 */
#include "image/modules.h"

#include "crafted.h"

static const char dep[] =
    "kernel/virtio_ring.ko:\n"
    "kernel/virtio.ko: kernel/virtio_ring.ko\n"
    "kernel/drivers/virtio-blk.ko.xz: kernel/virtio.ko kernel/virtio_ring.ko\n"
    "kernel/net/virtio_net.ko: kernel/net/net_failover.ko kernel/net/failover.ko kernel/virtio.ko\n"
    "kernel/net/net_failover.ko: kernel/net/failover.ko\n"
    "kernel/net/failover.ko:\n";
static const char builtin[] = "kernel/fs/ext4/ext4.ko\nkernel/lib/crc16.ko\n";

static char *closure(const char *table, const ModuleWanted *wanted, size_t n, Error *error) {
    _cleanup_(strlist_free) StrList order = {0};
    if (modules_closure(table, strlen(table), builtin, strlen(builtin), wanted, n, &order, error) <
        0) {
        CHECK_INT(order.count, 0);
        return NULL;
    }
    StrBuf text = {0};
    for (size_t i = 0; i < order.count; i++)
        strbuf_add_format(&text, "%s ", order.items[i]);
    return strbuf_steal(&text);
}

static void test_order(void) {
    const ModuleWanted wanted[] = {{"virtio_blk", false},
                                   {"ext4", false},
                                   {"virtio-net", false},
                                   {"virtio_pci", true},
                                   {"virtio_blk", false}};
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_free_ char *order = closure(dep, wanted, ARRAY_SIZE(wanted), &error);
    CHECK_STR(order, "kernel/virtio_ring.ko kernel/virtio.ko kernel/drivers/virtio-blk.ko.xz "
                     "kernel/net/failover.ko kernel/net/net_failover.ko kernel/net/virtio_net.ko ");
}

static void test_missing(void) {
    const ModuleWanted wanted[] = {{"virtio_console", false}};
    _cleanup_error_ Error error = ERROR_INIT;
    CHECK(!closure(dep, wanted, 1, &error));
    CHECK_INT(error.kind, ERROR_NOT_FOUND);
    CHECK_CONTAINS(error_message(&error), "virtio_console");
}

static void check_damaged(const char *table, const char *part) {
    const ModuleWanted wanted[] = {{"a", false}};
    _cleanup_error_ Error error = ERROR_INIT;
    CHECK(!closure(table, wanted, 1, &error));
    CHECK_INT(error.kind, ERROR_CORRUPT);
    CHECK_CONTAINS(error_message(&error), part);
}

static void test_damaged(void) {
    check_damaged("k/a.ko: k/b.ko\nk/b.ko: k/a.ko\n", "need each other");
    check_damaged("k/a.ko: k/a.ko\n", "need each other");
    check_damaged("k/a.ko: k/gone.ko\n", "no line of its own");
    check_damaged("k/a.ko\n", "without a colon");
    check_damaged("../a.ko:\n", "not the path");
    check_damaged("/etc/a.ko:\n", "not the path");
    check_damaged("k/a.txt:\n", "not the path");
}

static void test_deep_chain(void) {
    _cleanup_(strbuf_free) StrBuf text = {0};
    strbuf_add_text(&text, "k/a.ko: k/m0.ko\n");
    for (int i = 0; i < 100000; i++)
        strbuf_add_format(&text, "k/m%d.ko: k/m%d.ko\n", i, i + 1);
    check_damaged(text.data, "need each other");
}

static void test_nul_and_nothing(void) {
    _cleanup_(strlist_free) StrList order = {0};
    const ModuleWanted wanted[] = {{"a", true}};
    CHECK(modules_closure("k/a.ko:\0\n", 9, NULL, 0, wanted, 1, &order, NULL) < 0);
    CHECK_INT(modules_closure(NULL, 0, NULL, 0, wanted, 1, &order, NULL), 0);
    CHECK_INT(order.count, 0);
}

static void test_names(void) {
    char name[16];
    CHECK_INT(module_name_of_path("kernel/net/virtio-net.ko.xz", name, sizeof(name)), 0);
    CHECK_STR(name, "virtio_net");
    CHECK(module_name_of_path("kernel/net/.ko", name, sizeof(name)) < 0);
    CHECK(module_name_of_path("kernel/net/a.kool", name, sizeof(name)) < 0);
    CHECK(module_name_of_path("kernel/net/a_name_that_is_too_long.ko", name, sizeof(name)) < 0);
}

int main(void) {
    RUN(test_order);
    RUN(test_missing);
    RUN(test_damaged);
    RUN(test_deep_chain);
    RUN(test_nul_and_nothing);
    RUN(test_names);
    return 0;
}
