/* SPDX-License-Identifier: Apache-2.0 */
#include "disk/sparse.h"
#include "scratch.h"

static void test_bytes_are_zero(void) {
    uint8_t buffer[200] = {0};
    CHECK(bytes_are_zero(buffer, 0));
    for (size_t size = 1; size <= sizeof(buffer); size++) {
        CHECK(bytes_are_zero(buffer, size));
        for (size_t i = 0; i < size; i++) {
            buffer[i] = 1;
            CHECK(!bytes_are_zero(buffer, size));
            buffer[i] = 0;
        }
    }
}

static void test_copy(void) {
    _cleanup_close_ int from = -1, to = -1;
    /* data, hole, zeroes that are stored, odd end in a hole */
    SHELL("printf data >s && truncate -s 8M s && dd if=/dev/zero of=s bs=1M seek=8 count=4 "
          "conv=notrunc status=none "
          "&& printf tail >>s && truncate -s 20000001 s");
    from = open_read("s");
    to = open_new("t");
    CHECK_INT(sparse_copy(from, to, NULL), 0);
    SHELL("cmp s t");
    CHECK_INT(file_size("t"), 20000001);
    CHECK(file_stored("t") <= 64 << 10);
}

static void test_clone_or_copy(void) {
    _cleanup_close_ int from = open_read("s"), to = open_new("u");
    bool cloned;
    CHECK_INT(file_clone_or_sparse_copy(from, to, &cloned, NULL), 0);
    SHELL("cmp s u");
    CHECK(cloned || file_stored("u") <= 64 << 10);
}

static void test_reflink(void) {
    bool supported;
    CHECK_INT(reflink_probe(scratch_path, &supported, NULL), 0);
    CHECK(reflink_probe("/nonexistent", &supported, NULL) < 0);
    CHECK(shell_status("ls reflink-* 2>/dev/null") != 0);
}

static void test_reflink_errnos(void) {
    static const int ABSENT[] = {EINVAL, ENOTSUP, EOPNOTSUPP, EXDEV, ETXTBSY, EISDIR, ENOTTY};
    static const int REAL[] = {EIO, ENOSPC, EDQUOT, EBADF, EPERM, 0};
    for (size_t i = 0; i < ARRAY_SIZE(ABSENT); i++)
        CHECK(reflink_is_absent(ABSENT[i]));
    for (size_t i = 0; i < ARRAY_SIZE(REAL); i++)
        CHECK(!reflink_is_absent(REAL[i]));
}

/* What is no lack of reflinks is told, and nothing is copied instead. */
static void test_clone_fails(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    CHECK_INT(close(open_new("v")), 0);
    _cleanup_close_ int from = open_read("s"), to = open_read("v");
    CHECK_INT(file_clone_or_sparse_copy(from, to, NULL, &error), -EBADF);
    CHECK_CONTAINS(error_message(&error), "cannot reflink a file");
    CHECK_INT(file_size("v"), 0);
}

int main(void) {
    scratch_enter();
    RUN(test_bytes_are_zero);
    RUN(test_copy);
    RUN(test_clone_or_copy);
    RUN(test_reflink);
    RUN(test_reflink_errnos);
    RUN(test_clone_fails);
    return 0;
}
