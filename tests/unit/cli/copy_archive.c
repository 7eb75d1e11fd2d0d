/* SPDX-License-Identifier: Apache-2.0 */
/* Archives there and back, and archives that a hostile guest might send. */
#include "cli/copy_archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "unit/base/scratch.h"

typedef struct Entry {
    const char *path;
    unsigned type;    /* AE_IF…; 0: a hard link */
    const char *text; /* content, or target of a link */
    unsigned mode;
} Entry;

#define FILE_ENTRY(path, text) \
    { path, AE_IFREG, text, 0644 }
#define FOLDER_ENTRY(path) \
    { path, AE_IFDIR, NULL, 0755 }
#define LINK_ENTRY(path, target) \
    { path, AE_IFLNK, target, 0777 }
#define HARD_ENTRY(path, target) \
    { path, 0, target, 0644 }
#define ENTRIES_MAX 6

static void put_file(const char *path, const char *text) {
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    CHECK_INT(fd_write_full(fd, text, strlen(text)), 0);
}

static void write_entry(struct archive *archive, const Entry *item) {
    struct archive_entry *entry = archive_entry_new();
    size_t size = item->type == AE_IFREG ? strlen(item->text) : 0;
    archive_entry_set_pathname(entry, item->path);
    archive_entry_set_filetype(entry, item->type ? item->type : AE_IFREG);
    archive_entry_set_perm(entry, item->mode);
    archive_entry_set_size(entry, (la_int64_t)size);
    if (item->type == 0)
        archive_entry_set_hardlink(entry, item->text);
    if (item->type == AE_IFLNK)
        archive_entry_set_symlink(entry, item->text);
    CHECK_INT(archive_write_header(archive, entry), ARCHIVE_OK);
    if (size > 0)
        CHECK_INT(archive_write_data(archive, item->text, size), size);
    archive_entry_free(entry);
}

/* The archive in a memory file, at its start. */
static int craft(const Entry *entries) {
    struct archive *archive = archive_write_new();
    int fd = memfd_create("archive", MFD_CLOEXEC);
    archive_write_set_format_pax(archive);
    CHECK_INT(archive_write_open_fd(archive, fd), ARCHIVE_OK);
    for (; entries->path; entries++)
        write_entry(archive, entries);
    CHECK_INT(archive_write_free(archive), ARCHIVE_OK);
    CHECK_INT(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

static const struct {
    const char *what;
    Entry entries[ENTRIES_MAX];
} hostile[] = {
    {"parent", {FOLDER_ENTRY("top"), FILE_ENTRY("top/../../outside/planted", "x")}},
    {"parent first", {FILE_ENTRY("../outside/planted", "x")}},
    {"dots only", {FOLDER_ENTRY("..")}},
    {"absolute", {FILE_ENTRY("/tmp/ramet-planted", "x")}},
    {"beside", {FOLDER_ENTRY("top"), FILE_ENTRY("other", "x")}},
    {"through a link",
     {FOLDER_ENTRY("top"), LINK_ENTRY("top/out", "../../outside"),
      FILE_ENTRY("top/out/planted", "x")}},
    {"through two links",
     {FOLDER_ENTRY("top"), LINK_ENTRY("top/a", ".."), LINK_ENTRY("top/b", "a/../outside"),
      FILE_ENTRY("top/b/planted", "x")}},
    {"top is a link", {LINK_ENTRY("top", "../outside"), FILE_ENTRY("top/planted", "x")}},
    {"hard link out", {FOLDER_ENTRY("top"), HARD_ENTRY("top/h", "../outside/secret")}},
    {"hard link absolute", {FOLDER_ENTRY("top"), HARD_ENTRY("top/h", "/etc/passwd")}},
    {"hard link through a link",
     {FOLDER_ENTRY("top"), LINK_ENTRY("top/out", "../../outside"),
      HARD_ENTRY("top/h", "top/out/secret")}},
};

/* in/ is the destination, outside/ must stay as it is. */
static void test_hostile(void) {
    for (size_t i = 0; i < ARRAY_SIZE(hostile); i++) {
        _cleanup_scratch_ char *folder = scratch_new();
        _cleanup_free_ char *in = path_join(folder, "in"), *outside = path_join(folder, "outside");
        _cleanup_free_ char *secret = path_join(outside, "secret"), *top = path_join(in, "top");
        _cleanup_free_ char *planted = path_join(outside, "planted");
        _cleanup_error_ Error error = ERROR_INIT;
        _cleanup_close_ int fd = craft(hostile[i].entries);
        struct stat st;
        CHECK_INT(path_make_folders(in, 0755), 0);
        CHECK_INT(path_make_folders(outside, 0755), 0);
        put_file(secret, "secret");
        printf("%s\n", hostile[i].what);
        CHECK(archive_extract(fd, in, 0, &error) < 0);
        CHECK(error_message(&error)[0]);
        CHECK(access(planted, F_OK) < 0);
        CHECK(lstat(top, &st) < 0 && errno == ENOENT); /* nothing half made stays */
        CHECK_INT(stat(secret, &st), 0);
        CHECK_INT(st.st_nlink, 1);
    }
    CHECK(access("/tmp/ramet-planted", F_OK) < 0);
}

static void test_special_and_set_id(void) {
    static const Entry entries[] = {FOLDER_ENTRY("top"),
                                    {"top/null", AE_IFCHR, NULL, 0666},
                                    {"top/su", AE_IFREG, "x", 06755},
                                    {NULL}};
    _cleanup_scratch_ char *folder = scratch_new();
    _cleanup_free_ char *device = path_join(folder, "mine/null"),
                        *su = path_join(folder, "mine/su");
    _cleanup_close_ int fd = craft(entries);
    _cleanup_free_ char *mine = path_join(folder, "mine");
    _cleanup_error_ Error error = ERROR_INIT;
    struct stat st;
    CHECK(archive_extract(fd, mine, 0, &error) < 0);
    CHECK_CONTAINS(error_message(&error),
                   "all but this was copied: top/null (a device), and 1 more");
    CHECK(lstat(device, &st) < 0);
    CHECK_INT(stat(su, &st), 0);
    CHECK_INT(st.st_mode & 07777, 0755);
}

static void test_damaged(void) {
    static const Entry entries[] = {FOLDER_ENTRY("top"), FILE_ENTRY("top/file", "content"), {NULL}};
    static const Entry none[] = {{NULL}};
    _cleanup_scratch_ char *folder = scratch_new();
    _cleanup_free_ char *top = path_join(folder, "top");
    _cleanup_error_ Error error = ERROR_INIT;
    for (off_t size = 0; size <= 1536; size += 512) {
        _cleanup_close_ int fd = craft(entries);
        CHECK_INT(ftruncate(fd, size + 3), 0);
        CHECK(archive_extract(fd, folder, 0, &error) < 0);
        CHECK_CONTAINS(error_message(&error), "the archive ends in the middle");
        CHECK(access(top, F_OK) < 0);
    }
    _cleanup_close_ int fd = craft(none), full = craft(entries);
    CHECK(archive_extract(fd, folder, 0, &error) < 0);
    CHECK_CONTAINS(error_message(&error), "the archive is empty");
    CHECK(archive_extract(full, "/no/such/x", 0, &error) < 0);
    CHECK_CONTAINS(error_message(&error), "/no/such");
}

static void make_tree(const char *source) {
    _cleanup_free_ char *sub = path_join(source, "sub"), *plain = path_join(source, "plain");
    _cleanup_free_ char *link = path_join(sub, "link"), *hard = path_join(sub, "hard");
    _cleanup_free_ char *sparse = path_join(source, "sparse");
    _cleanup_close_ int fd = -1;
    CHECK_INT(path_make_folders(sub, 0755), 0);
    put_file(plain, "text\n");
    CHECK_INT(chmod(plain, 0751), 0);
    CHECK_INT(symlink("../plain", link), 0);
    CHECK_INT(linkat(AT_FDCWD, plain, AT_FDCWD, hard, 0), 0);
    fd = open(sparse, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    CHECK_INT(ftruncate(fd, 64 * (off_t)MIB), 0);
    CHECK_INT(fd_pwrite_full(fd, "middle", 6, 32 * MIB), 0);
}

static void test_there_and_back(void) {
    _cleanup_scratch_ char *folder = scratch_new();
    _cleanup_free_ char *source = path_join(folder, "tree/"), *copy = path_join(folder, "copy");
    _cleanup_free_ char *plain = path_join(copy, "plain"), *sparse = path_join(copy, "sparse");
    _cleanup_free_ char *link = path_join(copy, "sub/link"), *text = NULL;
    _cleanup_close_ int fd = memfd_create("archive", MFD_CLOEXEC), sparse_fd = -1;
    char target[64] = "", middle[6];
    struct stat st;
    make_tree(source);
    CHECK_INT(archive_create(source, 0, fd, NULL), 0);
    CHECK_INT(fstat(fd, &st), 0);
    CHECK(st.st_size < (off_t)MIB); /* holes are not sent */
    CHECK_INT(lseek(fd, 0, SEEK_SET), 0);
    CHECK_INT(archive_extract(fd, copy, 0, NULL), 0);
    CHECK_INT(stat(plain, &st), 0);
    CHECK_INT(st.st_mode & 07777, 0751);
    CHECK_INT(st.st_nlink, 2);
    CHECK_INT(fd_read_file_at(AT_FDCWD, plain, 100, &text, NULL), 0);
    CHECK_STR(text, "text\n");
    CHECK_INT(readlink(link, target, sizeof(target) - 1), 8);
    CHECK_STR(target, "../plain");
    CHECK_INT(stat(sparse, &st), 0);
    CHECK_INT(st.st_size, 64 * MIB);
    CHECK(st.st_blocks * 512 < (off_t)MIB);
    sparse_fd = open(sparse, O_RDONLY | O_CLOEXEC);
    CHECK_INT(fd_pread_full(sparse_fd, middle, 6, 32 * MIB), 6);
    CHECK(memcmp(middle, "middle", 6) == 0);
}

static void test_kind_in_the_way(void) {
    static const Entry entries[] = {FOLDER_ENTRY("top"), {NULL}};
    _cleanup_scratch_ char *folder = scratch_new();
    _cleanup_free_ char *file = path_join(folder, "top"), *text = NULL;
    _cleanup_close_ int fd = craft(entries);
    _cleanup_error_ Error error = ERROR_INIT;
    put_file(file, "mine");
    CHECK(archive_extract(fd, folder, 0, &error) < 0);
    CHECK_CONTAINS(error_message(&error), "top: Not a directory");
    CHECK_INT(fd_read_file_at(AT_FDCWD, file, 100, &text, NULL), 0);
    CHECK_STR(text, "mine");
}

static void test_absent_source(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_close_ int fd = memfd_create("archive", MFD_CLOEXEC);
    CHECK(archive_create("/no/such", 0, fd, &error) < 0);
    CHECK_CONTAINS(error_message(&error), "/no/such");
}

int main(void) {
    RUN(test_hostile);
    RUN(test_special_and_set_id);
    RUN(test_damaged);
    RUN(test_there_and_back);
    RUN(test_kind_in_the_way);
    RUN(test_absent_source);
    return 0;
}
