/* SPDX-License-Identifier: Apache-2.0 */
#include "image/deferred.h"

#include <errno.h>

#include "base/clock.h"
#include "crafted.h"
#include "image/image.h"
#include "together.h"

static char *kernel_path; /* crafted, so that nothing is downloaded */
static char disk_digest[BASE_ID_SIZE];

static int import(const ImageContext *context, const char *file, const char *sha256, bool defer,
                  ImageInfo *info, Error *error) {
    _cleanup_free_ char *path = crafted_path(file);
    ImageImportRequest request = {.name = "late",
                                  .fd = -1,
                                  .path = path,
                                  .sha256 = sha256,
                                  .defer_digest = defer,
                                  .kernel = {.kernel = kernel_path}};
    return image_import(context, &request, info, error);
}

static void import_good(const ImageContext *context, const char *file, bool defer,
                        ImageInfo *info) {
    _cleanup_error_ Error error = ERROR_INIT;
    if (import(context, file, NULL, defer, info, &error) < 0)
        fprintf(stderr, "%s: %s\n", file, error_message(&error));
    CHECK(info->path);
}

static void make_disks(void) {
    char hex[SHA256_HEX_SIZE];
    _cleanup_free_ char *path = crafted_path("disk.img");
    crafted_shell("mkdir -p root && echo x > root/file && truncate -s 8M disk.img"
                  " && mke2fs -q -F -t ext4 -d root disk.img"
                  " && zstd -q -1 -c disk.img > disk.img.zst && { cat disk.img.zst; printf '' | "
                  "zstd -q -c; } > other.zst"
                  " && xz -0 -c disk.img > disk.img.xz && gzip -1 -c disk.img > disk.img.gz"
                  " && tar -cf - disk.img | zstd -q > disk.tar.zst"
                  " && head -c 200 disk.img.zst > cut.zst");
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK_INT(sha256_file(fd, hex, NULL), 0);
    base_id_from_digest(hex, disk_digest);
}

/* A file that was written this very second gets no record. */
static void await_settled(void) {
    uint64_t until = clock_realtime_usec() + USEC_PER_SEC + USEC_PER_SEC / 10;
    while (clock_realtime_usec() < until)
        (void)usleep(10000);
}

static void sum_file(const char *file, char hex[SHA256_HEX_SIZE]) {
    _cleanup_free_ char *path = crafted_path(file);
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK_INT(sha256_file(fd, hex, NULL), 0);
}

static void learn(const ImageContext *context, const char *source) {
    char hex[SHA256_HEX_SIZE];
    CHECK_INT(image_digest_compute(context, source, hex, NULL), 0);
    CHECK_STR(hex, disk_digest + strlen("sha256:"));
    CHECK_INT(image_digest_settle(context->home, source, hex, NULL), 0);
}

static bool same_file(const char *one, const char *other) {
    struct stat a, b;
    return stat(one, &a) == 0 && stat(other, &b) == 0 && a.st_ino == b.st_ino;
}

static void test_later(void) {
    ImageContext context = crafted_context("later");
    _cleanup_image_info_ ImageInfo info = {0}, again = {0}, known = {0};
    char source[SHA256_HEX_SIZE], hex[SHA256_HEX_SIZE];
    sum_file("disk.img.zst", source);
    import_good(&context, "disk.img.zst", true, &info);
    CHECK_STR(base_id_source(info.digest), source);
    CHECK(!image_digest_find(context.home, source, hex));
    import_good(&context, "disk.img.zst", true, &again);
    CHECK(again.reused);
    CHECK_STR(again.path, info.path);
    learn(&context, source);
    CHECK(image_digest_find(context.home, source, hex));
    import_good(&context, "disk.img.zst", true, &known);
    CHECK_STR(known.digest, disk_digest);
    CHECK(known.reused);
    CHECK(same_file(known.path, info.path));
    _cleanup_free_ char *compare =
        str_format("cmp disk.img %s && test $(stat -c %%a %s) = 444", known.path, info.path);
    crafted_shell(compare);
}

/* Where the decoder is slower, or no digest of another file is at hand, it is there at once. */
static void test_at_once(void) {
    static const char *const files[] = {"disk.img", "disk.img.xz", "disk.img.gz"};
    ImageContext context = crafted_context("at-once");
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        _cleanup_image_info_ ImageInfo info = {0};
        import_good(&context, files[i], true, &info);
        CHECK_STR(info.digest, disk_digest);
    }
    _cleanup_image_info_ ImageInfo tar = {0}, not_asked = {0};
    import_good(&context, "disk.img.zst", false, &not_asked);
    CHECK_STR(not_asked.digest, disk_digest);
    import_good(&context, "disk.tar.zst", true, &tar);
    CHECK(base_id_source(tar.digest));
}

/* What is there under the digest already is the one file from then on. */
static void test_one_file(void) {
    ImageContext context = crafted_context("one-file");
    _cleanup_image_info_ ImageInfo raw = {0}, one = {0}, other = {0};
    import_good(&context, "disk.img", false, &raw);
    import_good(&context, "disk.img.zst", true, &one);
    import_good(&context, "other.zst", true, &other);
    CHECK(!same_file(one.path, raw.path));
    learn(&context, base_id_source(one.digest));
    learn(&context, base_id_source(other.digest));
    CHECK(same_file(one.path, raw.path));
    CHECK(same_file(other.path, raw.path));
    crafted_shell("test -z \"$(ls one-file/tmp)\"");
}

/* After each step the next daemon can begin anew. */
static void test_crash_in_between(void) {
    ImageContext context = crafted_context("crash");
    _cleanup_image_info_ ImageInfo info = {0};
    char hex[SHA256_HEX_SIZE];
    import_good(&context, "disk.img.zst", true, &info);
    const char *source = base_id_source(info.digest);
    CHECK_INT(base_name_by_digest(context.home, source, disk_digest + strlen("sha256:"), NULL), 0);
    CHECK(!image_digest_find(context.home, source, hex)); /* linked, no record */
    learn(&context, source);
    learn(&context, source);
    CHECK(image_digest_find(context.home, source, hex));
    crafted_shell("rm crash/images/sha256-*.raw"); /* a record without its base */
    CHECK(!image_digest_find(context.home, source, hex));
    _cleanup_image_info_ ImageInfo again = {0};
    import_good(&context, "disk.img.zst", true, &again);
    CHECK(again.reused);
    CHECK_STR(again.digest, info.digest);
    learn(&context, source);
    CHECK(image_digest_find(context.home, source, hex));
    crafted_shell("rm crash/images/*.raw");
    CHECK_INT(image_digest_compute(&context, source, hex, NULL), -ENOENT);
    CHECK_INT(image_digest_settle(context.home, source, disk_digest + 7, NULL), -ENOENT);
    crafted_shell("test -z \"$(ls crash/images/*.raw 2>/dev/null)\"");
}

static void check_refused(const char *file, const char *sha256, const char *part) {
    ImageContext context = crafted_context("refused");
    _cleanup_error_ Error error = ERROR_INIT;
    ImageInfo info = {0};
    CHECK(import(&context, file, sha256, true, &info, &error) < 0);
    CHECK_INT(error.kind, ERROR_CORRUPT);
    CHECK_CONTAINS(error_message(&error), part);
    crafted_shell("test -z \"$(ls refused/images/*.raw refused/tmp/* 2>/dev/null)\"");
}

/* Nothing is published that was not verified. */
static void test_refused(void) {
    char hex[SHA256_HEX_SIZE];
    ImageContext context = crafted_context("verified");
    _cleanup_image_info_ ImageInfo info = {0};
    sum_file("other.zst", hex);
    check_refused("disk.img.zst", hex, "wrong digest");
    check_refused("cut.zst", NULL, "truncated");
    CHECK_INT(import(&context, "other.zst", hex, true, &info, NULL), 0);
    CHECK_STR(base_id_source(info.digest), hex);
}

static void test_cancelled(void) {
    ImageContext context = crafted_context("cancelled");
    _cleanup_image_info_ ImageInfo info = {0};
    _cleanup_error_ Error error = ERROR_INIT;
    char hex[SHA256_HEX_SIZE];
    int pair[2];
    import_good(&context, "disk.img.zst", true, &info);
    CHECK_INT(pipe2(pair, O_CLOEXEC), 0);
    CHECK_INT(close(pair[1]), 0);
    context.cancel_fd = pair[0];
    CHECK(image_digest_compute(&context, base_id_source(info.digest), hex, &error) < 0);
    CHECK_INT(error.kind, ERROR_CANCELLED);
    CHECK_INT(close(pair[0]), 0);
}

static void import_once(ImageInfo *info) {
    ImageContext context = crafted_context("together");
    CHECK_INT(import(&context, "disk.img.zst", NULL, true, info, NULL), 0);
    CHECK(base_id_source(info->digest));
}

static void test_together(void) {
    together_check(import_once);
}

static void test_names(void) {
    static const char *const bad[] = {"", "sources", "src-.raw", "sha256-aa.raw", "disk.raw"};
    char id[BASE_ID_SIZE];
    _cleanup_free_ char *name = str_format("sha256-%s.raw", disk_digest + 7);
    _cleanup_free_ char *other = str_format("md5-%s.raw", disk_digest + 7);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        CHECK_INT(base_id_from_name(bad[i], id), -EINVAL);
    CHECK_INT(base_id_from_name(other, id), -EINVAL);
    CHECK_INT(base_id_from_name(name, id), 0);
    CHECK_STR(id, disk_digest);
}

int main(void) {
    static const char *const tools[] = {"mke2fs", "zstd", "xz", "gzip"};
    for (size_t i = 0; i < ARRAY_SIZE(tools); i++)
        if (!crafted_has(tools[i]))
            SKIP("mke2fs, zstd, xz or gzip is missing");
    crafted_begin();
    kernel_path = crafted_kernel("bz", "gzip -9", true);
    make_disks();
    await_settled();
    RUN(test_names);
    RUN(test_later);
    RUN(test_at_once);
    RUN(test_one_file);
    RUN(test_crash_in_between);
    RUN(test_refused);
    RUN(test_cancelled);
    RUN(test_together);
    return 0;
}
