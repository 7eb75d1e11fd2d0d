/* SPDX-License-Identifier: Apache-2.0 */
#include "disk/layers/layers.h"

#include <archive.h>
#include <archive_entry.h>
#include <sys/sysmacros.h>

#include "scratch.h"

typedef struct Item {
    const char *name, *link;
    unsigned type;       /* AE_IF…; 0: a file, or a hard link where `link` is given */
    const char *content; /* of a file */
    unsigned mode;       /* 0: 0755 */
} Item;

static void write_layer(const char *path, const Item *items, size_t count) {
    struct archive *archive = archive_write_new();
    archive_write_set_format_pax(archive);
    CHECK_INT(archive_write_open_filename(archive, path), ARCHIVE_OK);
    for (size_t i = 0; i < count; i++) {
        struct archive_entry *entry = archive_entry_new();
        const char *content = items[i].content ? items[i].content : "";
        archive_entry_set_pathname(entry, items[i].name);
        archive_entry_set_filetype(entry, items[i].type ? items[i].type : AE_IFREG);
        archive_entry_set_perm(entry, items[i].mode ? items[i].mode : 0755);
        archive_entry_set_uid(entry, 12);
        archive_entry_set_gid(entry, 70000);
        archive_entry_set_mtime(entry, 1600000000, 123456789);
        archive_entry_set_size(entry, items[i].link ? 0 : (la_int64_t)strlen(content));
        if (items[i].type == AE_IFLNK)
            archive_entry_set_symlink(entry, items[i].link);
        else if (items[i].link)
            archive_entry_set_hardlink(entry, items[i].link);
        if (items[i].type == AE_IFCHR)
            archive_entry_set_rdev(entry, makedev(1, 3));
        if (str_equal(content, "attributes")) {
            archive_entry_xattr_add_entry(entry, "user.colour", "blue", 4);
            archive_entry_xattr_add_entry(entry, "com.example.other", "x", 1);
        }
        CHECK_INT(archive_write_header(archive, entry), ARCHIVE_OK);
        if (!items[i].link && *content)
            CHECK(archive_write_data(archive, content, strlen(content)) ==
                  (la_ssize_t)strlen(content));
        archive_entry_free(entry);
    }
    CHECK_INT(archive_write_close(archive), ARCHIVE_OK);
    archive_write_free(archive);
}
#define WRITE_LAYER(path, ...) \
    write_layer(path, (const Item[]){__VA_ARGS__}, ARRAY_SIZE(((const Item[]){__VA_ARGS__})))

#define LAYERS_MAX 8

/* Lays the files over each other; those that are named are there. */
static int lay(const LayersOptions *given, LayersResult *result, Error *error, const char *first,
               ...) {
    static const char *const folders[] = {"proc", "tmp", "a/b", NULL};
    Layer layers[LAYERS_MAX] = {0};
    LayersOptions options = given ? *given : (LayersOptions){0};
    va_list names;
    int r;
    options.layers = layers;
    options.output_path = "out.ext4";
    options.scratch_folder = ".";
    options.folders = folders;
    options.uuid = "12345678-1234-4234-8234-123456789abc";
    options.cancel_fd = -1;
    va_start(names, first);
    for (const char *name = first; name; name = va_arg(names, const char *)) {
        Layer *layer = &layers[options.n_layers++];
        layer->fd = open_read(name);
        CHECK_INT(sha256_file(layer->fd, layer->stored, NULL), 0);
    }
    va_end(names);
    close(open_new("out.ext4"));
    r = layers_to_ext4(&options, result, error);
    for (size_t i = 0; i < options.n_layers; i++)
        close(layers[i].fd);
    return r;
}

static void must_lay(const char *first, const char *second, const char *third) {
    _cleanup_error_ Error error = ERROR_INIT;
    LayersResult result;
    if (lay(NULL, &result, &error, first, second, third, NULL) < 0) {
        fprintf(stderr, "%s\n", error_message(&error));
        CHECK(false);
    }
    if (shell_status("e2fsck -fn out.ext4 >fsck 2>&1") != 0)
        SHELL("cat fsck >&2; false");
}

#define DEBUGFS(command, pattern) \
    SHELL("debugfs -R '%s' out.ext4 2>/dev/null | grep -q -e '%s'", command, pattern)
#define ABSENT(path) SHELL("debugfs -R 'stat \"%s\"' out.ext4 2>&1 | grep -q 'not found'", path)

/* ---- whole ones ---- */

static void test_kinds(void) {
    static const char long_target[] =
        "/a/target/that/is/longer/than/what/fits/into/an/inode/which/is/sixty/bytes";
    WRITE_LAYER("l1", {"etc/", NULL, AE_IFDIR}, {"etc/motd", NULL, 0, "hello", 0640},
                {"etc/same", "etc/motd"}, {"bin/su", NULL, 0, "x", 04755},
                {"dev/null", NULL, AE_IFCHR}, {"pipe", NULL, AE_IFIFO},
                {"link", "/bin/su", AE_IFLNK}, {"far", long_target, AE_IFLNK},
                {"fine", NULL, 0, "attributes"}, {"two\nlines", NULL, 0, "y"});
    must_lay("l1", NULL, NULL);
    DEBUGFS("cat /etc/same", "hello");
    DEBUGFS("stat /etc/motd", "User: *12 *Group: *70000");
    DEBUGFS("stat /etc/motd", "Links: 2");
    DEBUGFS("stat /etc/motd", "Mode: *0640");
    DEBUGFS("stat /etc/motd", "mtime: 0x5f5e1000:1d6f3454");
    DEBUGFS("stat /bin/su", "Mode: *04755");
    DEBUGFS("stat /bin", "User: *0 ");
    DEBUGFS("stat /dev/null", "Device major/minor number: 01:03");
    DEBUGFS("stat /pipe", "Type: FIFO");
    DEBUGFS("stat /link", "Fast link dest: \"/bin/su\"");
    DEBUGFS("stat /far", "Type: symlink");
    DEBUGFS("cat /far", long_target);
    DEBUGFS("ea_list /fine", "user.colour (4) = \"blue\"");
    SHELL("debugfs -R 'ea_list /fine' out.ext4 2>&1 | grep -q example && exit 1; true");
    DEBUGFS("stat /tmp", "Mode: *01777");
    DEBUGFS("stat /a/b", "Type: directory");
    SHELL("cp --sparse=always out.ext4 first.ext4");
    must_lay("l1", NULL, NULL);
    SAME_DISK("out.ext4", "first.ext4"); /* the same bytes again */
}

static void test_whiteouts(void) {
    WRITE_LAYER("l1", {"a/one", NULL, 0, "1"}, {"a/two", NULL, 0, "2"}, {"b/x/deep", NULL, 0, "d"},
                {"b/y", NULL, 0, "y"}, {"c", NULL, 0, "secret-of-layer-one"}, {"d/e", NULL, 0, "e"},
                {"d/f", NULL, 0, "f"});
    /* The marks come in any order, and never hide what their own layer brings. */
    WRITE_LAYER("l2", {"a/.wh.one"}, {"b/new", NULL, 0, "n"}, {"b/.wh..wh..opq"}, {".wh.c"},
                {".wh.absent"}, {"no/such/.wh.thing"}, {"d/e", NULL, 0, "E"}, {".wh.d"},
                {"d/.wh..wh.plnk"});
    must_lay("l1", "l2", NULL);
    ABSENT("/a/one");
    DEBUGFS("cat /a/two", "2");
    ABSENT("/b/y");
    ABSENT("/b/x");
    DEBUGFS("cat /b/new", "n");
    ABSENT("/c");
    DEBUGFS("cat /d/e", "E");
    ABSENT("/d/f");
    ABSENT("/no");
    SHELL("grep -q secret-of-layer-one out.ext4 && exit 1; true"); /* nor are its bytes there */
    WRITE_LAYER("l3", {"a", NULL, 0, "a file now"}, {".wh.b"}, {"c/", NULL, AE_IFDIR});
    must_lay("l1", "l2", "l3");
    DEBUGFS("cat /a", "a file now");
    ABSENT("/b");
    DEBUGFS("stat /c", "Type: directory");
}

static void test_replaced(void) {
    WRITE_LAYER("l1", {"lib", "usr/lib", AE_IFLNK}, {"usr/lib/one", NULL, 0, "1"},
                {"f", NULL, 0, "old"}, {"g", "f"}, {"up", "../../..", AE_IFLNK});
    /* Through a link of a lower layer, as in a guest; a hard link goes on with the old content. */
    WRITE_LAYER("l2", {"lib/two", NULL, 0, "2"}, {"f", NULL, 0, "new"}, {"h", "g"},
                {"up/etc/x", NULL, 0, "x"}, {"/abs", NULL, 0, "in"},
                {"usr/", NULL, AE_IFDIR, NULL, 0700});
    must_lay("l1", "l2", NULL);
    DEBUGFS("cat /usr/lib/two", "2");
    DEBUGFS("cat /usr/lib/one", "1");
    DEBUGFS("cat /f", "new");
    DEBUGFS("cat /h", "old");
    DEBUGFS("stat /g", "Links: 2");
    DEBUGFS("cat /etc/x", "x");
    DEBUGFS("cat /abs", "in");
    DEBUGFS("stat /usr", "Mode: *0700");
}

static void test_compressed(void) {
    WRITE_LAYER("l1", {"one", NULL, 0, "1"});
    WRITE_LAYER("l2", {"two", NULL, 0, "2"});
    WRITE_LAYER("l3", {"three", NULL, 0, "3"});
    SHELL("rm -f l?.gz l?.zst; gzip -kn l1 && zstd -qk l2 && : >none");
    must_lay("l1.gz", "l2.zst", "l3");
    DEBUGFS("cat /one", "1");
    DEBUGFS("cat /two", "2");
    DEBUGFS("cat /three", "3");
    must_lay("none", "l1.gz", NULL);
    DEBUGFS("cat /one", "1");
}

/* Many names in one folder and many files, more than one extent, and a disk that was too small. */
static void test_large(void) {
    SHELL("mkdir -p many/dir && cd many && seq -f 'dir/a-name-that-is-rather-long-%%g' 20000 | "
          "xargs touch && truncate -s 700M ../many/holes && head -c 5M /dev/urandom >random && "
          "tar cf ../l1 --format=posix --sparse .");
    must_lay("l1", NULL, NULL);
    DEBUGFS("stat /holes", "Size: 734003200");
    SHELL("debugfs -R 'dump /random out' out.ext4 2>/dev/null && cmp out many/random");
    SHELL("[ $(debugfs -R 'ls -p /dir' out.ext4 2>/dev/null | grep -c long) = 20000 ]");
    CHECK(file_stored("out.ext4") < 64 * MIB);
    SHELL("truncate -s 3G many/holes && tar cf l1 --format=posix --sparse -C many .");
    must_lay("l1", NULL, NULL);
    CHECK(file_size("out.ext4") > 3 * GIB);
    SHELL("rm -rf many l1");
}

/* ---- hostile ones ---- */

static void refused(const char *layer, const char *part) {
    _cleanup_error_ Error error = ERROR_INIT;
    LayersResult result;
    CHECK(lay(NULL, &result, &error, layer, NULL) < 0);
    CHECK_INT(error.kind, ERROR_CORRUPT);
    CHECK_CONTAINS(error_message(&error), part);
}

static void test_hostile(void) {
    WRITE_LAYER("l1", {"../out", NULL, 0, "x"});
    refused("l1", "leads out of the root");
    WRITE_LAYER("l1", {"a/../../out", NULL, 0, "x"});
    refused("l1", "leads out of the root");
    WRITE_LAYER("l1", {"l", "../../etc/passwd"});
    refused("l1", "leads out of the root");
    WRITE_LAYER("l1", {"l", "absent"});
    refused("l1", "no file that is there");
    WRITE_LAYER("l1", {"d/", NULL, AE_IFDIR}, {"l", "d"});
    refused("l1", "no file that is there");
    WRITE_LAYER("l1", {".wh..."}); /* of ".." */
    refused("l1", "whiteout of no name");
    WRITE_LAYER("l1", {"d/.wh.."});
    refused("l1", "whiteout of no name");
    WRITE_LAYER("l1", {"d/.wh."});
    refused("l1", "whiteout of no name");
    WRITE_LAYER("l1", {"a", "b", AE_IFLNK}, {"b", "a", AE_IFLNK}, {"a/x", NULL, 0, "x"});
    refused("l1", "too many symbolic links");
    WRITE_LAYER("l1", {"d/e", NULL, 0, "x"}, {"d", NULL, 0, "x"}, {"d/e/f", NULL, 0, "x"});
    refused("l1", "no folder");
    SHELL("head -c 3000 /dev/urandom | base64 >l1");
    refused("l1", "damaged tar");
    SHELL("python3 -c 'import tarfile; t = tarfile.open(\"l1\", \"w\"); "
          "t.addfile(tarfile.TarInfo(\"d/\" * 300 + \"f\"))'");
    refused("l1", "nested deeper");
    SHELL("python3 -c 'import tarfile; t = tarfile.open(\"l1\", \"w\"); "
          "t.addfile(tarfile.TarInfo(\"n\" * 300))'");
    refused("l1", "more than 255 bytes");
}

/* A layer that takes its own parent away takes nothing that it brought. */
static void test_own_parent(void) {
    WRITE_LAYER("l1", {"p/", NULL, AE_IFDIR}, {"p/f", NULL, 0, "f"}, {".wh.p"}, {"p/.wh.f"},
                {"p/g", NULL, 0, "g"}, {".wh..wh..opq"});
    must_lay("l1", NULL, NULL);
    DEBUGFS("cat /p/f", "f");
    DEBUGFS("cat /p/g", "g");
    /* umoci marks the entries of a folder as gone, too, when it became something else. */
    WRITE_LAYER("l2", {"p", "/bin/sh", AE_IFLNK}, {"p/.wh.f"}, {"bin/sh", NULL, 0, "s"},
                {"q", NULL, 0, "q"}, {"q/.wh.f"}, {"q/.wh..wh..opq"});
    must_lay("l1", "l2", NULL);
    DEBUGFS("stat /p", "Type: symlink");
    DEBUGFS("cat /q", "q");
}

static void test_bounds(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    LayersOptions options = {.max_bytes = MIB, .max_entries = 100};
    LayersResult result;
    SHELL("head -c 20M /dev/zero >zero && tar cf l1 zero && gzip -fkn l1");
    CHECK_INT(lay(&options, &result, &error, "l1.gz", NULL), -EFBIG);
    CHECK_INT(error.kind, ERROR_CORRUPT);
    CHECK(error.hint);
    SHELL("mkdir -p n && cd n && seq 200 | xargs touch && tar cf ../l1 .");
    CHECK(lay(&options, &result, &error, "l1", NULL) < 0);
    CHECK_CONTAINS(error_message(&error), "more than 100 entries");
    options = (LayersOptions){.size_bytes = 16 * MIB};
    SHELL("head -c 20M /dev/urandom >zero && tar cf l1 zero");
    CHECK_INT(lay(&options, &result, &error, "l1", NULL), -ENOSPC);
    CHECK_INT(error.kind, ERROR_NO_SPACE);
}

static void test_digests(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    LayersResult result;
    Layer layer = {0};
    LayersOptions options = {.layers = &layer,
                             .n_layers = 1,
                             .output_path = "out.ext4",
                             .scratch_folder = ".",
                             .uuid = "12345678-1234-4234-8234-123456789abc",
                             .cancel_fd = -1};
    WRITE_LAYER("l1", {"one", NULL, 0, "1"});
    SHELL("gzip -fkn l1");
    layer.fd = open_read("l1.gz");
    CHECK_INT(sha256_file(layer.fd, layer.stored, NULL), 0);
    layer.stored[0] ^= 1;
    CHECK(layers_to_ext4(&options, &result, &error) < 0);
    CHECK_INT(error.kind, ERROR_CORRUPT);
    CHECK_CONTAINS(error_message(&error), "digest");
    CHECK_INT(result.wrong_layer, 0);
    layer.stored[0] ^= 1;
    str_set(layer.decoded, layer.stored); /* that is what it is stored as */
    CHECK(layers_to_ext4(&options, &result, &error) < 0);
    CHECK_CONTAINS(error_message(&error), "decodes to");
    CHECK_INT(result.wrong_layer, 1);
    close(layer.fd);
    SHELL("head -c 60 l1.gz >cut.gz");
    refused("cut.gz", "truncated");
}

int main(void) {
    if (!have_tool("mke2fs") || !have_tool("debugfs") || !have_tool("e2fsck"))
        SKIP("e2fsprogs is not installed");
    scratch_enter();
    RUN(test_kinds);
    RUN(test_whiteouts);
    RUN(test_replaced);
    RUN(test_compressed);
    RUN(test_large);
    RUN(test_hostile);
    RUN(test_own_parent);
    RUN(test_bounds);
    RUN(test_digests);
    return 0;
}
