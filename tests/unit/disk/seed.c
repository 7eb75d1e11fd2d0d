/* SPDX-License-Identifier: Apache-2.0 */
#include "disk/rootfs/seed.h"

#include <errno.h>
#include <string.h>
#include <sys/xattr.h>

#include "disk/rootfs/seed_walk.h"
#include "scratch.h"

static int build(const char *folder, const char *output, SeedResult *result, Error *error) {
    _cleanup_free_ char *path = str_format("%s/%s", scratch_path, folder);
    SeedBuild request = {.folder = path, .output_path = output, .cancel_fd = -1};
    close(open_new(output));
    return seed_from_folder(&request, result, error);
}

static void build_well(const char *folder, const char *output, SeedResult *result) {
    _cleanup_error_ Error error = ERROR_INIT;
    if (build(folder, output, result, &error) < 0) {
        fprintf(stderr, "%s\n", error_message(&error));
        CHECK(false);
    }
}

#define DEBUGFS(command, pattern) \
    SHELL("debugfs -R '%s' a.ext4 2>/dev/null | grep -q -e '%s'", command, pattern)

static void test_as_it_is(void) {
    SeedResult result;
    SHELL("mkdir -p home/.ssh home/empty && echo hello >home/a && chmod 0640 home/a && "
          "ln home/a home/b && ln -s ../x home/link && chmod 0700 home/.ssh && mkfifo home/fifo && "
          "truncate -s 3M home/sparse && chmod 1750 home && "
          "touch -d '2100-01-02 03:04:05.123456789 UTC' home/a && printf x >'home/na\303\257ve "
          "name'");
    build_well("home", "a.ext4", &result);
    SHELL("e2fsck -fn a.ext4 >/dev/null 2>&1");
    DEBUGFS("stat /a", "Mode: *0640");
    DEBUGFS("stat /a", "Links: 2");
    DEBUGFS("stat /a", "mtime: 0x.*:1d6f3455"); /* 123456789 ns, and bit 0 of the epoch */
    DEBUGFS("stat /.ssh", "Mode: *0700");
    DEBUGFS("stat /link", "../x");
    DEBUGFS("stat /fifo", "Type: FIFO");
    DEBUGFS("stat <2>", "Mode: *01750");
    DEBUGFS("ls /", "na.*ve name");
    CHECK_INT(file_size("a.ext4"), result.virtual_bytes);
    CHECK_INT(result.sockets, 0);
    CHECK(file_stored("a.ext4") < 16 * MIB);
}

/* Reading a file changes when it was last read; the seed stays the same. */
static void test_same_bytes(void) {
    SeedResult result;
    build_well("home", "b.ext4", &result);
    SHELL("cat home/a >/dev/null; touch -a home/a");
    build_well("home", "c.ext4", &result);
    SAME_DISK("a.ext4", "b.ext4");
    SAME_DISK("b.ext4", "c.ext4");
    SHELL("echo more >>home/a");
    build_well("home", "c.ext4", &result);
    CHECK(shell_status("cmp -s b.ext4 c.ext4") != 0);
}

static void set_colour(const char *path, const char *name, const char *value) {
    if (setxattr(path, name, value, strlen(value), 0) < 0)
        CHECK(errno == ENOTSUP); /* then both have none */
}

/* A file system lists them in the order in which they came. */
static void test_order_of_attributes(void) {
    SeedResult result;
    SHELL("mkdir -p one two && touch -d @1000 one/f two/f");
    set_colour("one/f", "user.b", "blue");
    set_colour("one/f", "user.a", "amber");
    set_colour("two/f", "user.a", "amber");
    set_colour("two/f", "user.b", "blue");
    SHELL("touch -d @1000 one two");
    build_well("one", "a.ext4", &result);
    build_well("two", "b.ext4", &result);
    SHELL("e2fsck -fn a.ext4 >/dev/null 2>&1");
    SHELL("cmp a.ext4 b.ext4");
    if (getxattr("one/f", "user.a", NULL, 0) > 0)
        DEBUGFS("ea_get /f user.b", "blue");
}

/* e2fsck(8) finds its folder where the copied one has it, and else makes it. */
static void test_lost_and_found(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    SeedResult result;
    SHELL("mkdir -p plain found/lost+found && echo x >found/lost+found/piece && mkdir other && "
          "echo x >other/lost+found");
    build_well("plain", "a.ext4", &result);
    SHELL("e2fsck -fn a.ext4 >/dev/null 2>&1");
    SHELL("! debugfs -R 'ls /' a.ext4 2>/dev/null | grep -q lost");
    build_well("found", "a.ext4", &result);
    SHELL("e2fsck -fn a.ext4 >/dev/null 2>&1");
    DEBUGFS("ls /lost+found", "piece");
    CHECK(build("other", "a.ext4", &result, &error) < 0);
    CHECK_INT(error.kind, ERROR_USAGE);
    CHECK(strstr(error_message(&error), "lost+found is no folder"));
    error_clear(&error);
    close(open_new("a.ext4"));
    CHECK(seed_make_empty("a.ext4", 16 * MIB, "volume", -1, &error) == 0);
    SHELL("e2fsck -fn a.ext4 >/dev/null 2>&1");
    SHELL("! debugfs -R 'ls /' a.ext4 2>/dev/null | grep -q lost");
}

static void test_empty(void) {
    SeedResult result;
    SHELL("mkdir -p nothing");
    build_well("nothing", "c.ext4", &result);
    CHECK_INT(result.entries, 0);
    SHELL("e2fsck -fn c.ext4 >/dev/null 2>&1");
}

static int compare_after(const char *change, Error *error) {
    _cleanup_seed_walk_ SeedWalk walk = {0};
    _cleanup_free_ char *path = str_format("%s/live", scratch_path);
    SHELL("rm -rf live && mkdir -p live/sub && echo one >live/sub/file");
    CHECK(seed_walk(path, &walk, error) == 0);
    SHELL("%s", change);
    return seed_walk_compare(path, &walk, error);
}

static void test_changes(void) {
    static const char *const changes[] = {"echo more >>live/sub/file", "rm live/sub/file",
                                          "touch live/sub/new",        "chmod 0600 live/sub/file",
                                          "mv live/sub live/other",    "rm -rf live"};
    _cleanup_error_ Error fine = ERROR_INIT;
    CHECK_INT(compare_after("cat live/sub/file >/dev/null", &fine), 0);
    for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
        _cleanup_error_ Error error = ERROR_INIT;
        CHECK(compare_after(changes[i], &error) < 0);
        CHECK_INT(error.kind, ERROR_CONFLICT);
    }
}

static void test_too_small(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_free_ char *path = str_format("%s/large", scratch_path);
    SeedResult result;
    SeedBuild request = {
        .folder = path, .output_path = "d.ext4", .size_bytes = 4 * MIB, .cancel_fd = -1};
    SHELL("mkdir large && head -c 8M /dev/urandom >large/file");
    close(open_new("d.ext4"));
    CHECK(seed_from_folder(&request, &result, &error) < 0);
    CHECK_INT(error.kind, ERROR_NO_SPACE);
}

int main(void) {
    scratch_enter();
    if (!have_tool("mke2fs") || !have_tool("debugfs")) {
        fprintf(stderr, "skipped: e2fsprogs is not installed\n");
        return 77;
    }
    test_as_it_is();
    test_same_bytes();
    test_order_of_attributes();
    test_lost_and_found();
    test_empty();
    test_changes();
    test_too_small();
    return 0;
}
