/* SPDX-License-Identifier: Apache-2.0 */
/* Archives against GNU tar as the other side, and hostile ones made by hand. */
#include "agent/files/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "agent/files/tar.h"
#include "agent/files/tar_write.h"
#include "check.h"
#include "proto/agent.h"

static char folder[] = "/tmp/ramet-copy-test-XXXXXX";

static bool shell(const char *format, const char *argument) {
    char command[2048];
    (void)snprintf(command, sizeof(command), format, argument);
    return system(command) == 0;
}

static Result copy_in(int fd, const char *path, uint64_t flags) {
    Result result = {0};
    CHECK(lseek(fd, 0, SEEK_SET) == 0);
    copy_in_worker(&(CopyRequest){.path = path, .flags = flags}, fd, -1, &result);
    return result;
}

static int memory_file(void) {
    int fd = memfd_create("archive", MFD_CLOEXEC);
    CHECK(fd >= 0);
    return fd;
}

static int open_archive(const char *name) {
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    return fd;
}

static void make_tree(void) {
    CHECK(shell("cd %s && mkdir -p tree/sub/deep tree/closed && echo one >tree/a && printf '' "
                ">tree/empty && "
                "chmod 4751 tree/a && ln -s ../nowhere tree/link && ln tree/a tree/sub/hard && "
                "mkfifo tree/pipe && truncate -s 5M tree/sparse && "
                "printf x | dd of=tree/sparse bs=1 seek=1048576 conv=notrunc 2>/dev/null && "
                "printf y | dd of=tree/sparse bs=1 seek=3145728 conv=notrunc 2>/dev/null && "
                "truncate -s 1M tree/hole && head -c 300000 /dev/urandom >tree/sub/deep/data && "
                "n=$(printf %%0180d 7) && echo long >tree/$n && ln -s $n$n tree/longlink && "
                "touch -d '2001-02-03 04:05:06' tree/a tree/link -h && chmod 555 tree/closed && "
                "touch -d '2002-02-03 04:05:06' tree/sub",
                folder));
}

static bool same_trees(const char *other) {
    char command[2048];
    (void)snprintf(command, sizeof(command),
                   "cd %s && (cd tree && find . -type d -printf '%%p %%m\\n' -o -printf '%%p %%y "
                   "%%m %%s %%Ts %%l\\n' "
                   "| sort) >list1 && (cd %s && find . -type d -printf '%%p %%m\\n' -o -printf "
                   "'%%p %%y %%m %%s %%Ts %%l\\n' | sort) >list2 && diff list1 list2 && "
                   "diff -r --no-dereference -x pipe tree %s",
                   folder, other, other);
    return system(command) == 0;
}

static void test_our_archive_read_by_tar(void) {
    char path[256];
    Result result = {0};
    int fd;
    (void)snprintf(path, sizeof(path), "%s/ours.tar", folder);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    (void)snprintf(path, sizeof(path), "%s/tree", folder);
    copy_out_worker(&(CopyRequest){.path = path}, -1, fd, &result);
    CHECK_STR(result.text, "");
    CHECK(lseek(fd, 0, SEEK_END) < 1000000); /* holes are not in it */
    (void)close(fd);
    CHECK(shell("mkdir %1$s/by-tar && tar -xpf %1$s/ours.tar -C %1$s/by-tar", folder));
    CHECK(same_trees("by-tar/tree"));
    CHECK(shell("test $(stat -c %%i %1$s/by-tar/tree/a) = $(stat -c %%i %1$s/by-tar/tree/sub/hard)",
                folder));
    CHECK(shell("test $(stat -c %%b %1$s/by-tar/tree/sparse) -lt 1000", folder));
}

static void test_our_archive_read_by_us(void) {
    char path[256];
    Result result;
    int fd;
    (void)snprintf(path, sizeof(path), "%s/ours.tar", folder);
    fd = open_archive(path);
    (void)snprintf(path, sizeof(path), "%s/ours", folder); /* gets a new name */
    result = copy_in(fd, path, 0);
    CHECK_STR(result.text, "");
    CHECK(same_trees("ours"));
    CHECK(shell(
        "test $(stat -c %%b %1$s/ours/sparse) -lt 1000 && test $(stat -c %%b %1$s/ours/hole) -eq 0",
        folder));
    CHECK(shell("test $(stat -c %%i %1$s/ours/a) = $(stat -c %%i %1$s/ours/sub/hard)", folder));
    result = copy_in(fd, path, COPY_INTO_FOLDER); /* now it is there: goes inside */
    CHECK_STR(result.text, "");
    CHECK(same_trees("ours/tree"));
    (void)close(fd);
}

static void test_archives_of_tar(void) {
    static const char *const options[] = {"--format=pax", "--format=pax -S",
                                          "--format=pax -S --sparse-version=0.1", "--format=gnu",
                                          "--format=pax -S --sparse-version=0.0"};
    for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
        char command[1024], path[256];
        (void)snprintf(command, sizeof(command),
                       "cd %s && rm -rf theirs && mkdir theirs && tar %s -cf theirs.tar tree",
                       folder, options[i]);
        CHECK_INT(system(command), 0);
        (void)snprintf(path, sizeof(path), "%s/theirs.tar", folder);
        int fd = open_archive(path);
        (void)snprintf(path, sizeof(path), "%s/theirs", folder);
        Result result = copy_in(fd, path, 0);
        CHECK_STR(result.text, "");
        CHECK(same_trees("theirs/tree"));
        (void)close(fd);
    }
}

static void test_contents_of_a_folder(void) {
    char path[256];
    CHECK(shell("cd %s/tree && tar --format=pax -cf ../dot.tar .", folder));
    (void)snprintf(path, sizeof(path), "%s/dot.tar", folder);
    int fd = open_archive(path);
    (void)snprintf(path, sizeof(path), "%s/from-dot", folder);
    CHECK_STR(copy_in(fd, path, 0).text, "");
    CHECK(
        shell("chmod 755 %s/from-dot && cd %1$s && diff -r --no-dereference -x pipe tree from-dot",
              folder));
    (void)close(fd);
}

/* ---- hostile archives ---- */

static void add(TarWriter *writer, TarType type, const char *name, const char *link,
                const char *text) {
    struct stat file = {.st_mode = 0644, .st_size = (off_t)strlen(text)};
    tar_write_header(writer, type, name, link, &file, NULL);
    if (type == TAR_FILE) {
        tar_write(writer, text, strlen(text));
        tar_write_padding(writer, strlen(text));
    }
}

typedef struct Part {
    TarType type;
    const char *name, *link;
} Part;

static Result extract(const Part *parts, size_t n, const char *destination) {
    _cleanup_close_ int fd = memory_file();
    static TarWriter writer;
    char path[256];
    tar_writer_init(&writer, fd);
    for (size_t i = 0; i < n; i++)
        add(&writer, parts[i].type, parts[i].name, parts[i].link, "evil");
    CHECK_INT(tar_write_end(&writer), 0);
    (void)snprintf(path, sizeof(path), "%s/%s", folder, destination);
    return copy_in(fd, path, 0);
}

#define EXTRACT(destination, ...) \
    extract((const Part[]){__VA_ARGS__}, sizeof((Part[]){__VA_ARGS__}) / sizeof(Part), destination)

static void test_names_that_lead_out(void) {
    CHECK(shell("mkdir %s/jail && echo good >%1$s/outside", folder));
    CHECK_INT(EXTRACT("jail", {TAR_FILE, "../outside", ""}).error, EINVAL);
    CHECK_INT(EXTRACT("jail", {TAR_FOLDER, "a/", ""}, {TAR_FILE, "a/../../outside", ""}).error,
              EINVAL);
    CHECK_INT(EXTRACT("jail", {TAR_FILE, "/tmp/ramet-outside", ""}).error, EINVAL);
    CHECK_INT(EXTRACT("jail", {TAR_FOLDER, "b/", ""}, {TAR_SYMLINK, "b/up", "../.."},
                      {TAR_FILE, "b/up/outside", ""})
                  .error,
              ENOTDIR);
    CHECK_INT(EXTRACT("jail", {TAR_FOLDER, "c/", ""}, {TAR_HARD_LINK, "c/x", "../outside"}).error,
              EINVAL);
    CHECK_INT(EXTRACT("jail", {TAR_FOLDER, "d/", ""}, {TAR_SYMLINK, "d/up", "../.."},
                      {TAR_HARD_LINK, "d/x", "d/up/outside"})
                  .error,
              ENOTDIR);
    /* A link to a file is replaced, not written through. */
    CHECK_INT(EXTRACT("jail", {TAR_FOLDER, "e/", ""}, {TAR_SYMLINK, "e/f", "../../outside"},
                      {TAR_FILE, "e/f", ""})
                  .error,
              0);
    CHECK_INT(EXTRACT("jail", {TAR_FILE, "f", ""}, {TAR_FILE, "g", ""}).error, EINVAL);
    CHECK(shell("test \"$(cat %s/outside)\" = good && test ! -e /tmp/ramet-outside", folder));
}

static void test_destinations(void) {
    Part file = {TAR_FILE, "f", ""};
    CHECK(shell("cd %s && mkdir place && echo old >place/old && ln -s old place/link", folder));
    CHECK_INT(EXTRACT("place/missing/x", file).error, ENOENT);
    CHECK_INT(EXTRACT("place/new", file).error, 0);
    CHECK_INT(EXTRACT("place/old/", file).error, ENOTDIR);
    CHECK_INT(EXTRACT("place/old", {TAR_FOLDER, "d/", ""}).error, ENOTDIR);
    CHECK_INT(EXTRACT("place/link", file).error, 0); /* what it points to is replaced */
    CHECK_INT(EXTRACT("place", file).error, 0);
    CHECK(shell(
        "cd %s/place && grep -q evil new && grep -q evil old && test -L link && grep -q evil f",
        folder));
    CHECK(shell("mkdir %s/place/d", folder));
    CHECK_INT(EXTRACT("place", {TAR_FILE, "d", ""}).error, EISDIR);
    CHECK_INT(EXTRACT("place", {TAR_FOLDER, "f/", ""}).error, ENOTDIR);
}

static Result extract_bytes(const void *data, size_t size) {
    _cleanup_close_ int fd = memory_file();
    char path[256];
    CHECK_INT(write_all(fd, data, size), 0);
    (void)snprintf(path, sizeof(path), "%s/bytes", folder);
    return copy_in(fd, path, 0);
}

static void test_broken_archives(void) {
    static uint8_t block[3 * TAR_BLOCK];
    _cleanup_close_ int fd = memory_file();
    static TarWriter writer;
    char path[256];
    CHECK_INT(extract_bytes("", 0).error, EBADMSG);
    CHECK_INT(extract_bytes(block, TAR_BLOCK).error, EBADMSG); /* zeroes: an empty one */
    memset(block, 'x', sizeof(block));
    CHECK_INT(extract_bytes(block, sizeof(block)).error, EBADMSG);
    tar_writer_init(&writer, fd);
    add(&writer, TAR_FILE, "cut", "", "some text");
    CHECK_INT(tar_write_end(&writer), 0);
    CHECK_INT(ftruncate(fd, TAR_BLOCK + 4), 0);
    (void)snprintf(path, sizeof(path), "%s/cut-short", folder);
    CHECK_INT(copy_in(fd, path, 0).error, EBADMSG);
    CHECK(access(path, F_OK) < 0); /* the half file is gone */
}

static void test_missing_source(void) {
    _cleanup_close_ int fd = memory_file();
    Result result = {0};
    copy_out_worker(&(CopyRequest){.path = "/no/such"}, -1, fd, &result);
    CHECK_INT(result.error, ENOENT);
    CHECK_STR(result.text, "/no/such: No such file or directory");
}

int main(void) {
    CHECK(mkdtemp(folder) != NULL);
    (void)umask(022);
    make_tree();
    RUN(test_our_archive_read_by_tar);
    RUN(test_our_archive_read_by_us);
    RUN(test_archives_of_tar);
    RUN(test_contents_of_a_folder);
    RUN(test_names_that_lead_out);
    RUN(test_destinations);
    RUN(test_broken_archives);
    RUN(test_missing_source);
    CHECK(shell("chmod -R u+w %s; rm -rf %1$s", folder));
    return 0;
}
