/* SPDX-License-Identifier: Apache-2.0 */
#include "disk/overlay.h"
#include "disk/qcow2.h"
#include "scratch.h"

static int folder_fd;
static char base[PATH_MAX + 16];

static int make(const char *name, uint64_t bytes, const char *backing, const char *format,
                Error *error) {
    OverlaySpec spec = {.virtual_bytes = bytes, .backing_path = backing, .backing_format = format};
    return overlay_create_at(folder_fd, name, &spec, error);
}

static void check_with_qemu(const char *name) {
    if (!have_tool("qemu-img"))
        return;
    SHELL("qemu-img check -q %s", name);
    SHELL("qemu-img info --backing-chain %s >/dev/null", name);
}

static void test_overlay(void) {
    _cleanup_qcow2_info_ Qcow2Info info = {0};
    _cleanup_close_ int fd = -1;
    CHECK_INT(make("a.qcow2", 0, base, "raw", NULL), 0);
    fd = open_read("a.qcow2");
    CHECK_INT(qcow2_read_info(fd, &info, NULL), 0);
    CHECK_INT(info.version, 3);
    CHECK_INT(info.cluster_bits, 16);
    CHECK_INT(info.virtual_bytes, 10 << 20);
    CHECK_STR(info.backing_path, base);
    CHECK_STR(info.backing_format, "raw");
    CHECK(!info.dirty && !info.encrypted && !info.has_data_file);
    CHECK(file_stored("a.qcow2") <= 64 << 10);
    check_with_qemu("a.qcow2");
}

static void test_chain(void) {
    char path[PATH_MAX + 16];
    snprintf(path, sizeof(path), "%s/a.qcow2", scratch_path);
    CHECK_INT(make("b.qcow2", 20 << 20, path, "qcow2", NULL), 0);
    check_with_qemu("b.qcow2");
    if (have_tool("qemu-io")) {
        SHELL("qemu-io -c 'write -P 7 15M 1M' -c 'read -P 7 15M 1M' -c 'read -P 0 19M 1M' b.qcow2 "
              ">/dev/null");
        check_with_qemu("b.qcow2");
        SHELL("qemu-io -c 'read -P 65 0 4k' b.qcow2 | grep -qv 'Pattern verification failed'");
    }
}

static void test_sizes(void) {
    static const uint64_t SIZES[] = {
        512,        65536,       (512 << 20) - 512, 512 << 20, (512 << 20) + 512,
        5ULL << 40, 64ULL << 40, OVERLAY_MAX_BYTES};
    for (size_t i = 0; i < ARRAY_SIZE(SIZES); i++) {
        CHECK_INT(make("size.qcow2", SIZES[i], NULL, NULL, NULL), 0);
        check_with_qemu("size.qcow2");
        CHECK_INT(unlink("size.qcow2"), 0);
    }
}

static void refused(uint64_t bytes, const char *backing, const char *format, ErrorKind kind) {
    _cleanup_error_ Error error = ERROR_INIT;
    CHECK(make("bad.qcow2", bytes, backing, format, &error) < 0);
    CHECK_INT(error.kind, kind);
    CHECK_INT(access("bad.qcow2", F_OK), -1);
}

static void test_refusals(void) {
    char odd[PATH_MAX + 16], *deep = malloc(2000);
    snprintf(odd, sizeof(odd), "%s/odd", scratch_path);
    SHELL("head -c 1000 /dev/zero >odd");
    refused(1000, NULL, NULL, ERROR_USAGE);
    refused(0, NULL, NULL, ERROR_USAGE);
    refused(OVERLAY_MAX_BYTES + 512, NULL, NULL, ERROR_USAGE);
    refused(1 << 20, base, "raw", ERROR_USAGE); /* smaller than the base */
    refused(0, "relative", "raw", ERROR_USAGE);
    refused(0, base, "vmdk", ERROR_USAGE);
    refused(0, "/nonexistent/base", "raw", ERROR_NOT_FOUND);
    refused(0, odd, "raw", ERROR_CORRUPT);
    refused(0, base, "qcow2", ERROR_CORRUPT);
    refused(0, "/dev/null", "raw", ERROR_USAGE);
    memset(deep, 'a', 1999);
    deep[0] = '/';
    deep[1999] = '\0';
    refused(0, deep, "raw", ERROR_USAGE);
    free(deep);
}

static void test_taken(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    CHECK_INT(make("a.qcow2", 0, base, "raw", &error), -EEXIST);
    CHECK_INT(error.kind, ERROR_CONFLICT);
    CHECK_INT(access("a.qcow2", F_OK), 0);
}

int main(void) {
    scratch_enter();
    folder_fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    snprintf(base, sizeof(base), "%s/base.raw", scratch_path);
    SHELL("head -c 10M /dev/zero | tr '\\0' A >base.raw && chmod 0444 base.raw");
    RUN(test_overlay);
    RUN(test_chain);
    RUN(test_sizes);
    RUN(test_refusals);
    RUN(test_taken);
    return 0;
}
