/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/progress.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "cli/output.h"

#define INTERVAL_USEC (50 * USEC_PER_MSEC)
#define LINE_COLUMNS 78

static bool quiet;

void progress_be_quiet(void) {
    quiet = true;
}

void progress_start(Progress *progress) {
    *progress = (Progress){.terminal = isatty(STDERR_FILENO)};
}

static void show_line(Progress *progress, const char *text) {
    _cleanup_free_ char *clean = str_sanitize(text, strlen(text));
    (void)fprintf(stderr, "\r\033[K%.*s", LINE_COLUMNS, clean);
    (void)fflush(stderr);
    progress->shown = true;
    progress->last_usec = clock_monotonic_usec();
}

void progress_end(Progress *progress) {
    if (progress->shown)
        (void)fputs("\r\033[K", stderr);
    progress->shown = false;
}

void progress_show(Progress *progress, const char *what, uint64_t done_bytes,
                   uint64_t total_bytes) {
    _cleanup_free_ char *done = format_size(done_bytes), *total = format_size(total_bytes);
    _cleanup_free_ char *line = NULL;
    if (!progress->terminal || clock_monotonic_usec() < progress->last_usec + INTERVAL_USEC)
        return;
    if (total_bytes)
        line = str_format("%s: %s of %s (%d %%)", what, done, total,
                          (int)(100.0 * (double)done_bytes / (double)total_bytes));
    else
        line = done_bytes ? str_format("%s: %s", what, done) : str_copy(what);
    show_line(progress, line);
}

int progress_event(void *data, const json_t *event) {
    Progress *progress = data;
    const char *type = "", *what = "", *message = "", *name = "", *line = "";
    uint64_t done = 0, total = 0;
    if (quiet)
        return 0;
    (void)json_opt_string("event", event, "event", &type, NULL);
    (void)json_opt_string("event", event, "what", &what, NULL);
    (void)json_opt_string("event", event, "name", &name, NULL);
    (void)json_opt_string("event", event, "message", &message, NULL);
    (void)json_opt_string("event", event, "line", &line, NULL);
    (void)json_opt_u64("event", event, "done_bytes", &done, NULL);
    (void)json_opt_u64("event", event, "total_bytes", &total, NULL);
    if (str_equal(type, "progress")) {
        progress_show(progress, what, done, total);
    } else if (str_equal(type, "stage") && progress->terminal) {
        show_line(progress, name);
    } else if (str_equal(type, "note")) {
        progress_end(progress);
        output_note("%s", message);
    } else if (str_equal(type, "output")) {
        progress_end(progress);
        output_guest_line(line);
    }
    return 0;
}
