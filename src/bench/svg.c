/* SPDX-License-Identifier: Apache-2.0 */

/* Plain SVG 1.1, no scripts and no fonts of its own. The background is left out and the colours
 * suit light and dark ones; text follows the reader's colour scheme where the viewer knows it. */

#include "bench/svg.h"

#include <errno.h>
#include <stdio.h>

#include "base/str.h"

#define WIDTH 760.0
#define LEFT 120.0 /* names of stages end here */
#define RIGHT 90.0 /* room for the figures */
#define ROW 20.0   /* height of a stage's row */
#define BAR 12.0   /* height of a bar */
#define HEAD 46.0  /* title and the bar of the whole */
#define PANEL_GAP 22.0

static const char *const colours[] = {"#4c8dd6", "#3fa66b", "#d68a3c", "#9a6dd7",
                                      "#d0587e", "#35a3a3", "#a08c2f", "#7d8794"};

static double total_usec(const json_t *stages) {
    const json_t *last = json_array_get(stages, json_array_size(stages) - 1);
    return json_number_value(json_object_get(last, "start_us")) +
           json_number_value(json_object_get(last, "duration_us"));
}

static void add_escaped(StrBuf *svg, const char *text) {
    for (; text && *text; text++)
        if (*text == '<')
            strbuf_add_text(svg, "&lt;");
        else if (*text == '&')
            strbuf_add_text(svg, "&amp;");
        else
            strbuf_add(svg, text, 1);
}

static void add_text(StrBuf *svg, double x, double y, const char *class, const char *text) {
    strbuf_add_format(svg, "<text x=\"%.1f\" y=\"%.1f\" class=\"%s\">", x, y, class);
    add_escaped(svg, text);
    strbuf_add_text(svg, "</text>\n");
}

static void add_bar(StrBuf *svg, double x, double y, double width, const char *colour) {
    strbuf_add_format(svg,
                      "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.0f\" rx=\"2\" "
                      "fill=\"%s\"/>\n",
                      x, y, width > 1 ? width : 1, BAR, colour);
}

static void add_stage(StrBuf *svg, const json_t *stage, double whole, size_t index, double y) {
    double start = json_number_value(json_object_get(stage, "start_us"));
    double duration = json_number_value(json_object_get(stage, "duration_us"));
    double scale = (WIDTH - LEFT - RIGHT) / whole, x = LEFT + start * scale;
    _cleanup_free_ char *figure = str_format("%.1f ms", duration / 1000);
    add_text(svg, LEFT - 8, y + BAR - 2, "name", json_string_value(json_object_get(stage, "name")));
    add_bar(svg, x, y, duration * scale, colours[index % ARRAY_SIZE(colours)]);
    add_text(svg, x + MAX_OF(duration * scale, 1.0) + 5, y + BAR - 2, "figure", figure);
}

static double add_panel(StrBuf *svg, const json_t *start, double longest, double y) {
    const json_t *stages = json_object_get(start, "stages"), *stage;
    double whole = MAX_OF(total_usec(stages), 1.0),
           width = (WIDTH - LEFT - RIGHT) * whole / longest;
    _cleanup_free_ char *figure = str_format("%.1f ms", whole / 1000);
    size_t i;
    add_text(svg, 8, y + 14, "title", json_string_value(json_object_get(start, "title")));
    add_text(svg, LEFT - 8, y + 24 + BAR - 2, "name", "beside the others");
    add_bar(svg, LEFT, y + 24, width, colours[7]);
    add_text(svg, LEFT + MAX_OF(width, 1.0) + 5, y + 24 + BAR - 2, "figure", figure);
    y += HEAD;
    json_array_foreach(stages, i, stage) {
        add_stage(svg, stage, whole, i, y);
        y += ROW;
    }
    return y + PANEL_GAP;
}

static double picture_height(const json_t *starts, double *longest) {
    double height = 8;
    const json_t *start;
    size_t i;
    *longest = 1;
    json_array_foreach(starts, i, start) {
        const json_t *stages = json_object_get(start, "stages");
        height += HEAD + ROW * (double)json_array_size(stages) + PANEL_GAP;
        *longest = MAX_OF(*longest, total_usec(stages));
    }
    return height;
}

char *svg_draw_stages(const json_t *starts) {
    StrBuf svg = {0};
    double longest, height = picture_height(starts, &longest), y = 8;
    const json_t *start;
    size_t i;
    strbuf_add_format(&svg,
                      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" "
                      "viewBox=\"0 0 %.0f %.0f\" role=\"img\">\n",
                      WIDTH, height, WIDTH, height);
    strbuf_add_text(&svg, "<title>Where the time of a start goes</title>\n<style>\n"
                          "text{font:12px system-ui,sans-serif;fill:#6e7781}\n"
                          ".title{font-weight:600;font-size:14px}\n.name{text-anchor:end}\n"
                          "@media(prefers-color-scheme:dark){text{fill:#9aa5b1}}\n</style>\n");
    json_array_foreach(starts, i, start) y = add_panel(&svg, start, longest, y);
    strbuf_add_text(&svg, "</svg>\n");
    return strbuf_take(&svg);
}

int svg_write(const char *path, const json_t *starts, Error *error) {
    _cleanup_free_ char *svg = svg_draw_stages(starts);
    FILE *file = fopen(path, "we");
    if (!file)
        return error_set_errno(error, errno, "cannot write %s", path);
    bool failed = fputs(svg, file) < 0;
    failed |= fclose(file) != 0;
    return failed ? error_set_errno(error, errno, "cannot write %s", path) : 0;
}
