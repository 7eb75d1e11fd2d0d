/* SPDX-License-Identifier: Apache-2.0 */
#include <sys/mount.h>
#include <sys/statvfs.h>

#include "disk/base_file.h"
#include "disk/extract.h"
#include "disk/rootfs/rootfs.h"
#include "scratch.h"

/* disk.img: 6 MiB, of which 1.25 hold data at both ends and in the middle. */
static char disk_sha256[SHA256_HEX_SIZE], disk_digest[BASE_ID_SIZE];

static void make_files(void) {
    int fd;
    SHELL("head -c 512K /dev/urandom >disk.img && truncate -s 2560K disk.img && head -c 512K "
          "/dev/urandom >>disk.img "
          "&& truncate -s 5888K disk.img && head -c 256K /dev/urandom >>disk.img");
    fd = open_read("disk.img");
    CHECK_INT(sha256_file(fd, disk_sha256, NULL), 0);
    CHECK_INT(base_digest(fd, -1, disk_digest, NULL), 0);
    close(fd);
    SHELL("zstd -q disk.img -o d.zst && xz -0 -k -c disk.img >d.xz && gzip -1 -c disk.img >d.gz");
    SHELL("tar cf d.tar disk.img && tar cf d2.tar --sparse --format=posix ./disk.img && zstd -q "
          "d.tar -o d.tar.zst && "
          "gzip -1 -c d2.tar >d.tar.gz && xz -0 -k -c d.tar >d.tar.xz");
    SHELL("head -c 3M disk.img | zstd -q >multi.zst && tail -c 3M disk.img | zstd -q >>multi.zst");
    SHELL("head -c 3M disk.img | gzip -1 >multi.gz && tail -c 3M disk.img | gzip -1 >>multi.gz");
    SHELL("head -c 3M disk.img | xz -0 >multi.xz && tail -c 3M disk.img | xz -0 >>multi.xz");
    if (have_tool("qemu-img"))
        SHELL("qemu-img convert -O qcow2 disk.img d.qcow2 && qemu-img convert -c -O qcow2 disk.img "
              "c.qcow2 && "
              "zstd -q d.qcow2 -o d.qcow2.zst && "
              "qemu-img create -q -f qcow2 -F raw -b disk.img backed.qcow2 && "
              "qemu-img create -q -f qcow2 -o data_file=data.raw df.qcow2 1M");
    /* qemu-img times its key derivation, and gives up where the clock of the CPU shows no time. */
    SHELL("for try in $(seq 20); do qemu-img create -q -f qcow2 --object secret,id=s,data=x -o "
          "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=$((try * 20)) enc.qcow2 1M "
          "&& exit 0; done; exit 1");
}

typedef struct Given {
    const char *sha256;
    uint64_t max_bytes;
    int fd; /* -1: by path */
} Given;

static int extract(const char *path, Given given, ExtractResult *result, Error *error) {
    _cleanup_close_ int fd = given.fd > 0 ? dup(given.fd) : open_read(path), out = open_new("out");
    _cleanup_(extract_source_free_p) ExtractSource *source = NULL;
    ExtractOptions options = {.output_fd = out,
                              .scratch_folder = scratch_path,
                              .expected_sha256 = given.sha256,
                              .max_bytes = given.max_bytes,
                              .cancel_fd = -1};
    int r = extract_source_new(fd, -1, &source, error);
    options.source = source;
    return r < 0 ? r : extract_disk(&options, result, error);
}

static void check_extracts(const char *path, int fd) {
    ExtractResult result = {0};
    _cleanup_error_ Error error = ERROR_INIT;
    if (extract(path, (Given){.fd = fd}, &result, &error) < 0) {
        fprintf(stderr, "%s: %s\n", path, error_message(&error));
        CHECK(false);
    }
    SHELL("cmp disk.img out");
    CHECK_STR(result.digest, disk_digest);
    CHECK_STR(result.source_sha256, ""); /* nobody asked for it */
    CHECK_INT(result.virtual_bytes, 6 << 20);
    CHECK(file_stored("out") <= 1280 * KIB + 256 * KIB);
}

static void test_formats(void) {
    static const char *const PATHS[] = {"disk.img", "d.zst",     "d.xz",      "d.gz",
                                        "d.tar",    "d2.tar",    "d.tar.zst", "d.tar.gz",
                                        "d.tar.xz", "multi.zst", "multi.gz",  "multi.xz"};
    for (size_t i = 0; i < ARRAY_SIZE(PATHS); i++)
        check_extracts(PATHS[i], -1);
}

static void test_pipes(void) {
    static const char *const PATHS[] = {"disk.img", "d.zst", "d.tar.xz", "d.qcow2"};
    for (size_t i = 0; i < ARRAY_SIZE(PATHS); i++) {
        char command[64];
        if (access(PATHS[i], F_OK) < 0)
            continue;
        snprintf(command, sizeof(command), "cat %s", PATHS[i]);
        FILE *pipe = popen(command, "re"); /* NOLINT(cert-env33-c) */
        CHECK(pipe);
        check_extracts(PATHS[i], fileno(pipe));
        pclose(pipe);
    }
}

static void test_qcow2(void) {
    if (!have_tool("qemu-img"))
        return;
    check_extracts("d.qcow2", -1);
    check_extracts("c.qcow2", -1);
    check_extracts("d.qcow2.zst", -1);
}

static void refused(const char *path, Given given, ErrorKind kind, const char *part) {
    ExtractResult result = {0};
    _cleanup_error_ Error error = ERROR_INIT;
    int r = extract(path, given, &result, &error);
    if (r >= 0 || error.kind != kind || !strstr(error_message(&error), part)) {
        fprintf(stderr, "%s: %d, kind %d: %s\n", path, r, (int)error.kind, error_message(&error));
        CHECK(false);
    }
    CHECK_INT(result.virtual_bytes, 0);
}

static void test_qcow2_refusals(void) {
    if (!have_tool("qemu-img"))
        return;
    refused("backed.qcow2", (Given){0}, ERROR_UNSUPPORTED, "backing file");
    refused("df.qcow2", (Given){0}, ERROR_UNSUPPORTED, "another file");
    refused("enc.qcow2", (Given){0}, ERROR_UNSUPPORTED, "encrypted");
    refused("d.qcow2", (Given){.max_bytes = 1 << 20}, ERROR_CORRUPT, "more than");
    SHELL("head -c 1M d.qcow2 >short.qcow2");
    refused("short.qcow2", (Given){0}, ERROR_CORRUPT, "qcow2");
    SHELL("head -c 50 d.qcow2 >short.qcow2");
    refused("short.qcow2", (Given){0}, ERROR_CORRUPT, "truncated");
}

static void test_truncated(void) {
    static const char *const PATHS[] = {"d.zst",    "d.xz",     "d.gz",  "d.tar.zst",
                                        "d.tar.xz", "d.tar.gz", "d.tar", "multi.zst"};
    static const char *const CUTS[] = {"$((s - 3))", "$((s / 2))", "$((s / 2 + 512))", "700"};
    for (size_t i = 0; i < ARRAY_SIZE(PATHS); i++)
        for (size_t j = 0; j < ARRAY_SIZE(CUTS); j++) {
            if (strcmp(PATHS[i], "d.tar") == 0 && j == 0)
                continue; /* only the padding behind the end mark is cut */
            SHELL("s=$(stat -c %%s %s); head -c %s %s >cut", PATHS[i], CUTS[j], PATHS[i]);
            refused("cut", (Given){0}, ERROR_CORRUPT, "");
        }
}

static void test_damaged(void) {
    static const char *const PATHS[] = {"d.zst", "d.xz", "d.gz", "d.tar.zst"};
    for (size_t i = 0; i < ARRAY_SIZE(PATHS); i++) {
        SHELL("cp %s bad; printf '\\125\\252\\125\\252\\125\\252' | "
              "dd of=bad bs=1 seek=$(($(stat -c %%s bad) / 2)) conv=notrunc status=none",
              PATHS[i]);
        refused("bad", (Given){0}, ERROR_CORRUPT, "");
        SHELL("cp %s bad; echo 'trailing garbage, quite some of it' >>bad", PATHS[i]);
        refused("bad", (Given){0}, ERROR_CORRUPT, "garbage");
    }
    SHELL(": >empty; head -c 1000 disk.img >odd; zstd -q -f empty -o empty.zst; head -c 4096 "
          "disk.img | bzip2 -c >b.bz2 || "
          "printf BZh91 >b.bz2; gzip -c d.zst >twice.gz");
    refused("empty", (Given){0}, ERROR_CORRUPT, "empty");
    refused("empty.zst", (Given){0}, ERROR_CORRUPT, "empty");
    refused("odd", (Given){0}, ERROR_CORRUPT, "512");
    refused("b.bz2", (Given){0}, ERROR_UNSUPPORTED, "bzip2");
    refused("twice.gz", (Given){0}, ERROR_UNSUPPORTED, "twice");
}

static void test_digest(void) {
    char zeroes[SHA256_HEX_SIZE], prefixed[80];
    ExtractResult result;
    memset(zeroes, '0', 64);
    zeroes[64] = '\0';
    refused("d.zst", (Given){.sha256 = zeroes}, ERROR_CORRUPT, "wrong digest");
    refused("disk.img", (Given){.sha256 = zeroes}, ERROR_CORRUPT, "wrong digest");
    refused("d.zst", (Given){.sha256 = "abc"}, ERROR_USAGE, "64");
    snprintf(prefixed, sizeof(prefixed), "sha256:%s", disk_sha256);
    for (char *p = prefixed + 7; *p; p++)
        *p = *p >= 'a' ? (char)(*p - 32) : *p;
    CHECK_INT(extract("disk.img", (Given){.sha256 = prefixed}, &result, NULL), 0);
    CHECK_STR(result.source_sha256, disk_sha256);
}

static void test_bomb(void) {
    SHELL("head -c 128M /dev/zero | zstd -q >bomb.zst; tar cf second.tar disk.img; tar rf "
          "second.tar disk.img; mkdir "
          "-p r && "
          "echo x >r/x && tar cf rootfs.tar -C r .");
    refused("bomb.zst", (Given){.max_bytes = 64 << 20}, ERROR_CORRUPT, "larger than");
    refused("d.tar", (Given){.max_bytes = 1 << 20}, ERROR_CORRUPT, "larger than");
    refused("second.tar", (Given){0}, ERROR_CORRUPT, "more than one");
    refused("rootfs.tar", (Given){0}, ERROR_USAGE, "root file system");
}

static void test_sniff(void) {
    static const struct {
        const char *path, *kind, *compression;
    } KNOWN[] = {{"disk.img", "raw", "none"},       {"d.gz", "raw", "gzip"},
                 {"d.tar", "tar-disk", "none"},     {"d2.tar", "tar-disk", "none"},
                 {"d.tar.zst", "tar-disk", "zstd"}, {"rootfs.tar", "tar-rootfs", "none"},
                 {"d.qcow2.zst", "qcow2", "zstd"}};
    ExtractKind kind;
    ExtractCompression compression;

    for (size_t i = 0; i < ARRAY_SIZE(KNOWN); i++) {
        if (access(KNOWN[i].path, F_OK) < 0)
            continue;
        _cleanup_close_ int fd = open_read(KNOWN[i].path);
        CHECK_INT(extract_sniff(fd, &kind, &compression, NULL), 0);
        CHECK_STR(extract_kind_name(kind), KNOWN[i].kind);
        CHECK_STR(extract_compression_name(compression), KNOWN[i].compression);
        CHECK_INT(lseek(fd, 0, SEEK_CUR), 0);
    }
}

static void test_cancel(void) {
    _cleanup_(extract_source_free_p) ExtractSource *source = NULL;
    _cleanup_error_ Error error = ERROR_INIT;
    int data[2], cancel[2];
    CHECK_INT(pipe2(data, O_CLOEXEC), 0);
    CHECK_INT(pipe2(cancel, O_CLOEXEC), 0);
    close(cancel[1]); /* hung up: whoever asked has gone */
    CHECK(extract_source_new(data[0], cancel[0], &source, &error) < 0);
    CHECK_INT(error.kind, ERROR_CANCELLED);
    close(data[0]);
    close(data[1]);
    close(cancel[0]);
}

static void test_probe_content(void) {
    _cleanup_close_ int fd = open_read("disk.img"), ext4 = -1;
    BaseContent content;
    CHECK_INT(base_probe_content(fd, &content, NULL), 0);
    CHECK_STR(base_content_name(content), "unknown");
    if (!have_tool("mke2fs"))
        return;
    SHELL("truncate -s 8M e && mke2fs -q -F -t ext4 e");
    ext4 = open_read("e");
    CHECK_INT(base_probe_content(ext4, &content, NULL), 0);
    CHECK_STR(base_content_name(content), "ext4");
}

/* ---- a full disk ---- */

static void check_full(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_close_ int fd = open_read("big.zst"), out = open_new("small/out");
    _cleanup_(extract_source_free_p) ExtractSource *source = NULL;
    ExtractOptions options = {
        .source = NULL, .output_fd = out, .scratch_folder = "small", .cancel_fd = -1};
    ExtractResult result;
    CHECK_INT(extract_source_new(fd, -1, &source, NULL), 0);
    options.source = source;
    CHECK(extract_disk(&options, &result, &error) < 0);
    CHECK_INT(error.kind, ERROR_NO_SPACE);
    CHECK(error.hint);
    CHECK_INT(unlink("small/out"), 0);
}

/* A small ext4 on a loop device, or a tmpfs where there is none. */
static bool mount_small(void) {
    if (geteuid() != 0)
        return false;
    SHELL("mkdir small && truncate -s 12M small.ext4");
    if (have_tool("mke2fs") &&
        shell_status(
            "mke2fs -q -F -t ext4 small.ext4 && mount -o loop small.ext4 small 2>/dev/null") == 0)
        return true;
    return mount("none", "small", "tmpfs", 0, "size=8m") == 0;
}

static void check_rootfs_full(void) {
    RootfsOptions options = {
        .output_path = "small/out", .scratch_folder = scratch_path, .cancel_fd = -1};
    _cleanup_error_ Error error = ERROR_INIT;
    RootfsResult result;
    if (!have_tool("mke2fs"))
        return;
    SHELL(
        "mkdir -p tree && cp disk.img tree/a && head -c 20M /dev/urandom >tree/b && : >small/out");
    CHECK(rootfs_folder_to_ext4("tree", &options, &result, &error) < 0);
    CHECK_INT(error.kind, ERROR_NO_SPACE);
    CHECK_INT(unlink("small/out"), 0);
}

static uint64_t free_small(void) {
    struct statvfs status;
    SHELL("sync -f small");
    CHECK_INT(statvfs("small", &status), 0);
    return status.f_bfree;
}

static void test_full_disk(void) {
    uint64_t free_before;
    if (!mount_small()) {
        printf("not root: the full disk is not tried\n");
        return;
    }
    SHELL("head -c 32M /dev/urandom | zstd -q >big.zst");
    free_before = free_small();
    check_full();
    check_rootfs_full();
    CHECK_INT(free_small(), free_before);
    SHELL("umount small");
}

int main(void) {
    if (!have_tool("zstd") || !have_tool("xz"))
        SKIP("zstd and xz are needed to make what is extracted");
    scratch_enter();
    make_files();
    RUN(test_formats);
    RUN(test_pipes);
    RUN(test_qcow2);
    RUN(test_qcow2_refusals);
    RUN(test_truncated);
    RUN(test_damaged);
    RUN(test_digest);
    RUN(test_bomb);
    RUN(test_sniff);
    RUN(test_cancel);
    RUN(test_probe_content);
    RUN(test_full_disk);
    return 0;
}
