/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>

#include "base/digest.h"
#include "crafted.h"
#include "image/image.h"
#include "together.h"

static char *kernel_path; /* crafted, so that nothing is downloaded */

static int import_file(const ImageContext *context, const char *path, const char *sha256,
                       uint64_t size, ImageInfo *info, Error *error) {
    ImageImportRequest request = {.name = "imported",
                                  .fd = -1,
                                  .path = path,
                                  .sha256 = sha256,
                                  .size_bytes = size,
                                  .kernel = {.kernel = kernel_path}};
    return image_import(context, &request, info, error);
}

static void import_good(const ImageContext *context, const char *path, ImageInfo *info) {
    _cleanup_error_ Error error = ERROR_INIT;
    if (import_file(context, path, NULL, 0, info, &error) < 0)
        fprintf(stderr, "%s: %s\n", path, error_message(&error));
    CHECK(info->path);
}

static void check_nothing_left(const ImageContext *context) {
    _cleanup_free_ char *command =
        str_format("test -z \"$(ls %s/tmp 2>/dev/null)\"", context->home);
    crafted_shell(command);
}

static void make_disk(void) {
    crafted_shell(
        "mkdir -p root/etc root/sbin && echo x > root/etc/hostname && truncate -s 24M disk.img"
        " && mke2fs -q -F -t ext4 -d root disk.img");
}

static void test_formats(void) {
    static const struct {
        const char *program, *command, *file;
    } formats[] = {
        {"gzip", "gzip -1 -c disk.img > disk.img.gz", "disk.img.gz"},
        {"xz", "xz -0 -c disk.img > disk.img.xz", "disk.img.xz"},
        {"zstd", "zstd -q -1 -c disk.img > disk.img.zst", "disk.img.zst"},
        {"zstd", "tar -cf - disk.img | zstd -q -1 > disk.tar.zst", "disk.tar.zst"},
        {"qemu-img", "qemu-img convert -O qcow2 disk.img disk.qcow2", "disk.qcow2"},
    };
    ImageContext context = crafted_context("formats");
    _cleanup_free_ char *raw = crafted_path("disk.img");
    _cleanup_image_info_ ImageInfo first = {0};
    import_good(&context, raw, &first);
    CHECK_INT(first.virtual_bytes, 24 * MIB);
    CHECK_STR(first.kernel_version, "6.1.0-test");
    for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
        if (!crafted_has(formats[i].program)) {
            printf("  without %s\n", formats[i].program);
            continue;
        }
        _cleanup_image_info_ ImageInfo info = {0};
        _cleanup_free_ char *path = crafted_path(formats[i].file);
        crafted_shell(formats[i].command);
        import_good(&context, path, &info);
        CHECK_STR(info.digest, first.digest);
        CHECK_STR(info.path, first.path);
    }
    _cleanup_free_ char *compare = str_format("cmp disk.img %s", first.path);
    crafted_shell(compare);
    check_nothing_left(&context);
}

static void test_root_tar(void) {
    ImageContext context = crafted_context("tar");
    _cleanup_free_ char *path = crafted_path("root.tar.gz");
    _cleanup_image_info_ ImageInfo info = {0};
    crafted_shell("tar -C root -czf root.tar.gz .");
    import_good(&context, path, &info);
    _cleanup_free_ char *check = str_format("e2fsck -fn %s > fsck.log 2>&1 && debugfs -R 'cat "
                                            "/etc/hostname' %s 2>/dev/null | grep -q x",
                                            info.path, info.path);
    crafted_shell(check);
    check_nothing_left(&context);
}

static void test_second_is_a_look_up(void) {
    ImageContext context = crafted_context("twice");
    _cleanup_free_ char *path = crafted_path("settled.img");
    _cleanup_image_info_ ImageInfo first = {0}, second = {0}, third = {0}, fourth = {0};
    crafted_shell("cp --sparse=always disk.img settled.img");
    crafted_await_settled();
    import_good(&context, path, &first);
    CHECK(!first.reused);
    import_good(&context, path, &second);
    CHECK(second.reused);
    CHECK_STR(second.digest, first.digest);
    crafted_shell("printf y | dd of=settled.img bs=1 seek=20000000 conv=notrunc status=none");
    import_good(&context, path, &third);
    CHECK(!third.reused);
    CHECK(strcmp(third.digest, first.digest) != 0);
    _cleanup_free_ char *remove = str_format("rm -f %s", third.path);
    crafted_shell(remove);
    import_good(&context, path, &fourth); /* its base went away */
    CHECK(!fourth.reused);
    CHECK_STR(fourth.digest, third.digest);
}

static void test_digest(void) {
    ImageContext context = crafted_context("digest");
    _cleanup_free_ char *path = crafted_path("disk.img");
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_image_info_ ImageInfo info = {0};
    char hex[SHA256_HEX_SIZE], other[SHA256_HEX_SIZE];
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK_INT(sha256_file(fd, hex, NULL), 0);
    memcpy(other, hex, sizeof(other));
    other[0] = other[0] == '0' ? '1' : '0';
    CHECK(import_file(&context, path, other, 0, &info, &error) < 0);
    CHECK_INT(error.kind, ERROR_CORRUPT);
    CHECK(import_file(&context, path, "abc", 0, &info, &error) < 0);
    CHECK_INT(error.kind, ERROR_USAGE);
    crafted_shell("test -z \"$(ls digest/images/*.raw 2>/dev/null)\"");
    _cleanup_free_ char *named = str_format("sha256:%s", hex);
    CHECK_INT(import_file(&context, path, named, 0, &info, &error), 0);
    CHECK(import_file(&context, path, other, 0, &info, &error) < 0); /* nor from the record */
    check_nothing_left(&context);
}

static void check_refused(const char *file, ErrorKind kind, const char *part) {
    ImageContext context = crafted_context("refused");
    _cleanup_free_ char *path = crafted_path(file);
    _cleanup_error_ Error error = ERROR_INIT;
    ImageInfo info = {0};
    CHECK(import_file(&context, path, NULL, 0, &info, &error) < 0);
    fprintf(stderr, "  %s: %s\n", file, error_message(&error));
    CHECK_INT(error.kind, kind);
    CHECK_CONTAINS(error_message(&error), part);
    CHECK(!info.path);
    check_nothing_left(&context);
    crafted_shell("test -z \"$(ls refused/images/*.raw 2>/dev/null)\"");
}

static void test_refused(void) {
    crafted_shell("mkdir -p folder && : > empty && head -c 1048576 /dev/urandom > noise && "
                  "truncate -s 8M zeroes"
                  " && gzip -1 -c disk.img | head -c 5000 > cut.gz");
    check_refused("gone", ERROR_NOT_FOUND, "gone");
    check_refused("folder", ERROR_USAGE, "folder");
    check_refused("empty", ERROR_CORRUPT, "empty");
    check_refused("noise", ERROR_CORRUPT, "neither a file system nor a partition table");
    check_refused("zeroes", ERROR_CORRUPT, "neither a file system nor a partition table");
    check_refused("cut.gz", ERROR_CORRUPT, "cut.gz");
}

static void test_size_only_grows(void) {
    ImageContext context = crafted_context("size");
    _cleanup_free_ char *path = crafted_path("disk.img");
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_image_info_ ImageInfo info = {0};
    CHECK(import_file(&context, path, NULL, MIB, &info, &error) < 0);
    CHECK_INT(error.kind, ERROR_USAGE);
    CHECK(error.hint);
    CHECK_INT(import_file(&context, path, NULL, 64 * MIB, &info, &error), 0);
    CHECK_INT(info.virtual_bytes, 24 * MIB);
    CHECK_INT(info.minimum_disk_bytes, 64 * MIB);
}

static void *feed_pipe(void *data) {
    int *pair = data;
    _cleanup_free_ char *path = crafted_path("disk.img.gz"), *bytes = NULL;
    size_t size;
    CHECK_INT(fd_read_file_at(AT_FDCWD, path, 64 * MIB, &bytes, &size), 0);
    CHECK_INT(fd_write_full(pair[1], bytes, size), 0);
    CHECK_INT(close(pair[1]), 0);
    return NULL;
}

static void test_pipe(void) {
    ImageContext context = crafted_context("pipe");
    int pair[2];
    pthread_t thread;
    _cleanup_image_info_ ImageInfo info = {0};
    CHECK_INT(pipe2(pair, O_CLOEXEC), 0);
    CHECK_INT(pthread_create(&thread, NULL, feed_pipe, pair), 0);
    ImageImportRequest request = {
        .name = "piped", .fd = pair[0], .path = "-", .kernel = {.kernel = kernel_path}};
    CHECK_INT(image_import(&context, &request, &info, NULL), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_INT(close(pair[0]), 0);
    CHECK_STR(info.source, "file standard input");
    crafted_shell("test -z \"$(ls pipe/locks | grep import)\"");
}

static void import_once(ImageInfo *info) {
    ImageContext context = crafted_context("together");
    _cleanup_free_ char *path = crafted_path("settled.img");
    CHECK_INT(import_file(&context, path, NULL, 0, info, NULL), 0);
}

static void test_together(void) {
    crafted_await_settled();
    together_check(import_once);
}

static void test_cancelled(void) {
    ImageContext context = crafted_context("cancelled");
    _cleanup_free_ char *path = crafted_path("disk.img");
    _cleanup_error_ Error error = ERROR_INIT;
    ImageInfo info = {0};
    int pair[2];
    CHECK_INT(pipe2(pair, O_CLOEXEC), 0);
    CHECK_INT(close(pair[1]), 0);
    context.cancel_fd = pair[0];
    CHECK(import_file(&context, path, NULL, 0, &info, &error) < 0);
    CHECK_INT(error.kind, ERROR_CANCELLED);
    CHECK_INT(close(pair[0]), 0);
    check_nothing_left(&context);
}

int main(void) {
    if (!crafted_has("mke2fs"))
        SKIP("mke2fs is missing (package e2fsprogs)");
    crafted_begin();
    kernel_path = crafted_kernel("bz", "gzip -9", true);
    make_disk();
    RUN(test_formats);
    RUN(test_root_tar);
    RUN(test_second_is_a_look_up);
    RUN(test_digest);
    RUN(test_refused);
    RUN(test_size_only_grows);
    RUN(test_pipe);
    RUN(test_together);
    RUN(test_cancelled);
    return 0;
}
