/* SPDX-License-Identifier: Apache-2.0 */
#include "disk/qcow2.h"
#include "disk/overlay.h"
#include "scratch.h"

static uint8_t good[65536];
static size_t good_size;

static void load_good(void) {
    OverlaySpec spec = {.virtual_bytes = 1 << 30, .backing_path = NULL};
    _cleanup_close_ int folder = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = -1;
    char base[PATH_MAX + 16];
    snprintf(base, sizeof(base), "%s/base", scratch_path);
    SHELL("head -c 1M /dev/zero >base");
    spec.backing_path = base;
    spec.backing_format = "raw";
    CHECK_INT(overlay_create_at(folder, "good.qcow2", &spec, NULL), 0);
    fd = open_read("good.qcow2");
    good_size = (size_t)fd_pread_full(fd, good, sizeof(good), 0);
}

static ErrorKind parse_changed(size_t offset, const void *bytes, size_t size) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_qcow2_info_ Qcow2Info info = {0};
    uint8_t *copy = malloc(good_size);
    ErrorKind kind;
    memcpy(copy, good, good_size);
    memcpy(copy + offset, bytes, size);
    kind = qcow2_parse_info(copy, good_size, &info, &error) < 0 ? error.kind : ERROR_NONE;
    free(copy);
    return kind;
}

static void test_hostile_fields(void) {
    CHECK_INT(parse_changed(0, "QFI\xfb", 4), ERROR_NONE);
    CHECK_INT(parse_changed(0, "XFI", 3), ERROR_CORRUPT);
    CHECK_INT(parse_changed(4, "\0\0\0\4", 4), ERROR_UNSUPPORTED);
    CHECK_INT(parse_changed(8, "\0\0\0\0\0\1\0\0", 8), ERROR_CORRUPT); /* name behind the cluster */
    CHECK_INT(parse_changed(8, "\xff\xff\xff\xff\xff\xff\xff\xff", 8), ERROR_CORRUPT);
    CHECK_INT(parse_changed(16, "\xff\xff\xff\xff", 4), ERROR_CORRUPT); /* name too long */
    CHECK_INT(parse_changed(20, "\0\0\0\x40", 4), ERROR_CORRUPT);       /* cluster bits */
    CHECK_INT(parse_changed(24, "\xff\xff\xff\xff\xff\xff\xff\xff", 8), ERROR_CORRUPT);
    CHECK_INT(parse_changed(36, "\0\0\0\0", 4), ERROR_CORRUPT);             /* L1 too small */
    CHECK_INT(parse_changed(36, "\xff\xff\xff\xff", 4), ERROR_CORRUPT);     /* L1 too large */
    CHECK_INT(parse_changed(72, "\0\0\0\0\0\0\1\0", 8), ERROR_UNSUPPORTED); /* unknown feature */
    CHECK_INT(parse_changed(100, "\0\0\0\1", 4), ERROR_CORRUPT);            /* header length */
    CHECK_INT(parse_changed(100, "\xff\xff\xff\xf8", 4), ERROR_CORRUPT);
    CHECK_INT(parse_changed(116, "\xff\xff\xff\xff", 4), ERROR_CORRUPT); /* extension's length */
}

static void test_truncated(void) {
    for (size_t size = 0; size < 112; size++) {
        _cleanup_qcow2_info_ Qcow2Info info = {0};
        uint8_t *copy = malloc(size ? size : 1);
        memcpy(copy, good, size);
        CHECK(qcow2_parse_info(copy, size, &info, NULL) < 0);
        free(copy);
    }
}

static void test_made_by_qemu(void) {
    _cleanup_qcow2_info_ Qcow2Info info = {0};
    _cleanup_close_ int fd = -1;
    if (!have_tool("qemu-img"))
        SKIP("qemu-img is not installed");
    SHELL("qemu-img create -q -f qcow2 -o lazy_refcounts=on,data_file=data.raw q.qcow2 100M");
    fd = open_read("q.qcow2");
    CHECK_INT(qcow2_read_info(fd, &info, NULL), 0);
    CHECK_INT(info.virtual_bytes, 100 << 20);
    CHECK(info.has_data_file);
    CHECK_STR(info.data_file, "data.raw");
}

int main(void) {
    scratch_enter();
    load_good();
    RUN(test_hostile_fields);
    RUN(test_truncated);
    RUN(test_made_by_qemu);
    return 0;
}
