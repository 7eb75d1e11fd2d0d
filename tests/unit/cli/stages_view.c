/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/stages_view.h"

#include "base/str.h"
#include "check.h"
#include "cli/output.h"

static json_t *three_stages(void) {
    Stages stages = {.count = 3,
                     .items = {{"plan", 0, 500}, {"kernel", 500, 9000}, {"agent", 9500, 500}}};
    return json_from_stages(&stages);
}

static void test_trace(void) {
    _cleanup_json_ json_t *stages = three_stages(), *trace = NULL;
    const json_t *events, *event;
    size_t i, n_complete = 0, n_metadata = 0;
    json_int_t end = 0;
    CHECK_INT(stages_to_trace("web1", stages, &trace, NULL), 0);
    events = json_object_get(trace, "traceEvents");
    json_array_foreach(events, i, event) {
        const char *phase = json_string_value(json_object_get(event, "ph"));
        CHECK(json_is_integer(json_object_get(event, "pid")));
        CHECK(json_is_integer(json_object_get(event, "tid")));
        CHECK(json_is_string(json_object_get(event, "name")));
        n_metadata += strcmp(phase, "M") == 0;
        if (strcmp(phase, "X") != 0)
            continue;
        n_complete++;
        CHECK_INT(json_integer_value(json_object_get(event, "ts")), end);
        end += json_integer_value(json_object_get(event, "dur"));
    }
    CHECK_INT(n_complete, 3);
    CHECK_INT(n_metadata, 2);
    CHECK_INT(end, 10000);
}

static void test_table(void) {
    _cleanup_json_ json_t *stages = three_stages();
    _cleanup_free_ char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    CHECK_INT(stages_print(stream, "web1", stages, NULL), 0);
    CHECK_INT(fclose(stream), 0);
    CHECK_CONTAINS(text, "kernel");
    CHECK_CONTAINS(text, " 9 ms");
    CHECK_CONTAINS(text, "####");
    CHECK_CONTAINS(text, "web1");
}

static void test_bad_stages(void) {
    _cleanup_json_ json_t *bad = json_pack("[{s:s}]", "name", "x"), *trace = NULL;
    _cleanup_error_ Error error = ERROR_INIT;
    CHECK(stages_to_trace("x", bad, &trace, &error) < 0);
    CHECK(!trace);
    CHECK(stages_to_trace("x", NULL, &trace, NULL) < 0);
    CHECK(stages_print(stderr, NULL, bad, NULL) < 0);
}

static void filters(const char *text, const char *expected) {
    for (size_t step = 1; step <= 64; step *= 4) {
        OutputFilter filter = {0};
        char out[512];
        size_t n = 0, size = strlen(text);
        for (size_t at = 0; at < size; at += step)
            n += output_filter(&filter, text + at, MIN_OF(step, size - at), out + n);
        out[n] = '\0';
        CHECK_STR(out, expected);
    }
}

static void test_filter(void) {
    filters("plain\r\n\ttext", "plain\r\n\ttext");
    filters("\033[1;31mred\033[0m", "\033[1;31mred\033[0m");
    filters("\033[2Jgone\033]0;title\007x", "gone0;titlex");
    filters("a\010\001\177b", "ab");
    filters("caf\303\251", "caf\303\251");
    filters("\033[1111111111111111111111111111111111111111m", "1111111111m");
}

int main(void) {
    RUN(test_trace);
    RUN(test_table);
    RUN(test_bad_stages);
    RUN(test_filter);
    return 0;
}
