/* SPDX-License-Identifier: Apache-2.0 */
/* Single files: what is read, written and told of them. */
#include "agent/files/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "check.h"
#include "proto/agent.h"
#include "proto/tlv.h"

static char folder[] = "/tmp/ramet-file-test-XXXXXX";

static int file_of(const char *text) {
    int fd = memfd_create("content", MFD_CLOEXEC);
    CHECK(fd >= 0);
    CHECK_INT(write_all(fd, text, strlen(text)), 0);
    CHECK_INT(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

static const char *path_of(const char *name) {
    static char path[256];
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static int write_file(const char *name, const char *text, uint64_t size, unsigned mode) {
    FileRequest request = {.path = path_of(name), .mode = mode, .size = size};
    Result result = {0};
    int fd = file_of(text);
    file_write_worker(&request, fd, -1, &result);
    (void)close(fd);
    return result.error;
}

static void expect_content(const char *name, const char *text) {
    FileRequest request = {.path = path_of(name)};
    char data[256] = "";
    Result result = {0};
    int fd = file_of("");
    file_read_worker(&request, -1, fd, &result);
    CHECK_INT(result.error, 0);
    CHECK(pread(fd, data, sizeof(data) - 1, 0) > 0);
    CHECK_INT(data[0], READ_FILE);
    CHECK_STR(data + 1, text);
    (void)close(fd);
}

static unsigned entries(void) {
    char command[256];
    FILE *stream;
    unsigned n = 0;
    (void)snprintf(command, sizeof(command), "ls -A %s | wc -l", folder);
    stream = popen(command, "r");
    CHECK(stream && fscanf(stream, "%u", &n) == 1);
    (void)pclose(stream);
    return n;
}

static void test_new_file(void) {
    struct stat found;
    CHECK_INT(write_file("a", "one", 3, 0640), 0);
    expect_content("a", "one");
    CHECK_INT(stat(path_of("a"), &found), 0);
    CHECK_INT(found.st_mode & 07777, 0640);
    CHECK_INT(write_file("a", "", 0, 0640), 0);
    expect_content("a", "");
}

static void test_old_file_is_replaced(void) {
    struct stat found;
    CHECK_INT(write_file("b", "one", 3, 0644), 0);
    CHECK_INT(chmod(path_of("b"), 0600), 0);
    CHECK_INT(symlink("b", path_of("link")), 0);
    CHECK_INT(write_file("link", "two", UINT64_MAX, 0644), 0); /* what it leads to */
    expect_content("b", "two");
    CHECK_INT(lstat(path_of("link"), &found), 0);
    CHECK(S_ISLNK(found.st_mode));
    CHECK_INT(stat(path_of("b"), &found), 0);
    CHECK_INT(found.st_mode & 07777, 0600);
}

static void test_broken_off_changes_nothing(void) {
    unsigned before;
    CHECK_INT(write_file("c", "whole", 5, 0644), 0);
    before = entries();
    CHECK_INT(write_file("c", "par", 7, 0644), EPIPE);
    expect_content("c", "whole");
    CHECK_INT(write_file("new", "par", 7, 0644), EPIPE);
    CHECK_INT(access(path_of("new"), F_OK), -1);
    CHECK_INT(entries(), before);
}

static void test_errors(void) {
    Result result = {0};
    FileRequest request = {.path = path_of("nosuch")};
    file_read_worker(&request, -1, -1, &result);
    CHECK_INT(result.error, ENOENT);
    result = (Result){0};
    file_stat_worker(&request, -1, -1, &result);
    CHECK_INT(result.error, ENOENT);
    CHECK_INT(write_file("nosuch/x", "", 0, 0644), ENOENT);
    CHECK_INT(write_file(".", "", 0, 0644), EISDIR);
    CHECK_INT(write_file("d/", "", 0, 0644), EISDIR);
    CHECK_INT(mkfifo(path_of("pipe"), 0600), 0);
    result = (Result){0};
    request.path = path_of("pipe");
    file_read_worker(&request, -1, -1, &result); /* does not wait for a writer */
    CHECK_INT(result.error, EINVAL);
    CHECK_INT(symlink("nowhere", path_of("dangling")), 0);
    CHECK_INT(write_file("dangling", "", 0, 0644), ENOENT);
}

static void test_stat(void) {
    FileRequest request = {.path = path_of("target")};
    uint8_t payload[1024];
    Result result = {0};
    int fd = file_of("");
    TlvReader reader;
    TlvField field;
    uint64_t mode = 0;
    char target[64] = "";
    CHECK_INT(symlink("somewhere", path_of("target")), 0);
    file_stat_worker(&request, -1, fd, &result);
    CHECK_INT(result.error, 0);
    ssize_t n = pread(fd, payload, sizeof(payload), 0);
    CHECK(n > 0);
    tlv_read(&reader, payload, (size_t)n);
    while (tlv_next(&reader, &field) > 0)
        if (field.tag == TAG_STAT_MODE)
            CHECK_INT(tlv_u64(&field, &mode), 0);
        else if (field.tag == TAG_STAT_TARGET)
            CHECK_INT(tlv_text(&field, target, sizeof(target)), 0);
    CHECK(S_ISLNK(mode));
    CHECK_STR(target, "somewhere");
    (void)close(fd);
}

int main(void) {
    char command[256];
    CHECK(mkdtemp(folder));
    RUN(test_new_file);
    RUN(test_old_file_is_replaced);
    RUN(test_broken_off_changes_nothing);
    RUN(test_errors);
    RUN(test_stat);
    (void)snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command) == 0 ? 0 : 1;
}
