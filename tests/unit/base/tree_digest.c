/* SPDX-License-Identifier: Apache-2.0 */
#include "base/tree_digest.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "check.h"

#define SIZE (3 * MIB + 5)

static int new_file(uint64_t size) {
    int fd = memfd_create("test", MFD_CLOEXEC);
    CHECK(fd >= 0);
    CHECK_INT(ftruncate(fd, (off_t)size), 0);
    return fd;
}

static void put(int fd, uint64_t offset, const char *text) {
    CHECK_INT(fd_pwrite_full(fd, text, strlen(text), offset), 0);
}

/* Something in the first and the last page, over a page's border and over a chunk's. */
static int new_content(void) {
    int fd = new_file(SIZE);
    put(fd, 0, "head");
    put(fd, 37 * 4096 - 2, "over");
    put(fd, 2 * MIB - 2, "border");
    put(fd, SIZE - 1, "t");
    return fd;
}

static void digest(int fd, unsigned threads, char text[TREE_DIGEST_SIZE]) {
    const TreeDigestOptions options = {.cancel_fd = -1, .threads = threads};
    _cleanup_error_ Error error = ERROR_INIT;
    CHECK_INT(tree_digest_file(fd, &options, text, &error), 0);
}

static bool same(int a, int b) {
    char left[TREE_DIGEST_SIZE], right[TREE_DIGEST_SIZE];
    digest(a, 1, left);
    digest(b, 1, right);
    return strcmp(left, right) == 0;
}

static void check_digest(int fd, const char *expected) {
    char text[TREE_DIGEST_SIZE];
    for (unsigned threads = 0; threads < 4; threads++) {
        digest(fd, threads, text);
        CHECK_STR(text, expected);
    }
}

/* Made by another program from the formula in the header. */
static void known_values(void) {
    _cleanup_close_ int empty = new_file(0), abc = new_file(0), hole = new_file(MIB),
                        content = new_content();
    put(abc, 0, "abc");
    check_digest(empty, "tree1:a536aa3cede6ea3c1f3e0357c3c60e0f216a8c89b853df13b29daa8f85065dfb");
    check_digest(abc, "tree1:1c0d53318f1a8d968af14560515e02bea03bbdc8d02d5afb78125dede491bf2e");
    check_digest(hole, "tree1:05185c0f8ae142b26db2eb1c5d0752a39cb1bbfda4be1aca71e13e7b4e0f175a");
    check_digest(content, "tree1:7adff22a21e6009777c630238bf339f7c6da14c0dcfe158413986d6f4dd225e7");
}

static void a_hole_is_like_zeroes(void) {
    static const uint8_t zeroes[MIB + 4096 + 17];
    _cleanup_close_ int hole = new_content(), written = new_content();
    CHECK_INT(fd_pwrite_full(written, zeroes, sizeof(zeroes), 38 * 4096), 0);
    CHECK(same(hole, written));
    CHECK_INT(fd_pwrite_full(written, zeroes, 1, 2 * MIB + 8192), 0);
    CHECK(same(hole, written));
}

/* Wherever it is, and in each byte of the last, short page. */
static void one_bit_tells(void) {
    static const uint64_t offsets[] = {0,       3,           4,           4095,    4096,
                                       MIB - 1, MIB,         2 * MIB - 1, 2 * MIB, 2 * MIB + 4,
                                       3 * MIB, 3 * MIB + 3, SIZE - 1};
    _cleanup_close_ int good = new_content(), fd = new_content();
    for (size_t i = 0; i < ARRAY_SIZE(offsets); i++)
        for (unsigned bit = 0; bit < 8; bit++) {
            uint8_t was, now;
            CHECK_INT(fd_pread_full(fd, &was, 1, offsets[i]), 1);
            now = was ^ (uint8_t)(1u << bit);
            CHECK_INT(fd_pwrite_full(fd, &now, 1, offsets[i]), 0);
            CHECK(!same(good, fd));
            CHECK_INT(fd_pwrite_full(fd, &was, 1, offsets[i]), 0);
        }
    CHECK(same(good, fd));
}

/* The same page elsewhere in the chunk, and the same chunk elsewhere in the file. */
static void position_tells(void) {
    static const uint64_t offsets[] = {0, 1, 4096, 8192, MIB, 2 * MIB};
    for (size_t i = 0; i < ARRAY_SIZE(offsets); i++)
        for (size_t j = 0; j < ARRAY_SIZE(offsets); j++) {
            _cleanup_close_ int a = new_file(SIZE), b = new_file(SIZE);
            put(a, offsets[i], "x");
            put(b, offsets[j], "x");
            CHECK_INT(same(a, b), i == j);
        }
}

/* By holes only, which change no page. */
static void size_tells(void) {
    static const uint64_t sizes[] = {0,   1,       4095, 4096,     4097,    MIB - 1,
                                     MIB, MIB + 1, SIZE, SIZE + 1, 4 * MIB, 64 * GIB + 1};
    for (int filled = 0; filled < 2; filled++)
        for (size_t i = 1; i < ARRAY_SIZE(sizes); i++) {
            _cleanup_close_ int a = new_file(sizes[i - 1]), b = new_file(sizes[i]);
            if (filled && i > 1)
                put(a, 0, "x");
            if (filled && i > 1)
                put(b, 0, "x");
            CHECK(!same(a, b));
        }
}

/* Chunks that change places; what would be one stream of bytes to a hash without a map. */
static void order_tells(void) {
    _cleanup_close_ int a = new_file(2 * MIB), b = new_file(2 * MIB);
    put(a, 0, "one");
    put(a, MIB, "two");
    put(b, 0, "two");
    put(b, MIB, "one");
    CHECK(!same(a, b));
}

typedef struct Copy {
    int fd;
    uint64_t bytes;
    int failure;
} Copy;

static int copy(void *data, uint64_t offset, const uint8_t *bytes, size_t size) {
    Copy *copy = data;
    if (copy->failure)
        return copy->failure;
    __atomic_add_fetch(&copy->bytes, size, __ATOMIC_RELAXED);
    return fd_pwrite_full(copy->fd, bytes, size, offset);
}

static void a_copy_in_the_same_pass(void) {
    for (unsigned threads = 1; threads < 4; threads++) {
        _cleanup_close_ int from = new_content(), to = new_file(SIZE);
        Copy copying = {.fd = to};
        const TreeDigestOptions options = {
            .cancel_fd = -1, .threads = threads, .visit = copy, .data = &copying};
        char text[TREE_DIGEST_SIZE];
        CHECK_INT(tree_digest_file(from, &options, text, NULL), 0);
        CHECK(same(from, to));
        CHECK_INT(copying.bytes, 5 * 4096 + 5); /* two pages at each border */
        check_digest(to, text);
    }
}

static void failures(void) {
    _cleanup_close_ int fd = new_content(), cancel = eventfd(1, EFD_CLOEXEC);
    Copy failing = {.failure = -ENOSPC};
    TreeDigestOptions options = {.cancel_fd = -1, .threads = 2, .visit = copy, .data = &failing};
    char text[TREE_DIGEST_SIZE] = "untouched", hex[SHA256_HEX_SIZE] = "untouched";
    _cleanup_error_ Error error = ERROR_INIT;
    CHECK_INT(tree_digest_file(fd, &options, text, &error), -ENOSPC);
    CHECK_INT(error.kind, ERROR_NO_SPACE);
    error_clear(&error);
    options = (TreeDigestOptions){.cancel_fd = cancel};
    CHECK_INT(tree_digest_file(fd, &options, text, &error), -ECANCELED);
    CHECK_INT(error.kind, ERROR_CANCELLED);
    error_clear(&error);
    CHECK_INT(tree_digest_and_sha256(fd, cancel, text, hex, &error), -ECANCELED);
    CHECK_INT(error.kind, ERROR_CANCELLED);
    error_clear(&error);
    CHECK(tree_digest_and_sha256(-1, -1, text, hex, &error) < 0);
    CHECK_STR(text, "untouched");
    CHECK_STR(hex, "untouched");
}

static void both_at_once(void) {
    static const uint64_t sizes[] = {0, 1, 4097, SIZE, 20 * MIB + 1};
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        _cleanup_close_ int fd = new_file(sizes[i]);
        char tree[TREE_DIGEST_SIZE], flat[SHA256_HEX_SIZE], expected[SHA256_HEX_SIZE];
        if (sizes[i] > 4096)
            put(fd, sizes[i] - 4097, "x");
        CHECK_INT(tree_digest_and_sha256(fd, -1, tree, flat, NULL), 0);
        CHECK_INT(sha256_file(fd, expected, NULL), 0);
        CHECK_STR(flat, expected);
        check_digest(fd, tree);
    }
}

int main(void) {
    RUN(known_values);
    RUN(a_hole_is_like_zeroes);
    RUN(one_bit_tells);
    RUN(position_tells);
    RUN(size_tells);
    RUN(order_tells);
    RUN(a_copy_in_the_same_pass);
    RUN(failures);
    RUN(both_at_once);
    return 0;
}
