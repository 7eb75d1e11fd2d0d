/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"

static const struct LevelInfo {
    const char *name;
    int priority; /* of syslog(3) */
} levels[] = {
    [LOG_LEVEL_ERROR] = {"error", 3},
    [LOG_LEVEL_WARNING] = {"warning", 4},
    [LOG_LEVEL_INFO] = {"info", 6},
    [LOG_LEVEL_DEBUG] = {"debug", 7},
};

static const char *program_name = "ramet"; /* borrowed */
static LogLevel max_level = LOG_LEVEL_INFO;
static bool to_journal;

/* $JOURNAL_STREAM names the device and inode of the journal's stream; it is inherited, so it counts
 * only when standard error still is that stream. */
static bool stderr_is_journal(void) {
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat info;
    if (!stream || fstat(STDERR_FILENO, &info) < 0)
        return false;
    _cleanup_free_ char *own =
        str_format("%ju:%ju", (uintmax_t)info.st_dev, (uintmax_t)info.st_ino);
    return str_equal(stream, own);
}

void log_init(const char *program, LogLevel level) {
    program_name = program;
    max_level = level;
    to_journal = stderr_is_journal();
    const char *wanted = getenv("RAMET_LOG");
    for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
        if (str_equal(wanted, levels[i].name))
            max_level = (LogLevel)i;
}

/* One message is one line, and nothing in it drives the terminal. */
static void replace_controls(char *text) {
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            *text = (char)(*text == '\n' || *text == '\t' ? ' ' : '?');
}

static char *format_line(LogLevel level, char *message) {
    replace_controls(message);
    if (to_journal)
        return str_format("<%d>%s\n", levels[level].priority, message);
    _cleanup_free_ char *time = clock_format_realtime(clock_realtime_usec());
    return str_format("%s %s: %s: %s\n", time, program_name, levels[level].name, message);
}

void log_message(LogLevel level, const char *format, ...) {
    if (level > max_level)
        return;
    int saved_errno = errno;
    va_list args;
    va_start(args, format);
    _cleanup_free_ char *message = str_format_va(format, args);
    va_end(args);
    _cleanup_free_ char *line = format_line(level, message);
    ssize_t ignored = write(STDERR_FILENO, line, strlen(line));
    (void)ignored;
    errno = saved_errno;
}
