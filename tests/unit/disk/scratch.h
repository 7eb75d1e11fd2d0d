/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_TESTS_DISK_SCRATCH_H
#define RAMET_TESTS_DISK_SCRATCH_H

/* A folder of the test's own, its current one, removed when the test ends, passed or not; and shell
 * commands in it. */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "check.h"

static char scratch_path[PATH_MAX];

static inline void scratch_leave(void) {
    (void)!chdir("/");
    (void)path_remove_tree(scratch_path);
}

static inline void scratch_enter(void) {
    const char *parent = getenv("TMPDIR");
    snprintf(scratch_path, sizeof(scratch_path), "%s/ramet-test-XXXXXX", parent ? parent : "/tmp");
    CHECK(mkdtemp(scratch_path));
    atexit(scratch_leave);
    CHECK(chdir(scratch_path) == 0);
}

static inline __attribute__((format(printf, 1, 2))) int shell_status(const char *format, ...) {
    va_list args;
    char *command;
    int status;

    va_start(args, format);
    command = str_format_va(format, args);
    va_end(args);
    status = system(command); /* NOLINT(cert-env33-c): a test's own fixed commands */
    free(command);
    return status;
}

#define SHELL(...) CHECK_INT(shell_status(__VA_ARGS__), 0)

/* Two disks of the same size and content. cmp would read the holes of both: ten seconds for 6 GiB
 * of them. */
#define SAME_DISK(one, other)                                                                      \
    SHELL("test $(stat -c %%s %s) = $(stat -c %%s %s) && qemu-img compare -q -f raw -F raw %s %s", \
          one, other, one, other)

static inline bool have_tool(const char *name) {
    char *path = path_find_program(name);
    bool found = path != NULL;
    free(path);
    return found;
}

static inline uint64_t file_size(const char *path) {
    struct stat status;
    CHECK(stat(path, &status) == 0);
    return (uint64_t)status.st_size;
}

static inline uint64_t file_stored(const char *path) {
    struct stat status;
    CHECK(stat(path, &status) == 0);
    return (uint64_t)status.st_blocks * 512;
}

static inline int open_read(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    return fd;
}

static inline int open_new(const char *path) {
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    return fd;
}

/* Is the folder without entries? */
static inline bool folder_is_empty(const char *path) {
    return rmdir(path) == 0 && mkdir(path, 0700) == 0;
}

#endif
