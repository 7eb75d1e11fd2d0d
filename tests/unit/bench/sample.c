/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/sample.h"

#include "check.h"

static Samples sampled(const char *name, size_t count, const double *values) {
    Samples samples = {.name = name, .unit = "us"};
    for (size_t i = 0; i < count; i++)
        samples_add(&samples, values[i]);
    return samples;
}

static void test_median(void) {
    const double odd[] = {5, 1, 9}, even[] = {4, 1, 3, 100};
    Samples none = {.name = "none"}, three = sampled("a", 3, odd), four = sampled("b", 4, even);
    CHECK(samples_median(&none) == 0 && samples_max(&none) == 0);
    CHECK(samples_median(&three) == 5 && samples_min(&three) == 1 && samples_max(&three) == 9);
    CHECK(samples_median(&four) == 3.5);
}

static void test_more_than_fit(void) {
    Samples samples = {.name = "many"};
    for (size_t i = 0; i < SAMPLES_MAX + 10; i++)
        samples_add(&samples, 1);
    CHECK(samples.count == SAMPLES_MAX);
}

static const json_t *row(const json_t *document, size_t index) {
    return json_array_get(json_object_get(document, "rows"), index);
}

static void test_report(void) {
    const double base[] = {100, 200, 300}, fast[] = {20, 30, 40}, slow[] = {350, 400, 450};
    Samples baseline = sampled("F: a long name", 3, base);
    Samples quick = sampled("quick", 3, fast), late = sampled("late", 3, slow);
    _cleanup_(report_free) BenchReport report = {.what = "test"};
    baseline.label = "F";
    report_add_bound(&report, &baseline, 0);
    report_add_ratio(&report, &quick, &baseline, 0.15, 0);
    report_add_ratio(&report, &late, &baseline, 1.9, 0);
    report_add_bound(&report, &late, 400);
    _cleanup_json_ json_t *document = report_to_json(&report);
    CHECK(json_object_get(row(document, 0), "asked") == NULL);
    CHECK_STR(json_string_value(json_object_get(row(document, 1), "asked")), "<= 0.15 x F");
    CHECK(json_is_true(json_object_get(row(document, 1), "met")));
    CHECK(json_real_value(json_object_get(row(document, 1), "reference")) == 200);
    CHECK(json_real_value(json_object_get(row(document, 2), "ratio")) == 2);
    CHECK(json_is_false(json_object_get(row(document, 2), "met")));
    CHECK(json_is_true(json_object_get(row(document, 3), "met")));
    CHECK(json_object_get(document, "failures") == NULL);
}

static void test_failure(void) {
    _cleanup_(report_free) BenchReport report = {.what = "test"};
    _cleanup_error_ Error error = ERROR_INIT;
    (void)error_set(&error, ERROR_TIMEOUT, 0, "it did not come");
    report_failure(&report, "forks", &error);
    _cleanup_json_ json_t *document = report_to_json(&report);
    const json_t *failure = json_array_get(json_object_get(document, "failures"), 0);
    CHECK_STR(json_string_value(json_object_get(failure, "part")), "forks");
    CHECK_STR(json_string_value(json_object_get(json_object_get(failure, "error"), "message")),
              "it did not come");
}

int main(void) {
    RUN(test_median);
    RUN(test_more_than_fit);
    RUN(test_report);
    RUN(test_failure);
    return 0;
}
