/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/output.h"

#include <errno.h>
#include <langinfo.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/utf8.h"

int output_flush(Error *error) {
    if (fflush(stdout) == 0 && !ferror(stdout))
        return 0;
    return error_set_errno(error, errno ? errno : EIO, "cannot write to standard output");
}

int output_json(const json_t *json, Error *error) {
    errno = 0;
    if (json_dumpf(json, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY) == 0)
        (void)putchar('\n');
    return output_flush(error);
}

int output_line(const char *text, Error *error) {
    errno = 0;
    (void)puts(text);
    return output_flush(error);
}

int output_json_or_line(const Args *args, const json_t *json, const char *line, Error *error) {
    return args->json ? output_json(json, error) : output_line(line, error);
}

static void print_clean(const char *text) {
    _cleanup_free_ char *shown = utf8_show(text, strlen(text));
    (void)fputs(shown, stderr);
}

void output_error(const Error *error) {
    (void)fputs("ramet: ", stderr);
    print_clean(error_message(error));
    if (error->hint && error->hint[0]) {
        (void)fputs("; ", stderr);
        print_clean(error->hint);
    }
    (void)fputc('\n', stderr);
}

void output_note(const char *format, ...) {
    _cleanup_free_ char *text = NULL;
    va_list list;
    va_start(list, format);
    text = str_format_va(format, list);
    va_end(list);
    (void)fputs("ramet: ", stderr);
    print_clean(text);
    (void)fputc('\n', stderr);
}

void output_guest_line(const char *line) {
    (void)fputs("  ", stderr);
    print_clean(line);
    (void)fputc('\n', stderr);
}

/* Takes one byte of an escape sequence. Returns the bytes to write: a whole "ESC [ … m", or none.
 */
static size_t filter_escape(OutputFilter *filter, char byte, char *out) {
    bool goes_on = filter->length == 1 ? byte == '[' : (byte >= '0' && byte <= '9') || byte == ';';
    size_t n;
    filter->pending[filter->length++] = byte;
    if (goes_on && filter->length < OUTPUT_FILTER_EXTRA)
        return 0;
    n = filter->length > 2 && byte == 'm' ? filter->length : 0;
    memcpy(out, filter->pending, n);
    filter->length = 0;
    return n;
}

size_t output_filter(OutputFilter *filter, const char *data, size_t size, char *out) {
    size_t n = 0;
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)data[i];
        if (filter->length > 0)
            n += filter_escape(filter, data[i], out + n);
        else if (byte == 0x1b)
            filter->pending[filter->length++] = data[i];
        else if ((byte >= ' ' && byte != 0x7f) || (byte && strchr("\n\t\r", byte)))
            out[n++] = data[i];
    }
    return n;
}

char *output_member(const json_t *object, const char *key) {
    const json_t *member = json_object_get(object, key);
    if (json_is_string(member) && json_string_value(member)[0])
        return str_copy(json_string_value(member));
    if (json_is_integer(member))
        return str_format("%lld", (long long)json_integer_value(member));
    if (json_is_boolean(member))
        return str_copy(json_is_true(member) ? "yes" : "no");
    return str_copy("-");
}

char *output_vm_state(const json_t *vm) {
    if (json_is_true(json_object_get(vm, "no_room")))
        return str_copy("no room");
    return json_is_false(json_object_get(vm, "responsive")) ? str_copy("unresponsive")
                                                            : output_member(vm, "state");
}

char *output_member_size(const json_t *object, const char *key) {
    const json_t *member = json_object_get(object, key);
    return json_is_integer(member) ? format_size((uint64_t)json_integer_value(member))
                                   : str_copy("-");
}

char *output_member_digest(const json_t *object, const char *key) {
    _cleanup_free_ char *text = output_member(object, key);
    const char *colon = strchr(text, ':');
    return str_format("%.12s", colon ? colon + 1 : text);
}

static char *format_age(double seconds) {
    static const struct {
        double seconds;
        const char *name;
    } units[] = {{86400, "day"}, {3600, "hour"}, {60, "minute"}, {1, "second"}};

    for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
        unsigned long n = seconds > 0 ? (unsigned long)(seconds / units[i].seconds) : 0;
        if (n >= 2 || (n == 1 && i < ARRAY_SIZE(units) - 1))
            return str_format("%lu %s%s ago", n, units[i].name, n == 1 ? "" : "s");
    }
    return str_copy("just now");
}

char *output_member_age(const json_t *object, const char *key) {
    const json_t *member = json_object_get(object, key);
    struct tm tm = {0};
    if (json_is_integer(member)) /* seconds or smaller units since 1970 */
        return str_format("%lld", (long long)json_integer_value(member));
    if (!json_is_string(member) || !strptime(json_string_value(member), "%Y-%m-%dT%H:%M:%S", &tm))
        return str_copy("-");
    return format_age(difftime(time(NULL), timegm(&tm)));
}

bool output_is_utf8(void) {
    return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}
