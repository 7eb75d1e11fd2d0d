/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/stages_view.h"

#include <langinfo.h>
#include <string.h>

#include "base/str.h"
#include "cli/output.h"
#include "cli/table.h"

#define BAR_COLUMNS 40

/* A bar from `start` on, of at least one mark. */
static char *draw_bar(const Stage *stage, uint64_t total_usec) {
    const char *mark = output_is_utf8() ? "█" : "#";
    size_t from = total_usec ? (size_t)(stage->start_usec * BAR_COLUMNS / total_usec) : 0;
    size_t length = total_usec ? (size_t)(stage->duration_usec * BAR_COLUMNS / total_usec) : 0;
    StrBuf bar = {0};
    from = MIN_OF(from, (size_t)BAR_COLUMNS - 1);
    length = MIN_OF(MAX_OF(length, (size_t)1), BAR_COLUMNS - from);
    strbuf_add_format(&bar, "%*s", (int)from, "");
    for (size_t i = 0; i < length; i++)
        strbuf_add_text(&bar, mark);
    return strbuf_steal(&bar);
}

static void add_row(Table *table, const Stage *stage, uint64_t total_usec) {
    _cleanup_free_ char *start = format_duration(stage->start_usec);
    _cleanup_free_ char *duration = format_duration(stage->duration_usec);
    _cleanup_free_ char *bar = draw_bar(stage, total_usec);
    table_add(table, (const char *[]){stage->name, start, duration, bar});
}

int stages_print(FILE *stream, const char *title, const json_t *stages, Error *error) {
    Stages parsed;
    uint64_t total_usec = 0;
    _cleanup_(table_free_p) Table *table =
        table_new(stream, (const char *[]){"STAGE", ">START", ">TIME", "", NULL});
    _cleanup_free_ char *total = NULL;
    if (json_to_stages(stages, &parsed) < 0)
        return error_set(error, ERROR_CORRUPT, 0, "the daemon's stages cannot be read");
    for (size_t i = 0; i < parsed.count; i++)
        total_usec = MAX_OF(total_usec, parsed.items[i].start_usec + parsed.items[i].duration_usec);
    for (size_t i = 0; i < parsed.count; i++)
        add_row(table, &parsed.items[i], total_usec);
    total = format_duration(total_usec);
    table_add(table, (const char *[]){title ? title : "total", "", total, ""});
    table_print(table);
    return 0;
}

static json_t *metadata(const char *name, int tid, const char *value) {
    return json_pack("{s:s, s:s, s:i, s:i, s:i, s:{s:s}}", "ph", "M", "name", name, "ts", 0, "pid",
                     1, "tid", tid, "args", "name", value);
}

static json_t *complete_event(const Stage *stage) {
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:i, s:i}", "ph", "X", "name", stage->name, "cat",
                     "start", "ts", (json_int_t)stage->start_usec, "dur",
                     (json_int_t)stage->duration_usec, "pid", 1, "tid", 1);
}

int stages_to_trace(const char *vm, const json_t *stages, json_t **trace, Error *error) {
    Stages parsed;
    json_t *events;
    if (json_to_stages(stages, &parsed) < 0)
        return error_set(error, ERROR_CORRUPT, 0, "the daemon's stages cannot be read");
    events = json_array();
    json_array_append_new(events, metadata("process_name", 1, vm));
    json_array_append_new(events, metadata("thread_name", 1, "start"));
    for (size_t i = 0; i < parsed.count; i++)
        json_array_append_new(events, complete_event(&parsed.items[i]));
    *trace = json_pack("{s:o, s:s}", "traceEvents", events, "displayTimeUnit", "ms");
    return 0;
}
