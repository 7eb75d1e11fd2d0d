/* SPDX-License-Identifier: Apache-2.0 */
/* Archives: what goes in comes out, and what is no whole archive is refused. */

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "archive/archive_read.h"
#include "archive/archive_write.h"
#include "base/fd.h"
#include "base/path.h"
#include "check.h"
#include "proto/archive_format.h"
#include "proto/archive_parts.h"

#define DISK_BYTES (5 * MIB + 512) /* the last page is shorter */

static int new_file(void) {
    int fd = memfd_create("test", MFD_CLOEXEC);
    CHECK(fd >= 0);
    return fd;
}

static int to_buffer(void *data, const void *bytes, size_t size, Error *error) {
    (void)error;
    strbuf_add(data, bytes, size);
    return 0;
}

/* Holes, a chunk of zeroes that were written, pages at odd places and at the end. */
static int make_disk(void) {
    int fd = new_file();
    char zeroes[8192] = "", page[4096];
    memset(page, 'x', sizeof(page));
    CHECK_INT(ftruncate(fd, DISK_BYTES), 0);
    CHECK_INT(fd_pwrite_full(fd, page, sizeof(page), 12288), 0);
    CHECK_INT(fd_pwrite_full(fd, zeroes, sizeof(zeroes), 2 * MIB), 0);
    CHECK_INT(fd_pwrite_full(fd, page, 100, 3 * MIB + 5), 0);
    CHECK_INT(fd_pwrite_full(fd, page, 512, 5 * MIB), 0);
    return fd;
}

static void make_archive(StrBuf *out) {
    _cleanup_archive_members_ ArchiveMembers members = {0};
    _cleanup_json_ json_t *manifest = json_pack("{s:s}", "kind", "test");
    const ArchiveOutput output = {.send = to_buffer, .data = out, .cancel_fd = -1};
    Error error = ERROR_INIT;
    CHECK_INT(archive_members_add(&members, "disk", make_disk(), NULL, -1, &error), 0);
    CHECK_INT(archive_members_add(&members, "empty", new_file(), NULL, -1, &error), 0);
    CHECK_INT(archive_write(&output, manifest, &members, &error), 0);
}

/* Cut as it comes, byte by byte or at once, and joined, it is the same. */
static void cut_and_joined(size_t step) {
    char folder[] = "/tmp/ramet-parts-XXXXXX";
    _cleanup_(archive_split_free_p) ArchiveSplit *split = NULL;
    _cleanup_free_ char *joined = NULL;
    _cleanup_close_ int out = new_file();
    const ArchiveParts *parts = NULL;
    StrBuf whole = {0};
    int fds[ARCHIVE_PARTS_MAX];
    CHECK(mkdtemp(folder) != NULL);
    make_archive(&whole);
    split = archive_split_new(folder);
    CHECK_INT(archive_split_end(split, &parts, NULL), -EBADMSG);
    for (size_t at = 0; at < whole.size; at += step)
        CHECK_INT(archive_split_add(split, whole.data + at, MIN_OF(step, whole.size - at), NULL),
                  0);
    CHECK_INT(archive_split_end(split, &parts, NULL), 0);
    CHECK_INT(parts->count, 3); /* "empty" has no chunks */
    CHECK_STR(parts->items[1].name, "member-disk");
    for (size_t i = 0; i < parts->count; i++) {
        _cleanup_free_ char *path = path_join(folder, parts->items[i].sha256);
        fds[i] = open(path, O_RDONLY | O_CLOEXEC);
        CHECK(fds[i] >= 0);
    }
    CHECK_INT(archive_parts_join(fds, parts->count, out, NULL), 0);
    joined = malloc(whole.size);
    CHECK_INT(fd_pread_full(out, joined, whole.size, 0), (ssize_t)whole.size);
    CHECK(memcmp(joined, whole.data, whole.size) == 0);
    for (size_t i = 0; i < parts->count; i++)
        (void)close(fds[i]);
    CHECK_INT(archive_split_add(split, "x", 1, NULL), 0);
    CHECK_INT(archive_split_end(split, &parts, NULL), -EBADMSG);
    strbuf_free(&whole);
    CHECK_INT(path_remove_tree(folder), 0);
}

static void parts(void) {
    cut_and_joined(1);
    cut_and_joined(1000);
    cut_and_joined(SIZE_MAX / 2);
}

static int read_archive(const void *data, size_t size, int *disk, Error *error) {
    _cleanup_archive_reader_ ArchiveReader reader = {0};
    const ArchiveReadOptions options = {.cancel_fd = -1};
    _cleanup_close_ int fd = new_file();
    int r;
    CHECK_INT(fd_write_full(fd, data, size), 0);
    CHECK_INT(lseek(fd, 0, SEEK_SET), 0);
    r = archive_reader_open(&reader, fd, error);
    if (r < 0)
        return r;
    for (size_t i = 0; i < reader.members.count; i++) {
        reader.members.items[i].file.fd = new_file();
        reader.members.items[i].wanted = true;
    }
    r = archive_reader_run(&reader, &options, error);
    if (r >= 0 && disk)
        *disk = dup(reader.members.items[0].file.fd);
    return r;
}

static void there_and_back(void) {
    _cleanup_close_ int disk = -1, original = make_disk();
    _cleanup_free_ char *a = calloc(1, DISK_BYTES), *b = calloc(1, DISK_BYTES);
    StrBuf out = {0}, again = {0};
    make_archive(&out);
    make_archive(&again);
    CHECK_INT(out.size, again.size); /* but for the time in real manifests */
    CHECK(memcmp(out.data, again.data, out.size) == 0);
    CHECK_INT(read_archive(out.data, out.size, &disk, NULL), 0);
    CHECK_INT(fd_pread_full(disk, a, DISK_BYTES, 0), DISK_BYTES);
    CHECK_INT(fd_pread_full(original, b, DISK_BYTES, 0), DISK_BYTES);
    CHECK(memcmp(a, b, DISK_BYTES) == 0);
    strbuf_free(&out);
    strbuf_free(&again);
}

/* Each byte is changed once, and the file is cut after each: never is another content taken. */
static void every_damage(void) {
    StrBuf out = {0};
    make_archive(&out);
    for (size_t i = 0; i < out.size; i++) {
        _cleanup_error_ Error error = ERROR_INIT, cut = ERROR_INIT;
        int disk = -1, r;
        out.data[i] = (char)(out.data[i] ^ 0x40);
        r = read_archive(out.data, out.size, &disk, &error);
        out.data[i] = (char)(out.data[i] ^ 0x40);
        CHECK(r < 0 || disk >= 0);
        (void)fd_close(disk);
        if (r < 0)
            CHECK(error.kind == ERROR_CORRUPT || error.kind == ERROR_UNSUPPORTED);
        CHECK(read_archive(out.data, i, NULL, &cut) < 0);
        CHECK_INT(cut.kind, ERROR_CORRUPT);
    }
    strbuf_add(&out, "x", 1);
    CHECK_INT(read_archive(out.data, out.size, NULL, NULL), -EBADMSG);
    strbuf_free(&out);
}

static int members_of(const char *text) {
    _cleanup_archive_members_ ArchiveMembers members = {0};
    _cleanup_json_ json_t *list = json_loads(text, 0, NULL);
    CHECK(list != NULL);
    return archive_members_from_json(list, &members, NULL);
}

#define DIGEST "tree1:0000000000000000000000000000000000000000000000000000000000000000"
#define MEMBER(name, more) \
    "{\"name\":\"" name "\",\"bytes\":5,\"data_bytes\":5,\"digest\":\"" DIGEST "\"" more "}"

static void hostile_manifests(void) {
    static const char *const bad[] = {
        "{}",
        "[5]",
        "[" MEMBER("../x", "") "]",
        "[" MEMBER("", "") "]",
        "[" MEMBER("a/b", "") "]",
        "[" MEMBER("a", "") "," MEMBER("a", "") "]",
        "[{\"name\":\"a\",\"bytes\":5,\"data_bytes\":6,\"digest\":\"" DIGEST "\"}]",
        "[{\"name\":\"a\",\"bytes\":-5,\"data_bytes\":0,\"digest\":\"" DIGEST "\"}]",
        "[{\"name\":\"a\",\"bytes\":5,\"data_bytes\":5,\"digest\":\"tree1:00\"}]",
        "[{\"name\":\"a\",\"bytes\":9000000000000000000,\"data_bytes\":0,\"digest\":\"" DIGEST
        "\"}]",
        "[" MEMBER("a", ",\"files\":[]") "]",
        "[" MEMBER("a", ",\"files\":[{\"path\":\"../x\",\"bytes\":5}]") "]",
        "[" MEMBER("a", ",\"files\":[{\"path\":\"/x\",\"bytes\":5}]") "]",
        "[" MEMBER("a", ",\"files\":[{\"path\":\"x/../y\",\"bytes\":5}]") "]",
        "[" MEMBER("a", ",\"files\":[{\"path\":\"x\\n\",\"bytes\":5}]") "]",
        "[" MEMBER("a", ",\"files\":[{\"path\":\"x\",\"bytes\":4}]") "]",
        "[" MEMBER("a",
                   ",\"files\":[{\"path\":\"x\",\"bytes\":2},{\"path\":\"x\",\"bytes\":3}]") "]",
    };
    CHECK_INT(members_of("[" MEMBER("a", "") "]"), 0);
    CHECK_INT(members_of("[" MEMBER("a", ",\"files\":[{\"path\":\"x\",\"bytes\":5}]") "]"), 0);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        CHECK_INT(members_of(bad[i]), -EBADMSG);
}

/* What who wrote could not do is told at the end, and found there. */
static void told_failure(void) {
    static const char text[] = "{\"error\":{\"code\":\"no_space\",\"message\":\"it is full\"}}";
    ArchiveRecord record = {
        .kind = ARCHIVE_FAILURE, .raw_bytes = sizeof(text) - 1, .stored_bytes = sizeof(text) - 1};
    uint8_t bytes[ARCHIVE_RECORD_BYTES];
    _cleanup_error_ Error error = ERROR_INIT;
    StrBuf out = {0};
    strbuf_add_text(&out, "something FAIL before");
    archive_write_record(&record, bytes);
    strbuf_add(&out, (const char *)bytes, sizeof(bytes));
    strbuf_add(&out, text, sizeof(text) - 1);
    CHECK_INT(archive_find_failure(out.data, out.size, &error), 1);
    CHECK_STR(error_message(&error), "it is full");
    CHECK_INT(archive_find_failure(out.data, out.size - 1, NULL), 0);
    CHECK_INT(archive_find_failure("", 0, NULL), 0);
    strbuf_free(&out);
}

int main(void) {
    RUN(there_and_back);
    RUN(every_damage);
    RUN(parts);
    RUN(hostile_manifests);
    RUN(told_failure);
    return 0;
}
