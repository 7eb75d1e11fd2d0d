/* SPDX-License-Identifier: Apache-2.0 */

#include "bench/sample.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

void samples_add(Samples *samples, double value) {
    if (samples->count < SAMPLES_MAX)
        samples->values[samples->count++] = value;
}

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double samples_rank(const Samples *samples, size_t rank) {
    double sorted[SAMPLES_MAX];
    if (samples->count == 0)
        return 0;
    memcpy(sorted, samples->values, samples->count * sizeof(double));
    qsort(sorted, samples->count, sizeof(double), compare_doubles);
    return sorted[rank];
}

double samples_median(const Samples *samples) {
    size_t n = samples->count;
    if (n == 0)
        return 0;
    return n % 2 ? samples_rank(samples, n / 2)
                 : (samples_rank(samples, n / 2 - 1) + samples_rank(samples, n / 2)) / 2;
}

double samples_min(const Samples *samples) {
    return samples_rank(samples, 0);
}

double samples_max(const Samples *samples) {
    return samples->count ? samples_rank(samples, samples->count - 1) : 0;
}

static char *value_text(double value, const char *unit) {
    if (value < 0) {
        _cleanup_free_ char *rest = value_text(-value, unit);
        return str_format("-%s", rest);
    }
    if (str_equal(unit, "us"))
        return format_duration((uint64_t)(value + 0.5));
    if (str_equal(unit, "bytes"))
        return format_size((uint64_t)value);
    return str_format("%.4g %s", value, unit);
}

BenchRow *report_add(BenchReport *report, const Samples *samples) {
    report->rows = reallocarray(report->rows, report->count + 1, sizeof(BenchRow));
    if (!report->rows)
        abort();
    BenchRow *row = &report->rows[report->count++];
    *row = (BenchRow){
        .name = str_copy(samples->name),
        .unit = str_copy(samples->unit),
        .median = samples_median(samples),
        .min = samples_min(samples),
        .max = samples_max(samples),
        .runs = samples->count,
    };
    return row;
}

void report_add_ratio(BenchReport *report, const Samples *samples, const Samples *other,
                      double most, double at_least) {
    BenchRow *row = report_add(report, samples);
    double reference = samples_median(other);
    row->against = str_copy(other->label ? other->label : other->name);
    row->reference = reference;
    row->ratio = reference > 0 ? row->median / reference : 0;
    if (most > 0) {
        row->asked = str_format("<= %.4g x %s", most, row->against);
        row->met = row->ratio <= most;
    } else if (at_least > 0) {
        row->asked = str_format(">= %.4g x %s", at_least, row->against);
        row->met = row->ratio >= at_least;
    }
}

void report_add_bound(BenchReport *report, const Samples *samples, double most) {
    BenchRow *row = report_add(report, samples);
    if (most > 0) {
        _cleanup_free_ char *bound = value_text(most, samples->unit);
        row->asked = str_format("<= %s", bound);
        row->met = row->median <= most;
    }
}

void report_note(BenchReport *report, const char *format, ...) {
    va_list args;
    va_start(args, format);
    _cleanup_free_ char *text = str_format_va(format, args);
    va_end(args);
    if (!report->notes)
        report->notes = json_array();
    json_array_append_new(report->notes, json_string(text));
}

void report_failure(BenchReport *report, const char *part, const Error *error) {
    _cleanup_json_ json_t *wrapped = json_from_error(error);
    if (!report->failures)
        report->failures = json_array();
    json_array_append_new(report->failures, json_pack("{s:s, s:O}", "part", part, "error",
                                                      json_object_get(wrapped, "error")));
}

static void row_print(const BenchRow *row) {
    _cleanup_free_ char *median = value_text(row->median, row->unit);
    _cleanup_free_ char *min = value_text(row->min, row->unit);
    _cleanup_free_ char *max = value_text(row->max, row->unit);
    _cleanup_free_ char *range = str_format("%s to %s", min, max);
    _cleanup_free_ char *ratio =
        row->against ? str_format("%.3g x %s", row->ratio, row->against) : str_copy("");
    printf("%-40s %10s  %-22s %4zu  %-14s", row->name, median, range, row->runs, ratio);
    if (row->asked)
        printf("  %-16s %s", row->asked, row->met ? "met" : "MISSED");
    putchar('\n');
}

void report_print(const BenchReport *report) {
    const json_t *failure;
    size_t i;
    printf("%-40s %10s  %-22s %4s  %-14s  %s\n", "", "median", "range", "runs", "measured",
           "asked");
    for (i = 0; i < report->count; i++)
        row_print(&report->rows[i]);
    for (i = 0; i < json_array_size(report->notes); i++)
        printf("note: %s\n", json_string_value(json_array_get(report->notes, i)));
    json_array_foreach(report->failures, i, failure) {
        const json_t *error = json_object_get(failure, "error");
        printf("not measured: %s: %s\n", json_string_value(json_object_get(failure, "part")),
               json_string_value(json_object_get(error, "message")));
    }
}

static json_t *row_to_json(const BenchRow *row) {
    json_t *json =
        json_pack("{s:s,s:s,s:f,s:f,s:f,s:I}", "name", row->name, "unit", row->unit, "median",
                  row->median, "min", row->min, "max", row->max, "runs", (json_int_t)row->runs);
    if (row->against) {
        json_object_set_new(json, "against", json_string(row->against));
        json_object_set_new(json, "reference", json_real(row->reference));
        json_object_set_new(json, "ratio", json_real(row->ratio));
    }
    if (row->asked) {
        json_object_set_new(json, "asked", json_string(row->asked));
        json_object_set_new(json, "met", json_boolean(row->met));
    }
    return json;
}

json_t *report_to_json(const BenchReport *report) {
    json_t *rows = json_array();
    for (size_t i = 0; i < report->count; i++)
        json_array_append_new(rows, row_to_json(&report->rows[i]));
    json_t *json = json_pack("{s:s,s:o}", "bench", report->what, "rows", rows);
    if (report->notes)
        json_object_set(json, "notes", report->notes);
    if (report->failures)
        json_object_set(json, "failures", report->failures);
    if (report->stages)
        json_object_set(json, "stages", report->stages);
    return json;
}

void report_free(BenchReport *report) {
    for (size_t i = 0; i < report->count; i++) {
        free(report->rows[i].name);
        free(report->rows[i].unit);
        free(report->rows[i].against);
        free(report->rows[i].asked);
    }
    free(report->rows);
    json_decref(report->notes);
    json_decref(report->failures);
    json_decref(report->stages);
    *report = (BenchReport){0};
}
