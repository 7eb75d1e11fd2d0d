/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/logs_view.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "cli/client.h"
#include "cli/output.h"
#include "cli/prefix.h"

/* What all logs of one call share. */
typedef struct Logs {
    char *query; /* borrowed */
    bool terminal;
    bool many;            /* several VMs: the lines get prefixes, and errors are told at once */
    bool of_lab;          /* then the names are the lab's own */
    int stop_fd;          /* borrowed: readable once standard output takes nothing any more */
    pthread_mutex_t lock; /* of standard output */
} Logs;

/* One VM's log. */
typedef struct Source {
    Logs *logs;     /* borrowed */
    const char *vm; /* borrowed: a name or an id */
    char *name;     /* owned */
    char *label;    /* owned: "web1 | " */
    OutputFilter filter;
    Prefix prefix;
    pthread_t thread;
    Error error;
} Source;

static char *make_query(const Args *args) {
    StrBuf query = {0};
    uint64_t since = 0;
    strbuf_add_text(&query, args_flag(args, "follow") ? "follow=1" : "follow=0");
    if (args_text(args, "tail"))
        strbuf_add_format(&query, "&tail=%s", args_text(args, "tail"));
    if (args_time(args, "since", &since))
        strbuf_add_format(&query, "&since=%llu", (unsigned long long)since);
    return strbuf_steal(&query);
}

static int fetch_log(const Logs *logs, const char *vm, HttpDataHandler on_data, void *data,
                     Error *error) {
    _cleanup_free_ char *path = api_path(API_VM_LOGS, vm, logs->query);
    _cleanup_close_ int fd = -1;
    char note[HTTP_NOTE_SIZE] = "";
    HttpCall call = HTTP_CALL(api_operation(API_VM_LOGS)->method, path);
    int r = client_connect(&fd, error);
    call.data = data;
    call.note = note;
    call.cancel_fd = logs->stop_fd;
    if (r == 0)
        r = http_call_data(fd, &call, on_data, error);
    if (note[0])
        output_note("%s: %s", vm, note);
    return r;
}

/* Whole lines, or what comes when there is one log. */
static int print(Source *source, const void *bytes, size_t size) {
    Logs *logs = source->logs;
    int r;
    pthread_mutex_lock(&logs->lock);
    r = fd_write_full(STDOUT_FILENO, bytes, size);
    pthread_mutex_unlock(&logs->lock);
    if (r >= 0)
        return 0;
    (void)eventfd_write(logs->stop_fd, 1);
    return error_set_errno(&source->error, -r, "cannot write to standard output");
}

static int print_lines(Source *source, const void *bytes, size_t size) {
    _cleanup_(strbuf_free) StrBuf lines = {0};
    prefix_add(&source->prefix, bytes, size, &lines);
    return lines.size > 0 ? print(source, lines.data, lines.size) : 0;
}

static int print_rest(Source *source) {
    _cleanup_(strbuf_free) StrBuf lines = {0};
    prefix_end(&source->prefix, &lines);
    return lines.size > 0 ? print(source, lines.data, lines.size) : 0;
}

/* A guest's bytes must not drive our terminal; on a pipe they stay as they are. */
static int add_piece(void *data, const void *bytes, size_t size) {
    Source *source = data;
    _cleanup_free_ char *clean = NULL;
    if (source->logs->terminal) {
        clean = malloc(size + OUTPUT_FILTER_EXTRA);
        if (!clean)
            abort();
        size = output_filter(&source->filter, bytes, size, clean);
        bytes = clean;
    }
    return source->logs->many ? print_lines(source, bytes, size) : print(source, bytes, size);
}

/* A failure is told at once when the others go on. */
static void tell_failure(const Source *source) {
    if (source->logs->many && source->error.kind != ERROR_CANCELLED)
        output_error(&source->error);
}

static void show_source(Source *source) {
    int r;
    if (source->error.kind != ERROR_NONE)
        return;
    r = fetch_log(source->logs, source->vm, add_piece, source, &source->error);
    if (r == 0)
        r = print_rest(source);
    if (r < 0)
        tell_failure(source);
}

static void *follow_source(void *data) {
    show_source(data);
    return NULL;
}

/* All at once, each with a thread of its own, until the last VM has ended. */
static int follow_sources(Source *sources, size_t count, Error *error) {
    size_t started = 0;
    int r = 0;
    for (; r == 0 && started < count; started += r == 0)
        r = pthread_create(&sources[started].thread, NULL, follow_source, &sources[started]);
    if (r != 0)
        (void)eventfd_write(sources[0].logs->stop_fd, 1);
    for (size_t i = 0; i < started; i++)
        (void)pthread_join(sources[i].thread, NULL);
    return r == 0 ? 0 : error_set_errno(error, r, "cannot follow so many logs at once");
}

static int find_name(const char *vm, char **name, Error *error) {
    _cleanup_json_ json_t *row = NULL;
    int r = client_call(API_VM_INSPECT, vm, NULL, NULL, &row, error);
    if (r == 0)
        *name = str_copy(json_string_value(json_object_get(row, "name")));
    return r;
}

static const char *shown_name(const Source *source) {
    const char *name = str_or_empty(source->name);
    return source->logs->of_lab ? name_within_lab(name) : name;
}

/* On a terminal the lines of all begin in the same column; for a program the form is one. */
static void label_sources(Source *sources, size_t count) {
    bool terminal = sources[0].logs->terminal;
    size_t width = 0;
    for (size_t i = 0; i < count; i++) {
        Source *source = &sources[i];
        if (find_name(source->vm, &source->name, &source->error) < 0)
            tell_failure(source);
        else if (terminal)
            width = MAX_OF(width, strlen(shown_name(source)));
    }
    for (size_t i = 0; i < count; i++) {
        sources[i].label = str_format("%-*s | ", (int)width, shown_name(&sources[i]));
        sources[i].prefix.text = sources[i].label;
    }
}

static Source *make_sources(Logs *logs, const Args *args) {
    Source *sources = calloc(args->n_operands, sizeof(*sources));
    if (!sources)
        abort();
    for (size_t i = 0; i < args->n_operands; i++)
        sources[i] = (Source){.logs = logs, .vm = args->operands[i], .error = ERROR_INIT};
    if (logs->many)
        label_sources(sources, args->n_operands);
    return sources;
}

/* One VM's error is the caller's to tell; of several ones' the first decides the exit status. */
static int free_sources(Source *sources, size_t count, Error *error) {
    bool many = sources[0].logs->many;
    int r = 0;
    for (size_t i = 0; i < count; i++) {
        Source *source = &sources[i];
        if (!many && source->error.kind != ERROR_NONE)
            r = error_move(error, &source->error);
        else if (r == 0 && source->error.kind != ERROR_NONE)
            r = error_kind_exit_status(source->error.kind);
        error_clear(&source->error);
        prefix_free(&source->prefix);
        free(source->label);
        free(source->name);
    }
    free(sources);
    return r;
}

static int show(const Args *args, Logs *logs, Error *error) {
    Source *sources = make_sources(logs, args);
    int r = 0, failed;
    if (logs->many && args_flag(args, "follow"))
        r = follow_sources(sources, args->n_operands, error);
    else
        for (size_t i = 0; i < args->n_operands; i++)
            show_source(&sources[i]);
    failed = free_sources(sources, args->n_operands, error);
    return r < 0 ? r : failed;
}

int logs_show(const Args *args, bool of_lab, Error *error) {
    _cleanup_close_ int stop = eventfd(0, EFD_CLOEXEC);
    _cleanup_free_ char *query = make_query(args);
    Logs logs = {.query = query,
                 .terminal = isatty(STDOUT_FILENO),
                 .many = of_lab || args->n_operands > 1,
                 .of_lab = of_lab,
                 .stop_fd = stop,
                 .lock = PTHREAD_MUTEX_INITIALIZER};
    return stop < 0 ? error_set_errno(error, errno, "cannot wait for logs")
                    : show(args, &logs, error);
}

/* --json */

static int gather(void *data, const void *bytes, size_t size) {
    strbuf_add(data, bytes, size);
    return 0;
}

int logs_document(const Args *args, const char *vm, json_t **answer, Error *error) {
    _cleanup_free_ char *query = make_query(args);
    _cleanup_free_ char *name = NULL;
    Logs logs = {.query = query, .stop_fd = -1};
    _cleanup_(strbuf_free) StrBuf log = {0};
    int r = find_name(vm, &name, error);
    if (r == 0)
        r = fetch_log(&logs, vm, gather, &log, error);
    if (r == 0)
        *answer = json_pack("{s:s, s:o}", "name", name, "log", json_from_bytes(log.data, log.size));
    return r;
}
