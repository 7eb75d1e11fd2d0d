/* SPDX-License-Identifier: Apache-2.0 */

/* The logs that a keeper writes, whose limit may be another one than that of the run before. */

#include "keeper/qemu/logfile.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "check.h"

static char folder[] = "/tmp/ramet-test-logfile-XXXXXX";
static int folder_fd;

static long size_of(const char *name) {
    struct stat info;
    return fstatat(folder_fd, name, &info, 0) < 0 ? -1 : (long)info.st_size;
}

static void begin(const char *name, size_t size) {
    _cleanup_free_ char *text = calloc(1, size);
    CHECK_INT(path_write_atomic_at(folder_fd, name, text, size, 0600), 0);
}

static void write_with_limit(const char *name, bool rotate, uint64_t max_bytes, size_t size) {
    _cleanup_free_ char *text = calloc(1, size);
    LogFile log;
    CHECK_INT(logfile_open(&log, folder_fd, name, rotate, max_bytes, 0, 0, NULL), 0);
    logfile_write(&log, text, size);
    logfile_close(&log);
}

/* An earlier run had a higher limit. */
static void test_lowered_limit(void) {
    begin("cut", 100);
    write_with_limit("cut", true, 10, 7);
    CHECK_INT(size_of("cut.1"), 100);
    CHECK_INT(size_of("cut"), 7);
    begin("full", 100);
    write_with_limit("full", false, 10, 7);
    CHECK_INT(size_of("full"), 100);
    begin("equal", 10);
    write_with_limit("equal", false, 10, 1);
    CHECK_INT(size_of("equal"), 10);
}

static void test_room(void) {
    begin("room", 3);
    write_with_limit("room", true, 10, 7);
    CHECK_INT(size_of("room"), 10);
    CHECK_INT(size_of("room.1"), -1);
    write_with_limit("room", true, 10, 7);
    CHECK_INT(size_of("room"), 7);
    CHECK_INT(size_of("room.1"), 10);
    write_with_limit("room", true, 10, 11); /* more than a whole file */
    CHECK_INT(size_of("room"), 0);
}

/* ---- the times of what came ---- */

#define TIMES_MAX 64

static size_t read_times(const char *name, uint64_t *inode, LogTimesMark *marks) {
    LogTimesHeader header = {0};
    _cleanup_close_ int fd = openat(folder_fd, name, O_RDONLY | O_CLOEXEC);
    ssize_t got;
    CHECK(fd >= 0);
    CHECK_INT(fd_pread_full(fd, &header, sizeof(header), 0), sizeof(header));
    CHECK(header.magic == LOG_TIMES_MAGIC);
    *inode = header.inode;
    got = fd_pread_full(fd, marks, TIMES_MAX * sizeof(*marks), sizeof(header));
    CHECK(got >= 0 && (size_t)got % sizeof(*marks) == 0);
    return (size_t)got / sizeof(*marks);
}

static uint64_t inode_of(const char *name) {
    struct stat info;
    CHECK_INT(fstatat(folder_fd, name, &info, 0), 0);
    return info.st_ino;
}

static LogFile open_with_times(const char *name, const char *times, uint64_t max_bytes) {
    LogFile log;
    CHECK_INT(logfile_open(&log, folder_fd, name, true, max_bytes, 0, 0, NULL), 0);
    CHECK_INT(logfile_keep_times(&log, times, 0, 0, NULL), 0);
    return log;
}

/* One mark a line; a line that grows takes the time of what came last. */
static void test_marks_of_lines(void) {
    LogFile log = open_with_times("lines", "lines.times", 1000);
    const uint64_t step = LOG_TIMES_STEP_USEC;
    LogTimesMark marks[TIMES_MAX];
    uint64_t inode;
    log_times_note(&log.times, 0, "one\n", 4, 10 * step);
    log_times_note(&log.times, 4, "tw", 2, 20 * step);
    log_times_note(&log.times, 6, "o\nth", 4, 30 * step);
    log_times_note(&log.times, 10, "ree\n", 4, 30 * step + step - 1); /* too soon */
    log_times_note(&log.times, 14, "four", 4, 40 * step);
    log_times_note(&log.times, 18, "\n", 1, 50 * step);
    log_times_note(&log.times, 19, "set back\n", 9, 5 * step);
    logfile_close(&log);
    CHECK_INT(read_times("lines.times", &inode, marks), 4);
    CHECK_INT(inode, inode_of("lines"));
    CHECK_INT(marks[0].offset, 0);
    CHECK_INT(marks[0].realtime_usec, 10 * step);
    CHECK_INT(marks[1].offset, 4);
    CHECK_INT(marks[1].realtime_usec, 30 * step);
    CHECK_INT(marks[2].offset, 14);
    CHECK_INT(marks[2].realtime_usec, 50 * step);
    CHECK_INT(marks[3].offset, 19);
    CHECK_INT(marks[3].realtime_usec, 5 * step);
}

/* The next run of a VM goes on; the marks of another log, or half a mark, are not taken for ours.
 */
static void test_marks_go_on(void) {
    LogTimesMark marks[TIMES_MAX];
    LogFile log = open_with_times("again", "again.times", 1000);
    _cleanup_close_ int fd = -1;
    uint64_t inode;
    logfile_write(&log, "a\n", 2);
    logfile_close(&log);
    fd = openat(folder_fd, "again.times", O_WRONLY | O_APPEND | O_CLOEXEC);
    CHECK_INT(fd_write_full(fd, "half", 4), 0);
    log = open_with_times("again", "again.times", 1000);
    logfile_write(&log, "b\n", 2);
    logfile_close(&log);
    CHECK_INT(read_times("again.times", &inode, marks), 2);
    CHECK_INT(marks[1].offset, 2);
    CHECK(marks[1].realtime_usec >= marks[0].realtime_usec);
    log = open_with_times("other", "again.times", 1000);
    logfile_close(&log);
    CHECK_INT(read_times("again.times", &inode, marks), 0);
    CHECK_INT(inode, inode_of("other"));
}

/* Nobody knows when what an older version wrote came. */
static void test_marks_of_an_old_log(void) {
    LogTimesMark marks[TIMES_MAX];
    LogFile log;
    uint64_t inode;
    begin("old", 5);
    log = open_with_times("old", "old.times", 1000);
    logfile_write(&log, "new\n", 4);
    logfile_close(&log);
    CHECK_INT(read_times("old.times", &inode, marks), 1);
    CHECK_INT(marks[0].offset, 5);
}

static void test_marks_rotate(void) {
    LogFile log = open_with_times("turn", "turn.times", 100);
    LogTimesMark marks[TIMES_MAX];
    _cleanup_free_ char *text = calloc(1, 60);
    uint64_t inode, first;
    logfile_write(&log, text, 60);
    first = inode_of("turn");
    logfile_write(&log, text, 60);
    CHECK_INT(read_times("turn.times.1", &inode, marks), 1);
    CHECK_INT(inode, first);
    CHECK_INT(inode, inode_of("turn.1"));
    CHECK_INT(read_times("turn.times", &inode, marks), 1);
    CHECK_INT(inode, inode_of("turn"));
    CHECK_INT(marks[0].offset, 0);
    logfile_close(&log);
}

/* Many short lines: the marks are what is full. */
static void test_marks_are_bounded(void) {
    LogFile log = open_with_times("short", "short.times", 64);
    logfile_write(&log, "a\n", 2);
    for (uint64_t i = 1; i < 5; i++)
        log_times_note(&log.times, 2, "\n", 1, i * LOG_TIMES_STEP_USEC);
    CHECK_INT(size_of("short.times"), 16 + 5 * 16);
    logfile_write(&log, "b\n", 2);
    CHECK_INT(size_of("short.1"), 2);
    CHECK_INT(size_of("short"), 2);
    CHECK_INT(size_of("short.times"), 16 + 16);
    logfile_close(&log);
}

int main(void) {
    CHECK(mkdtemp(folder));
    folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(folder_fd >= 0);
    RUN(test_lowered_limit);
    RUN(test_room);
    RUN(test_marks_of_lines);
    RUN(test_marks_go_on);
    RUN(test_marks_of_an_old_log);
    RUN(test_marks_rotate);
    RUN(test_marks_are_bounded);
    CHECK_INT(path_remove_tree(folder), 0);
    return 0;
}
