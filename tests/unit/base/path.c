/* SPDX-License-Identifier: Apache-2.0 */
#include "base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "scratch.h"

static void check_join(char *joined, const char *expected) {
    CHECK_STR(joined, expected);
    free(joined);
}

static void join(void) {
    check_join(path_join("a"), "a");
    check_join(path_join("/a", "b", "c"), "/a/b/c");
    check_join(path_join("/a/", "/b"), "/a/b");
    check_join(path_join("/", "b"), "/b");
    check_join(path_join("", "b"), "b");
}

static void names(void) {
    char name[65];
    memset(name, 'a', 64);
    name[64] = '\0';
    CHECK(!name_is_valid(name));
    CHECK(name_is_valid(name + 1));
    CHECK(name_is_valid("0web_1.a-b"));
    static const char *const bad[] = {"",  ".",   "..",  "-a",  "_a",
                                      "A", "a/b", "a b", "a\n", "\xc3\xa4"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        CHECK(!name_is_valid(bad[i]));
    _cleanup_error_ Error error = ERROR_INIT;
    CHECK_INT(name_check("VM", "web1", &error), 0);
    CHECK_INT(name_check("VM", "\x1b[2J", &error), -EINVAL);
    CHECK_INT(error.kind, ERROR_USAGE);
    CHECK_CONTAINS(error.message, "'?[2J' is not a valid VM name");
    CHECK_INT(name_check("name", "A", &error), -EINVAL);
    CHECK_CONTAINS(error.message, "'A' is not a valid name: ");
}

static void names_of_labs(void) {
    static const char *const good[] = {"web", "lab/web", "a/b.c"};
    static const char *const bad[] = {"",        "/",        "lab/", "/web", "a/b/c",
                                      "Lab/web", "lab/../x", "a//b", "0/_"};
    for (size_t i = 0; i < ARRAY_SIZE(good); i++)
        CHECK_INT(name_check_existing("VM", good[i], NULL), 0);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        CHECK_INT(name_check_existing("VM", bad[i], NULL), -EINVAL);
    CHECK_STR(name_within_lab("lab/web"), "web");
    CHECK_STR(name_within_lab("web"), "web");
}

static void make_folders(void) {
    _cleanup_scratch_ char *folder = scratch_new();
    _cleanup_free_ char *deep = path_join(folder, "a", "b", "c/");
    _cleanup_free_ char *file = path_join(folder, "file");
    _cleanup_free_ char *below = path_join(file, "x");
    struct stat info;
    CHECK_INT(path_make_folders(deep, 0700), 0);
    CHECK_INT(stat(deep, &info), 0);
    CHECK_INT(info.st_mode & 07777, 0700);
    CHECK_INT(path_make_folders(deep, 0755), 0);
    CHECK_INT(path_make_folders("/", 0755), 0);
    fd_close(open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    CHECK_INT(path_make_folders(file, 0700), -ENOTDIR);
    CHECK_INT(path_make_folders(below, 0700), -ENOTDIR);
}

static void remove_does_not_follow_links(void) {
    _cleanup_scratch_ char *folder = scratch_new();
    _cleanup_free_ char *tree = path_join(folder, "tree");
    _cleanup_free_ char *deep = path_join(tree, "a", "b");
    _cleanup_free_ char *locked = path_join(tree, "locked");
    _cleanup_free_ char *link = path_join(deep, "link");
    _cleanup_free_ char *kept = path_join(folder, "kept");
    CHECK_INT(path_make_folders(deep, 0700), 0);
    CHECK_INT(path_make_folders(kept, 0700), 0);
    CHECK_INT(path_make_folders(locked, 0700), 0);
    CHECK_INT(chmod(locked, 0), 0);
    CHECK_INT(symlink(kept, link), 0);
    _cleanup_close_ int dir_fd = open(folder, O_PATH | O_CLOEXEC);
    CHECK_INT(path_remove_tree_at(dir_fd, "tree"), 0);
    CHECK_INT(access(tree, F_OK), -1);
    CHECK_INT(access(kept, F_OK), 0);
    CHECK_INT(path_remove_tree_at(dir_fd, "tree"), 0); /* absent */
    CHECK_INT(path_remove_tree("/proc/self/no-such/x"), 0);
    CHECK_INT(symlinkat("kept", dir_fd, "link"), 0);
    CHECK_INT(path_remove_tree_at(dir_fd, "link"), 0);
    CHECK_INT(access(kept, F_OK), 0);
}

static void remove_bounds_the_depth(void) {
    _cleanup_scratch_ char *folder = scratch_new();
    int fd = open(folder, O_PATH | O_CLOEXEC);
    for (int i = 0; i < 300; i++) {
        CHECK_INT(mkdirat(fd, "d", 0700), 0);
        int next = openat(fd, "d", O_PATH | O_CLOEXEC);
        fd_close(fd);
        fd = next;
    }
    fd_close(fd);
    CHECK_INT(path_remove_tree(folder), -ELOOP);
    _cleanup_free_ char *half = str_copy(folder);
    for (int i = 0; i < 100; i++) {
        char *longer = path_join(half, "d");
        free(half);
        half = longer;
    }
    CHECK_INT(path_remove_tree(half), 0);
}

static void write_atomic_replaces(void) {
    _cleanup_scratch_ char *folder = scratch_new();
    _cleanup_close_ int dir_fd = open(folder, O_PATH | O_CLOEXEC);
    _cleanup_free_ char *data = NULL;
    struct stat info;
    CHECK_INT(path_write_atomic_at(dir_fd, "file", "old content", 11, 0600), 0);
    CHECK_INT(path_write_atomic_at(dir_fd, "file", "new", 3, 0644), 0);
    CHECK_INT(fd_read_file_at(dir_fd, "file", 100, &data, NULL), 0);
    CHECK_STR(data, "new");
    CHECK_INT(fstatat(dir_fd, "file", &info, 0), 0);
    CHECK_INT(info.st_mode & 07777, 0644);
    CHECK_INT(mkdirat(dir_fd, "folder", 0700), 0);
    CHECK_INT(path_write_atomic_at(dir_fd, "folder", "x", 1, 0644), -EISDIR);
    CHECK_INT(path_write_atomic_at(dir_fd, "a/b", "x", 1, 0644), -EINVAL);
    CHECK_INT(unlinkat(dir_fd, "file", 0), 0);
    CHECK_INT(unlinkat(dir_fd, "folder", AT_REMOVEDIR), 0);
    CHECK_INT(rmdir(folder), 0); /* no scratch file is left */
    CHECK_INT(mkdir(folder, 0700), 0);
    CHECK_INT(path_sync_folder(folder), 0);
    CHECK_INT(path_sync_folder("/nonexistent"), -ENOENT);
}

static void programs_are_found(void) {
    _cleanup_free_ char *shell = path_find_program("sh");
    CHECK(shell && shell[0] == '/' && str_has_suffix(shell, "/sh"));
    _cleanup_free_ char *same = path_find_program(shell);
    CHECK_STR(same, shell);
    CHECK(!path_find_program("no-such-program"));
    CHECK(!path_find_program("/etc/passwd"));
    CHECK(!path_find_program("/etc"));
    _cleanup_free_ char *sibling = path_find_sibling("test-base-path");
    CHECK(sibling && str_has_suffix(sibling, "/test-base-path"));
    CHECK(!path_find_sibling("no-such-program"));
}

/* A user's PATH on Debian has no sbin folder; what a program starts is found there all the same. */
static void system_folders_are_added(void) {
    CHECK_INT(setenv("PATH", "/usr/bin:/sbin:/bin", 1), 0);
    path_add_system_folders();
    CHECK_STR(getenv("PATH"), "/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/sbin");
    path_add_system_folders();
    CHECK_STR(getenv("PATH"), "/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/sbin");
    CHECK_INT(setenv("PATH", "/usr/sbin/x", 1), 0);
    path_add_system_folders();
    CHECK_STR(getenv("PATH"), "/usr/sbin/x:/usr/local/sbin:/usr/sbin:/sbin");
    CHECK_INT(unsetenv("PATH"), 0);
    path_add_system_folders();
    CHECK_STR(getenv("PATH"), "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin");
}

int main(void) {
    RUN(join);
    RUN(names);
    RUN(names_of_labs);
    RUN(make_folders);
    RUN(remove_does_not_follow_links);
    RUN(remove_bounds_the_depth);
    RUN(write_atomic_replaces);
    RUN(programs_are_found);
    RUN(system_folders_are_added);
    return 0;
}
