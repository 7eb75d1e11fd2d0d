/* SPDX-License-Identifier: Apache-2.0 */
#include <archive.h>
#include <archive_entry.h>

#include "disk/rootfs/rootfs.h"
#include "scratch.h"

static int convert(const char *tar, uint64_t max_bytes, uint64_t max_entries, RootfsResult *result,
                   Error *error) {
    _cleanup_close_ int fd = open_read(tar);
    _cleanup_(extract_source_free_p) ExtractSource *source = NULL;
    RootfsOptions options = {.output_path = "out.ext4",
                             .scratch_folder = "tmp",
                             .max_bytes = max_bytes,
                             .max_entries = max_entries,
                             .cancel_fd = -1};
    int r = extract_source_new(fd, -1, &source, error);
    close(open_new("out.ext4"));
    return r < 0 ? r : rootfs_tar_to_ext4(source, &options, result, error);
}

#define DEBUGFS(command, pattern) \
    SHELL("debugfs -R '%s' out.ext4 2>/dev/null | grep -q -e '%s'", command, pattern)

/* ---- whole ones ---- */

static void test_tar(void) {
    RootfsResult result;
    _cleanup_error_ Error error = ERROR_INIT;
    SHELL("mkdir -p r/etc r/bin r/usr/lib && echo hello >r/etc/motd && chmod 0640 r/etc/motd && "
          "ln -s /bin/true r/bin/sh && ln r/etc/motd r/etc/motd2 && ln -s ../usr/lib r/etc/lib && "
          "truncate -s 3M r/sparse && printf x >>r/sparse && printf 'na\303\257ve' "
          ">'r/na\303\257ve' && chmod 1777 r/usr && "
          "mkfifo r/fifo");
    SHELL("tar cf good.tar --format=posix --sparse --owner=12:12 --group=34:34 --numeric-owner -C "
          "r . && zstd -q good.tar");
    if (convert("good.tar.zst", 0, 0, &result, &error) < 0) {
        fprintf(stderr, "%s\n", error_message(&error));
        CHECK(false);
    }
    SHELL("e2fsck -fn out.ext4 >/dev/null 2>&1");
    DEBUGFS("stat /etc/motd", "User: *12 *Group: *34");
    DEBUGFS("stat /etc/motd", "Mode: *0640");
    DEBUGFS("stat /etc/motd", "Links: 2");
    DEBUGFS("stat /usr", "Mode: *01777");
    DEBUGFS("stat /bin/sh", "/bin/true");
    DEBUGFS("stat /fifo", "Type: FIFO");
    DEBUGFS("cat /etc/motd2", "hello");
    DEBUGFS("ls /", "na.*ve");
    DEBUGFS("stat /sparse", "Size: 3145729");
    CHECK(folder_is_empty("tmp"));
    CHECK_INT(file_size("out.ext4"), result.virtual_bytes);
    CHECK(file_stored("out.ext4") < 16 * MIB);
}

static void test_folder(void) {
    RootfsOptions options = {.output_path = "out.ext4",
                             .scratch_folder = "tmp",
                             .uuid = "12345678-1234-4234-8234-123456789abc",
                             .epoch_sec = 1700000000,
                             .size_bytes = 96 * MIB,
                             .cancel_fd = -1};
    RootfsResult result;
    CHECK_INT(rootfs_folder_to_ext4("r", &options, &result, NULL), 0);
    CHECK_INT(result.virtual_bytes, 96 * MIB);
    SHELL("e2fsck -fn out.ext4 >/dev/null 2>&1 && cp --sparse=always out.ext4 first.ext4");
    SHELL("touch -m r/etc && chmod 0641 r/etc/motd && chmod 0640 r/etc/motd"); /* other change times
                                                                                */
    CHECK_INT(rootfs_folder_to_ext4("r", &options, &result, NULL), 0);
    SHELL("cmp out.ext4 first.ext4");
}

static void test_too_small(void) {
    RootfsOptions options = {
        .output_path = "out.ext4", .scratch_folder = "tmp", .size_bytes = 8 * MIB, .cancel_fd = -1};
    _cleanup_error_ Error error = ERROR_INIT;
    RootfsResult result;
    SHELL("mkdir -p big && head -c 16M /dev/urandom >big/f");
    CHECK(rootfs_folder_to_ext4("big", &options, &result, &error) < 0);
    CHECK_INT(error.kind, ERROR_NO_SPACE);
    CHECK(error.hint);
    SHELL("mkdir -p none");
    CHECK(rootfs_folder_to_ext4("none", &options, &result, &error) < 0);
    CHECK_CONTAINS(error_message(&error), "empty");
}

/* ---- hostile ones ---- */

typedef struct Item {
    const char *name, *link;
    unsigned type; /* AE_IF…; 0: hard link */
    uint64_t size;
} Item;

static void write_tar(const char *path, const Item *items, size_t count) {
    struct archive *archive = archive_write_new();
    archive_write_set_format_pax_restricted(archive);
    CHECK_INT(archive_write_open_filename(archive, path), ARCHIVE_OK);
    for (size_t i = 0; i < count; i++) {
        struct archive_entry *entry = archive_entry_new();
        archive_entry_set_pathname(entry, items[i].name);
        archive_entry_set_filetype(entry, items[i].type ? items[i].type : AE_IFREG);
        archive_entry_set_perm(entry, 0755);
        archive_entry_set_size(entry, (la_int64_t)items[i].size);
        if (items[i].type == AE_IFLNK)
            archive_entry_set_symlink(entry, items[i].link);
        else if (items[i].link)
            archive_entry_set_hardlink(entry, items[i].link);
        CHECK_INT(archive_write_header(archive, entry), ARCHIVE_OK);
        for (uint64_t done = 0; done < items[i].size; done += 1024)
            CHECK(archive_write_data(archive, (char[1024]){"x"}, 1024) == 1024);
        archive_entry_free(entry);
    }
    CHECK_INT(archive_write_close(archive), ARCHIVE_OK);
    archive_write_free(archive);
}

static void refused(const Item *items, size_t count, const char *part) {
    _cleanup_error_ Error error = ERROR_INIT;
    RootfsResult result;
    int r;
    write_tar("bad.tar", items, count);
    r = convert("bad.tar", 1 << 20, 50, &result, &error);
    if (r >= 0 || error.kind != ERROR_CORRUPT || !strstr(error_message(&error), part)) {
        fprintf(stderr, "%s: %d, kind %d: %s\n", items[0].name, r, (int)error.kind,
                error_message(&error));
        CHECK(false);
    }
    CHECK(folder_is_empty("tmp"));
}

#define REFUSED(part, ...)                                                 \
    do {                                                                   \
        const Item items_[] = {{"ok", NULL, AE_IFREG, 1024}, __VA_ARGS__}; \
        refused(items_, ARRAY_SIZE(items_), part);                         \
    } while (0)

static void test_hostile(void) {
    REFUSED("entry ../x: ", {"../x", NULL, AE_IFREG, 1024});
    REFUSED("entry a/../../x: ", {"a/../../x", NULL, AE_IFREG, 1024});
    REFUSED("absolute", {"/tmp/x", NULL, AE_IFREG, 1024});
    REFUSED("leads out", {"out", "../../..", AE_IFLNK, 0});
    REFUSED("leads out", {"d/out", "../../etc", AE_IFLNK, 0});
    REFUSED("leads out", {"out", "/tmp", AE_IFLNK, 0}, {"out/x", NULL, AE_IFREG, 1024});
    REFUSED("leads out", {"out", "/tmp", AE_IFLNK, 0}, {"out/sub/x", NULL, AE_IFREG, 1024});
    REFUSED("leads out", {"hard", "../../etc/passwd", 0, 0});
    REFUSED("absolute", {"hard", "/etc/passwd", 0, 0});
    REFUSED("leads out", {"out", "/etc", AE_IFLNK, 0}, {"hard", "out/passwd", 0, 0});
    REFUSED("no file", {"hard", "missing", 0, 0});
    REFUSED("allowed", {"bomb", NULL, AE_IFREG, 2 << 20});
    REFUSED("replaces a folder", {"d", NULL, AE_IFDIR, 0}, {"d", NULL, AE_IFREG, 1024});
}

static void test_replaced_link(void) {
    const Item items[] = {{"x", "/etc/passwd", AE_IFLNK, 0},
                          {"x", NULL, AE_IFREG, 1024},
                          {"a", "b", AE_IFLNK, 0},
                          {"b/c", NULL, AE_IFREG, 1024},
                          {"a/d", NULL, AE_IFREG, 1024}};
    RootfsResult result;
    write_tar("replace.tar", items, ARRAY_SIZE(items));
    CHECK_INT(convert("replace.tar", 0, 0, &result, NULL), 0);
    DEBUGFS("stat /x", "Type: regular");
    DEBUGFS("stat /b/d", "Type: regular");
}

static void test_many_entries(void) {
    Item items[60];
    char names[60][16];
    for (int i = 0; i < 60; i++) {
        snprintf(names[i], sizeof(names[i]), "f%d", i);
        items[i] = (Item){names[i], NULL, AE_IFREG, 0};
    }
    refused(items, ARRAY_SIZE(items), "entries");
}

static void test_truncated(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    RootfsResult result;
    SHELL("head -c 9000 good.tar >cut.tar");
    CHECK(convert("cut.tar", 0, 0, &result, &error) < 0);
    CHECK_INT(error.kind, ERROR_CORRUPT);
    CHECK(folder_is_empty("tmp"));
}

int main(void) {
    if (!have_tool("mke2fs") || !have_tool("debugfs"))
        SKIP("e2fsprogs is not installed");
    if (geteuid() != 0 && !have_tool("fakeroot"))
        SKIP("neither root nor fakeroot");
    scratch_enter();
    CHECK_INT(mkdir("tmp", 0700), 0);
    RUN(test_tar);
    RUN(test_folder);
    RUN(test_too_small);
    RUN(test_hostile);
    RUN(test_replaced_link);
    RUN(test_many_entries);
    RUN(test_truncated);
    return 0;
}
