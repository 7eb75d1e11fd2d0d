/* SPDX-License-Identifier: Apache-2.0 */
#include "base/digest.h"

#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "check.h"

static void known_values(void) {
    char hex[SHA256_HEX_SIZE];
    sha256_data("", 0, hex);
    CHECK_STR(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    sha256_data("abc", 3, hex);
    CHECK_STR(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void zeroes_are_like_data(void) {
    static const char zeroes[1000003];
    char expected[SHA256_HEX_SIZE], hex[SHA256_HEX_SIZE];
    sha256_data(zeroes, sizeof(zeroes), expected);
    _cleanup_(sha256_free_p) Sha256 *hash = sha256_new();
    sha256_update_zeroes(hash, sizeof(zeroes));
    sha256_finish(hash, hex);
    CHECK_STR(hex, expected);
}

/* Data, a hole, data and a hole at the end. */
static void sparse_file_is_like_its_bytes(void) {
    enum { SIZE = 3 << 20 };
    static char content[SIZE];
    static const uint8_t head[] = {1, 2, 3, 4}, middle[] = {5, 6, 7, 8, 9, 10};
    _cleanup_close_ int fd = memfd_create("sparse", MFD_CLOEXEC);
    memcpy(content, head, 4);
    memcpy(content + (1 << 20) + 17, middle, 6);
    CHECK_INT(fd_pwrite_full(fd, head, 4, 0), 0);
    CHECK_INT(fd_pwrite_full(fd, middle, 6, (1 << 20) + 17), 0);
    CHECK_INT(ftruncate(fd, SIZE), 0);
    char expected[SHA256_HEX_SIZE], hex[SHA256_HEX_SIZE];
    sha256_data(content, SIZE, expected);
    CHECK_INT(sha256_file(fd, hex, NULL), 0);
    CHECK_STR(hex, expected);
}

static void empty_file_and_bad_descriptor(void) {
    _cleanup_close_ int fd = memfd_create("empty", MFD_CLOEXEC);
    char hex[SHA256_HEX_SIZE] = "untouched";
    _cleanup_error_ Error error = ERROR_INIT;
    CHECK(sha256_file(-1, hex, &error) < 0);
    CHECK_INT(error.kind, ERROR_FAILED);
    CHECK_STR(hex, "untouched");
    CHECK_INT(sha256_file(fd, hex, NULL), 0);
    CHECK_STR(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void random_differs(void) {
    _cleanup_free_ char *a = random_hex(16);
    _cleanup_free_ char *b = random_hex(16);
    CHECK_INT(strlen(a), 32);
    CHECK_INT(strspn(a, "0123456789abcdef"), 32);
    CHECK(strcmp(a, b) != 0);
}

int main(void) {
    RUN(known_values);
    RUN(zeroes_are_like_data);
    RUN(sparse_file_is_like_its_bytes);
    RUN(empty_file_and_bad_descriptor);
    RUN(random_differs);
    return 0;
}
