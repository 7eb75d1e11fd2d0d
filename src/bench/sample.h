/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BENCH_SAMPLE_H
#define RAMET_BENCH_SAMPLE_H

/* Samples of one thing measured several times, and the report that is made of them. Things that are
 * compared are measured in turn (A B A B …) in one run, since a shared machine drifts; what counts
 * is the ratio of the medians. */

#include <stdbool.h>

#include "base/json.h"

#define SAMPLES_MAX 256

typedef struct Samples {
    const char *name;  /* borrowed */
    const char *label; /* borrowed: a short name for rows that compare with it; NULL: the name */
    const char *unit;  /* borrowed: "us", "MB/s", "bytes" */
    size_t count;
    double values[SAMPLES_MAX];
} Samples;

/* The figures below are of all values added so far. */
void samples_add(Samples *samples, double value);
double samples_median(const Samples *samples);
double samples_min(const Samples *samples);
double samples_max(const Samples *samples);

/* One line of a report: a figure beside what was asked of it. */
typedef struct BenchRow {
    char *name; /* owned */
    char *unit; /* owned */
    double median, min, max;
    size_t runs;
    char *against;    /* owned: label of the samples that `ratio` compares with; NULL: none */
    double reference; /* their median */
    double ratio;
    char *asked; /* owned: "<= 0.75 F"; NULL: nothing was asked */
    bool met;    /* meaningful when something was asked */
} BenchRow;

typedef struct BenchReport {
    const char *what; /* borrowed */
    BenchRow *rows;   /* owned */
    size_t count;
    json_t *notes;    /* owned; what was not measured, and why; may be NULL */
    json_t *failures; /* owned; [{"part","error":{…}}]; may be NULL */
    json_t *stages;   /* owned; {"fork":[{"name","start_us","duration_us"}], …}; may be NULL */
} BenchReport;

/* Adds the samples as a row. */
BenchRow *report_add(BenchReport *report, const Samples *samples);

/* Adds them with the ratio of their median to that of `other`; most: the ratio asked for at the
 * most, at_least: at the least (0: not asked). */
void report_add_ratio(BenchReport *report, const Samples *samples, const Samples *other,
                      double most, double at_least);

/* Adds them with an absolute bound on the median (0: not asked). */
void report_add_bound(BenchReport *report, const Samples *samples, double most);

/* Says something beside the figures, such as what was left out. */
void report_note(BenchReport *report, const char *format, ...) PRINTF_LIKE(2, 3);

/* Says that a part could not be measured: the others count, but the whole failed. */
void report_failure(BenchReport *report, const char *part, const Error *error);

/* The report as a table on standard output, and as an object that the caller owns. */
void report_print(const BenchReport *report);
json_t *report_to_json(const BenchReport *report);
void report_free(BenchReport *report);

#endif
