/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/picture.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"

static json_t *parse(const char *text) {
    json_t *json = json_loads(text, 0, NULL);
    CHECK(json != NULL);
    return json;
}

static size_t count(const char *text, const char *what) {
    size_t n = 0;
    for (const char *at = text; (at = strstr(at, what)); at += strlen(what))
        n++;
    return n;
}

/* Every bar begins and ends within the picture. */
static void check_bars(const char *svg) {
    for (const char *at = svg; (at = strstr(at, "<rect x=\"")); at++) {
        double x = strtod(at + strlen("<rect x=\""), NULL);
        double width = strtod(strstr(at, "width=\"") + strlen("width=\""), NULL);
        CHECK(x >= 0 && width >= 1 && x + width <= 760);
    }
}

static void test_whole(void) {
    _cleanup_json_ json_t *starts =
        parse("[{\"title\": \"fork\", \"stages\": ["
              "{\"name\": \"plan\", \"start_us\": 0, \"duration_us\": 900},"
              "{\"name\": \"a<b>&c\", \"start_us\": 900, \"duration_us\": 61100}]}]");
    _cleanup_json_ json_t *bars =
        parse("[{\"title\": \"fork\", \"usec\": 62000.0},"
              "{\"title\": \"cold\", \"usec\": 2400000.0, \"own\": true}]");
    const Picture picture = {
        .note = "a note", .yardstick_usec = 31000, .starts = starts, .bars = bars};
    _cleanup_free_ char *svg = picture_draw(&picture);
    CHECK(picture_stages_usec(json_object_get(json_array_get(starts, 0), "stages")) == 62000);
    CHECK(strncmp(svg, "<svg ", 5) == 0 && strstr(svg, "</svg>\n"));
    CHECK(strstr(svg, "a&lt;b>&amp;c") && !strstr(svg, "a<b"));
    CHECK(strstr(svg, "62.0 ms, 2.00 F") && strstr(svg, "2.40 s") && strstr(svg, "a note"));
    CHECK(count(svg, "<rect ") == 1 + 2 + 2 + 2); /* F, the fork whole and in stages, the bars */
    CHECK(count(svg, "#7d8794\"/>") == 2);        /* F and what is not our own */
    CHECK(count(svg, "<text ") == count(svg, "</text>"));
    check_bars(svg);
}

static void test_nothing(void) {
    _cleanup_json_ json_t *starts = json_array(), *bars = json_array();
    const Picture picture = {.note = "", .starts = starts, .bars = bars};
    _cleanup_free_ char *svg = picture_draw(&picture);
    CHECK(count(svg, "<rect ") == 0 && strstr(svg, "</svg>"));
}

int main(void) {
    RUN(test_whole);
    RUN(test_nothing);
    return 0;
}
