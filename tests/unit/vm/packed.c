/* SPDX-License-Identifier: Apache-2.0 */

/* Compressed memory: there and back, sparse, and what is refused. */

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/fd.h"
#include "frozen/packed.h"

#include "check.h"

#define MIB_BYTES ((uint64_t)1 << 20)
#define SIZE (8 * MIB_BYTES)

static int new_file(uint64_t size) {
    int fd = memfd_create("test", MFD_CLOEXEC);
    CHECK(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
    return fd;
}

static uint64_t size_of(int fd) {
    return (uint64_t)lseek(fd, 0, SEEK_END);
}

static uint64_t blocks_of(int fd) {
    struct stat info;
    CHECK(fstat(fd, &info) == 0);
    return (uint64_t)info.st_blocks * 512;
}

/* Text, random bytes, zeroes that take blocks, and holes between. */
static int new_memory(void) {
    static uint8_t data[3 * 4096 + 5];
    int fd = new_file(SIZE);
    random_bytes(data, sizeof(data));
    CHECK_INT(fd_pwrite_full(fd, data, sizeof(data), 3 * MIB_BYTES), 0);
    memset(data, 'x', sizeof(data));
    CHECK_INT(fd_pwrite_full(fd, data, sizeof(data), 0), 0);
    CHECK_INT(fd_pwrite_full(fd, data, 4096, SIZE - 4096), 0);
    memset(data, 0, sizeof(data));
    CHECK_INT(fd_pwrite_full(fd, data, sizeof(data), 5 * MIB_BYTES), 0);
    return fd;
}

static int pack(int memory, char sha256[SHA256_HEX_SIZE]) {
    _cleanup_error_ Error error = ERROR_INIT;
    int fd = new_file(0);
    uint64_t bytes = 0;
    CHECK_INT(packed_write(memory, fd, sha256, &bytes, &error), 0);
    CHECK_INT(bytes, size_of(memory));
    return fd;
}

static void test_there_and_back(void) {
    _cleanup_close_ int memory = new_memory(), back = new_file(0);
    char plain[SHA256_HEX_SIZE], written[SHA256_HEX_SIZE], read[SHA256_HEX_SIZE];
    _cleanup_close_ int packed = pack(memory, written);
    _cleanup_error_ Error error = ERROR_INIT;
    CHECK_INT(sha256_file(memory, plain, &error), 0);
    CHECK_STR(written, plain);
    CHECK(size_of(packed) < 64 * 1024);
    CHECK_INT(packed_read(packed, SIZE, back, read, &error), 0);
    CHECK_STR(read, plain);
    CHECK_INT(size_of(back), SIZE);
    CHECK_INT(sha256_file(back, read, &error), 0);
    CHECK_STR(read, plain);
    CHECK(blocks_of(back) <= blocks_of(memory));
    CHECK_INT(packed_read(packed, SIZE, -1, read, &error), 0);
    CHECK_STR(read, plain);
}

static void test_small(void) {
    static const uint64_t sizes[] = {0, 1, 4095, 4097, MIB_BYTES, MIB_BYTES + 1};
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        _cleanup_close_ int memory = new_file(sizes[i]), back = new_file(0);
        char written[SHA256_HEX_SIZE], read[SHA256_HEX_SIZE];
        _cleanup_close_ int packed = -1;
        _cleanup_error_ Error error = ERROR_INIT;
        if (sizes[i])
            CHECK_INT(fd_pwrite_full(memory, "y", 1, sizes[i] - 1), 0);
        packed = pack(memory, written);
        CHECK_INT(packed_read(packed, sizes[i], back, read, &error), 0);
        CHECK_STR(read, written);
        CHECK_INT(sha256_file(back, read, &error), 0);
        CHECK_STR(read, written);
    }
}

static void expect_refused(int packed, uint64_t bytes, const char *why) {
    _cleanup_close_ int back = new_file(0);
    _cleanup_error_ Error error = ERROR_INIT;
    char read[SHA256_HEX_SIZE];
    CHECK(packed_read(packed, bytes, back, read, &error) < 0);
    CHECK_INT(error.kind, ERROR_CORRUPT);
    CHECK_CONTAINS(error_message(&error), why);
    CHECK(size_of(back) <= bytes);
}

static void test_wrong_size(void) {
    _cleanup_close_ int memory = new_memory(), empty = new_file(0);
    char sha256[SHA256_HEX_SIZE];
    _cleanup_close_ int packed = pack(memory, sha256);
    expect_refused(packed, SIZE - 1, "it holds 8388608 bytes, not 8388607");
    expect_refused(packed, SIZE + 1, "it holds 8388608 bytes");
    expect_refused(packed, 0, "it holds 8388608 bytes");
    expect_refused(empty, SIZE, "zstd frame");
}

static void test_cut(void) {
    _cleanup_close_ int memory = new_memory();
    char sha256[SHA256_HEX_SIZE];
    _cleanup_close_ int packed = pack(memory, sha256);
    CHECK(ftruncate(packed, (off_t)size_of(packed) - 1) == 0);
    expect_refused(packed, SIZE, "it was cut");
    CHECK(ftruncate(packed, (off_t)size_of(packed) / 2) == 0);
    expect_refused(packed, SIZE, "it was cut");
    CHECK(ftruncate(packed, 3) == 0);
    expect_refused(packed, SIZE, "zstd frame");
}

static void test_trailing(void) {
    _cleanup_close_ int memory = new_memory();
    char sha256[SHA256_HEX_SIZE];
    _cleanup_close_ int packed = pack(memory, sha256);
    uint64_t size = size_of(packed);
    uint8_t head[64];
    CHECK_INT(fd_pwrite_full(packed, "z", 1, size), 0);
    expect_refused(packed, SIZE, "after its end");
    CHECK_INT(fd_pread_full(packed, head, sizeof(head), 0), sizeof(head));
    CHECK_INT(fd_pwrite_full(packed, head, sizeof(head), size), 0);
    expect_refused(packed, SIZE, "after its end");
}

/* A flipped bit is told by the decoder, by the frame's checksum or by the digest. */
static void test_flipped(void) {
    _cleanup_close_ int memory = new_memory();
    char sha256[SHA256_HEX_SIZE], read[SHA256_HEX_SIZE];
    _cleanup_close_ int packed = pack(memory, sha256);
    uint64_t size = size_of(packed);
    uint8_t byte;
    for (uint64_t at = 0; at < size; at += 1 + size / 100) {
        _cleanup_error_ Error error = ERROR_INIT;
        CHECK_INT(fd_pread_full(packed, &byte, 1, at), 1);
        byte ^= 1;
        CHECK_INT(fd_pwrite_full(packed, &byte, 1, at), 0);
        CHECK(packed_read(packed, SIZE, -1, read, &error) < 0 || strcmp(read, sha256) != 0);
        byte ^= 1;
        CHECK_INT(fd_pwrite_full(packed, &byte, 1, at), 0);
    }
}

int main(void) {
    RUN(test_there_and_back);
    RUN(test_small);
    RUN(test_wrong_size);
    RUN(test_cut);
    RUN(test_trailing);
    RUN(test_flipped);
    return 0;
}
