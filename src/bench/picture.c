/* SPDX-License-Identifier: Apache-2.0 */

/* Plain SVG 1.1, no scripts and no fonts of its own. The background is left out, and colours and
 * text can be read on light and dark ones; text follows the reader's colour scheme where the viewer
 * knows it.
 *
 * A Canvas grows downwards row by row. Each row has a name at the left, a bar and a figure behind
 * it, all at the scale of the rows around it. */

#include "bench/picture.h"

#include <errno.h>
#include <stdio.h>

#include "base/str.h"

#define WIDTH 760.0
#define LEFT 170.0  /* names end here */
#define RIGHT 110.0 /* room for the figures */
#define ROW 20.0    /* height of a row */
#define BAR 12.0    /* height of a bar */
#define HEAD 26.0   /* height of a heading */
#define GAP 16.0    /* above a heading */
#define STEPS 8     /* lines of the scale, at most */

#define GREY "#7d8794"
static const char *const colours[] = {"#4c8dd6", "#3fa66b", "#d68a3c", "#9a6dd7",
                                      "#d0587e", "#35a3a3", "#a08c2f"};

typedef struct Canvas {
    StrBuf svg;
    double y;         /* where the next row begins */
    double full_usec; /* what the whole width stands for */
} Canvas;

static double number(const json_t *object, const char *key) {
    return json_number_value(json_object_get(object, key));
}

static const char *text_of(const json_t *object, const char *key) {
    return json_string_value(json_object_get(object, key));
}

double picture_stages_usec(const json_t *stages) {
    const json_t *last = json_array_get(stages, json_array_size(stages) - 1);
    return number(last, "start_us") + number(last, "duration_us");
}

/* --- marks --------------------------------------------------------------------------------------
 */

static double scaled(const Canvas *canvas, double usec) {
    return usec * (WIDTH - LEFT - RIGHT) / canvas->full_usec;
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

static void add_text(Canvas *canvas, double x, double y, const char *class, const char *text) {
    strbuf_add_format(&canvas->svg, "<text x=\"%.1f\" y=\"%.1f\" class=\"%s\">", x, y, class);
    add_escaped(&canvas->svg, text);
    strbuf_add_text(&canvas->svg, "</text>\n");
}

static void add_bar(Canvas *canvas, double start_usec, double usec, const char *colour) {
    strbuf_add_format(&canvas->svg,
                      "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.0f\" rx=\"2\" "
                      "fill=\"%s\"/>\n",
                      LEFT + scaled(canvas, start_usec), canvas->y + (ROW - BAR) / 2,
                      MAX_OF(scaled(canvas, usec), 1.0), BAR, colour);
}

static void add_line(Canvas *canvas, double usec, double height) {
    strbuf_add_format(
        &canvas->svg, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"scale\"/>\n",
        LEFT + scaled(canvas, usec), canvas->y, LEFT + scaled(canvas, usec), canvas->y + height);
}

/* "12.3 ms", with about three digits. */
static char *figure_text(double usec) {
    if (usec >= 1e6)
        return str_format("%.2f s", usec / 1e6);
    if (usec < 1e3)
        return str_format("%.0f µs", usec);
    return usec >= 1e5 ? str_format("%.0f ms", usec / 1e3) : str_format("%.1f ms", usec / 1e3);
}

/* --- rows ---------------------------------------------------------------------------------------
 */

static void add_heading(Canvas *canvas, const char *class, const char *text) {
    canvas->y += GAP;
    add_text(canvas, 8, canvas->y + 14, class, text);
    canvas->y += HEAD;
}

static void add_name(Canvas *canvas, const char *class, const char *name) {
    add_text(canvas, LEFT - 8, canvas->y + ROW - 6, class, name);
}

/* Ends the row. */
static void add_figure(Canvas *canvas, double end_usec, const char *figure) {
    add_text(canvas, LEFT + MAX_OF(scaled(canvas, end_usec), 1.0) + 5, canvas->y + ROW - 6,
             "figure", figure);
    canvas->y += ROW;
}

static void add_row(Canvas *canvas, const char *name, double start_usec, double usec,
                    const char *colour) {
    _cleanup_free_ char *figure = figure_text(usec);
    add_name(canvas, "name", name);
    add_bar(canvas, start_usec, usec, colour);
    add_figure(canvas, start_usec + usec, figure);
}

/* A stage has the same colour in every start. */
static const char *colour_of(const char *stage, size_t index) {
    static const char *const known[] = {"plan", "overlay", "memory", "keeper",   "sandbox",
                                        "qemu", "load",    "agent",  "identity", "claim"};
    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (str_equal(stage, known[i]))
            index = i;
    return colours[index % ARRAY_SIZE(colours)];
}

/* One bar of all stages, and then each for itself. */
static void add_start(Canvas *canvas, const json_t *start, double yardstick_usec) {
    const json_t *stages = json_object_get(start, "stages"), *stage;
    double whole = picture_stages_usec(stages);
    _cleanup_free_ char *time = figure_text(whole);
    _cleanup_free_ char *figure = yardstick_usec > 0
                                      ? str_format("%s, %.2f F", time, whole / yardstick_usec)
                                      : str_copy(time);
    size_t i;
    canvas->y += 6;
    add_name(canvas, "name strong", text_of(start, "title"));
    json_array_foreach(stages, i, stage) {
        add_bar(canvas, number(stage, "start_us"), number(stage, "duration_us"),
                colour_of(text_of(stage, "name"), i));
    }
    add_figure(canvas, whole, figure);
    json_array_foreach(stages, i, stage) {
        add_row(canvas, text_of(stage, "name"), number(stage, "start_us"),
                number(stage, "duration_us"), colour_of(text_of(stage, "name"), i));
    }
}

/* --- the two parts ------------------------------------------------------------------------------
 */

/* 1, 2 or 5 times a power of ten, so that at most STEPS of them fill the width. */
static double scale_step(double full_usec) {
    static const double steps[] = {1, 2, 5};
    for (double ten = 100;; ten *= 10)
        for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
            if (ten * steps[i] * STEPS >= full_usec)
                return ten * steps[i];
}

static void add_scale(Canvas *canvas, double height) {
    double step = scale_step(canvas->full_usec);
    size_t lines = (size_t)(canvas->full_usec / step);
    for (size_t i = 0; i <= lines; i++) {
        double usec = step * (double)i;
        bool seconds = step >= 1e5;
        _cleanup_free_ char *label =
            str_format(seconds ? "%.4g s" : "%.4g ms", usec / (seconds ? 1e6 : 1e3));
        add_text(canvas, LEFT + scaled(canvas, usec), canvas->y + 8, "tick", label);
        canvas->y += 12;
        add_line(canvas, usec, height);
        canvas->y -= 12;
    }
    canvas->y += 12;
}

static double starts_height(const Picture *picture) {
    double height = ROW;
    const json_t *start;
    size_t i;
    json_array_foreach(picture->starts, i, start) {
        height += 6 + ROW * (double)(1 + json_array_size(json_object_get(start, "stages")));
    }
    return height;
}

static void add_starts(Canvas *canvas, const Picture *picture) {
    const json_t *start;
    size_t i;
    canvas->full_usec = MAX_OF(picture->yardstick_usec, 1.0);
    json_array_foreach(picture->starts, i, start) {
        double whole = picture_stages_usec(json_object_get(start, "stages"));
        canvas->full_usec = MAX_OF(canvas->full_usec, whole);
    }
    add_scale(canvas, starts_height(picture));
    if (picture->yardstick_usec > 0)
        add_row(canvas, "F: QEMU alone", 0, picture->yardstick_usec, GREY);
    json_array_foreach(picture->starts, i, start) {
        add_start(canvas, start, picture->yardstick_usec);
    }
}

static void add_bars(Canvas *canvas, const Picture *picture) {
    const json_t *bar;
    size_t i;
    canvas->full_usec = 1;
    json_array_foreach(picture->bars, i, bar) {
        canvas->full_usec = MAX_OF(canvas->full_usec, number(bar, "usec"));
    }
    add_scale(canvas, ROW * (double)json_array_size(picture->bars));
    json_array_foreach(picture->bars, i, bar) {
        bool own = json_is_true(json_object_get(bar, "own"));
        add_row(canvas, text_of(bar, "title"), 0, number(bar, "usec"), own ? colours[0] : GREY);
    }
}

static const char style[] = "<style>\n"
                            "text{font:12px system-ui,sans-serif;fill:#6e7781}\n"
                            ".title{font-weight:600;font-size:14px}\n"
                            ".name{text-anchor:end}\n.strong{font-weight:600}\n"
                            ".tick{text-anchor:middle;font-size:10px}\n"
                            ".scale{stroke:#7d8794;stroke-opacity:.25}\n"
                            "@media(prefers-color-scheme:dark){text{fill:#9aa5b1}}\n</style>\n";

/* The head comes last, since it holds the height. */
char *picture_draw(const Picture *picture) {
    Canvas canvas = {.y = 0};
    StrBuf svg = {0};
    add_heading(&canvas, "title", "Where the time goes, from the request to a VM that is ready");
    add_starts(&canvas, picture);
    add_heading(&canvas, "title", "Beside other ways to the same guest");
    add_bars(&canvas, picture);
    add_heading(&canvas, "note", picture->note);
    canvas.y += 4;
    _cleanup_free_ char *body = strbuf_take(&canvas.svg);
    strbuf_add_format(&svg,
                      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" "
                      "viewBox=\"0 0 %.0f %.0f\" role=\"img\">\n<title>Where the time of a fork "
                      "goes</title>\n%s%s</svg>\n",
                      WIDTH, canvas.y, WIDTH, canvas.y, style, body);
    return strbuf_take(&svg);
}

int picture_write(const Picture *picture, const char *path, Error *error) {
    _cleanup_free_ char *svg = picture_draw(picture);
    FILE *file = fopen(path, "we");
    if (!file)
        return error_set_errno(error, errno, "cannot write %s", path);
    bool failed = fputs(svg, file) < 0;
    failed |= fclose(file) != 0;
    return failed ? error_set_errno(error, errno, "cannot write %s", path) : 0;
}
