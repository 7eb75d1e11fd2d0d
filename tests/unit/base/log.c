/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "check.h"

/* Standard error goes to a file while `function` logs; returns what was logged. */
static char *capture(void (*function)(int file)) {
    static char text[4096];
    _cleanup_close_ int saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    _cleanup_close_ int file = memfd_create("log", MFD_CLOEXEC);
    CHECK(dup2(file, STDERR_FILENO) >= 0);
    function(file);
    CHECK(dup2(saved, STDERR_FILENO) >= 0);
    ssize_t size = fd_pread_full(file, text, sizeof(text) - 1, 0);
    CHECK(size >= 0);
    text[size] = '\0';
    return text;
}

static void log_plain(int file) {
    unsetenv("RAMET_LOG");
    log_init("tester", LOG_LEVEL_INFO);
    errno = EBUSY;
    log_info("two\nlines \x1b[2J %d", 17);
    log_debug("not shown");
    CHECK_INT(errno, EBUSY);
}

static void line_has_time_program_and_level(void) {
    const char *text = capture(log_plain);
    CHECK_CONTAINS(text, "Z tester: info: two lines ?[2J 17\n");
    CHECK(strchr(text, '\n')[1] == '\0');
}

static void log_by_environment(int file) {
    setenv("RAMET_LOG", "debug", 1);
    log_init("tester", LOG_LEVEL_ERROR);
    log_debug("shown");
    setenv("RAMET_LOG", "nonsense", 1);
    log_init("tester", LOG_LEVEL_ERROR);
    log_warning("hidden");
    unsetenv("RAMET_LOG");
}

static void environment_overrides_the_level(void) {
    const char *text = capture(log_by_environment);
    CHECK_CONTAINS(text, "debug: shown");
    CHECK(!strstr(text, "hidden"));
}

static void log_to_journal(int file) {
    struct stat info;
    CHECK_INT(fstat(file, &info), 0);
    _cleanup_free_ char *stream =
        str_format("%ju:%ju", (uintmax_t)info.st_dev, (uintmax_t)info.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    log_init("tester", LOG_LEVEL_INFO);
    log_error("it broke");
    unsetenv("JOURNAL_STREAM");
}

static void journal_gets_priorities(void) {
    CHECK_STR(capture(log_to_journal), "<3>it broke\n");
}

int main(void) {
    RUN(line_has_time_program_and_level);
    RUN(environment_overrides_the_level);
    RUN(journal_gets_priorities);
    return 0;
}
