/* SPDX-License-Identifier: Apache-2.0 */
#include "recipe/step_work.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "base/utf8.h"
#include "proto/agent.h"
#include "run/guest_copy.h"
#include "run/guest_run.h"

/* Of whichever package manager the guest has. */
static const char install[] = "set -e\n"
                              "if command -v apt-get >/dev/null; then\n"
                              "  export DEBIAN_FRONTEND=noninteractive\n"
                              "  apt-get -q update\n"
                              "  apt-get -q -y --no-install-recommends install -- \"$@\"\n"
                              "  apt-get clean\n"
                              "elif command -v apk >/dev/null; then\n"
                              "  apk add --no-cache -- \"$@\"\n"
                              "elif command -v dnf >/dev/null; then\n"
                              "  dnf -y --setopt=install_weak_deps=False install -- \"$@\"\n"
                              "else\n"
                              "  echo 'there is neither apt-get, apk nor dnf in this image' >&2\n"
                              "  exit 127\n"
                              "fi\n";

static size_t trimmed(const char *text) {
    size_t length = strlen(text);
    while (length > 0 && (text[length - 1] == '\n' || text[length - 1] == ' '))
        length--;
    return length;
}

/* In front of the guest's last words. */
static int explain(const StrBuf *output, Error *error, ErrorKind kind, int number,
                   const char *what) {
    _cleanup_free_ char *said = utf8_show(output->data ? output->data : "", output->size);
    size_t length = trimmed(said);
    if (length == 0)
        return error_set(error, kind, number, "%s; it printed nothing", what);
    return error_set(error, kind, number, "%s; it printed last:\n%.*s", what, (int)length, said);
}

/* ---- what it prints, line by line, for who waits ---- */

#define LINE_MAX_BYTES 1024u /* a longer one is told in parts */

typedef struct Lines {
    Operation *operation; /* borrowed */
    StrBuf line;          /* owned: the one that has not ended */
} Lines;

static void end_line(Lines *lines) {
    if (lines->line.size > 0) {
        _cleanup_free_ char *shown = utf8_show(lines->line.data, lines->line.size);
        operation_output(lines->operation, shown);
    }
    strbuf_free(&lines->line);
}

/* A carriage return ends one, too: progress is drawn with them. */
static void add_bytes(void *data, const char *bytes, size_t size) {
    Lines *lines = data;
    for (const char *end = bytes + size; bytes < end;) {
        size_t room = LINE_MAX_BYTES - lines->line.size, left = (size_t)(end - bytes), n = 0;
        while (n < left && n < room && bytes[n] != '\n' && bytes[n] != '\r')
            n++;
        strbuf_add(&lines->line, bytes, n);
        bytes += n;
        if (n == left)
            return;
        end_line(lines);
        if (n < room)
            bytes++;
    }
}

static int run_words(Home *home, Operation *operation, const VmRow *vm, const char *const *argv,
                     uint64_t timeout_s, Error *error) {
    _cleanup_error_ Error failure = ERROR_INIT;
    _cleanup_free_ char *what = NULL;
    Lines lines = {.operation = operation};
    GuestOutput output = {.on_bytes = add_bytes, .data = &lines};
    int status = 0;
    int r =
        guest_run(home, operation, vm, argv, timeout_s * USEC_PER_SEC, &status, &output, &failure);
    end_line(&lines);
    if (r < 0 && failure.kind == ERROR_TIMEOUT) {
        what = str_format("it did not end within %llu s", (unsigned long long)timeout_s);
        r = explain(&output.last, error, ERROR_TIMEOUT, ETIMEDOUT, what);
        error_set_hint(error, "give it longer with timeout, or look into it with "
                              "--shell-on-failure");
    } else if (r < 0 && output.last.size > 0 && failure.kind != ERROR_CANCELLED) {
        r = explain(&output.last, error, failure.kind, failure.errnum, error_message(&failure));
        error_set_hint(error, "%s", failure.hint);
    } else if (r < 0) {
        r = error_move(error, &failure);
    } else if (status != 0) {
        what = str_format("it ended with exit status %d", status);
        r = explain(&output.last, error, ERROR_FAILED, EIO, what);
        error_set_hint(error, "look into it with --shell-on-failure");
    }
    strbuf_free(&output.last);
    return r;
}

static int run_line(Home *home, Operation *operation, const VmRow *vm, const RecipeStep *step,
                    Error *error) {
    const char *const argv[] = {"/bin/sh", "-c", step->command, NULL};
    return run_words(home, operation, vm, argv, step->timeout_s, error);
}

static int add_packages(Home *home, Operation *operation, const VmRow *vm, const RecipeStep *step,
                        Error *error) {
    size_t count = json_array_size(step->packages), i;
    _cleanup_free_ const char **argv = calloc(count + 5, sizeof(*argv));
    const json_t *package;
    if (!argv)
        abort();
    argv[0] = "/bin/sh";
    argv[1] = "-c";
    argv[2] = install;
    argv[3] = "sh";
    json_array_foreach(step->packages, i, package) argv[4 + i] = json_string_value(package);
    return run_words(home, operation, vm, argv, step->timeout_s, error);
}

/* "/srv/www" → "/srv", "/srv/www/" → "/srv/www": what has to be there; NULL: it is. */
static char *folder_before(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash == path ? NULL : str_format("%.*s", (int)(slash - path), path);
}

static int copy_files(Home *home, Operation *operation, const VmRow *vm, const RecipeStep *step,
                      int fd, Error *error) {
    _cleanup_free_ char *folder = folder_before(step->path);
    const char *const argv[] = {"/bin/mkdir", "-p", "--", folder, NULL};
    const GuestCopy copy = {.path = step->path,
                            .flags = step->flags,
                            .fd = fd,
                            .offset = step->offset,
                            .bytes = step->bytes};
    int r = folder ? run_words(home, operation, vm, argv, step->timeout_s, error) : 0;
    return r < 0 ? r
                 : guest_copy_in(home, operation, vm, &copy, step->timeout_s * USEC_PER_SEC, error);
}

int step_work(Home *home, Operation *operation, const VmRow *vm, const RecipeStep *step, int fd,
              Error *error) {
    switch (step->kind) {
    case RECIPE_PACKAGES:
        return add_packages(home, operation, vm, step, error);
    case RECIPE_COPY:
        return copy_files(home, operation, vm, step, fd, error);
    default:
        return run_line(home, operation, vm, step, error);
    }
}
