/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"

#include <errno.h>
#include <string.h>

static void *allocate(void *old, size_t size) {
    void *data = realloc(old, size);
    if (!data)
        abort();
    return data;
}

char *str_format(const char *format, ...) {
    va_list args;
    va_start(args, format);
    char *text = str_format_va(format, args);
    va_end(args);
    return text;
}

char *str_format_va(const char *format, va_list args) {
    char *text;
    if (vasprintf(&text, format, args) < 0)
        abort();
    return text;
}

char *str_copy(const char *text) {
    if (!text)
        return NULL;
    size_t size = strlen(text) + 1;
    return memcpy(allocate(NULL, size), text, size);
}

void str_replace(char **text, const char *with) {
    char *copy = str_copy(with);
    free(*text);
    *text = copy;
}

const char *str_or_empty(const char *text) {
    return text ? text : "";
}

bool str_equal(const char *a, const char *b) {
    return a && b ? strcmp(a, b) == 0 : a == b;
}

bool str_has_prefix(const char *text, const char *prefix) {
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool str_has_suffix(const char *text, const char *suffix) {
    size_t length = strlen(text), wanted = strlen(suffix);
    return length >= wanted && strcmp(text + length - wanted, suffix) == 0;
}

void strbuf_add(StrBuf *buffer, const char *data, size_t size) {
    size_t needed;
    if (__builtin_add_overflow(buffer->size, size, &needed) || needed >= SIZE_MAX / 2)
        abort();
    if (needed >= buffer->room) {
        buffer->room = MAX_OF(2 * needed, (size_t)64);
        buffer->data = allocate(buffer->data, buffer->room);
    }
    if (size > 0)
        memcpy(buffer->data + buffer->size, data, size);
    buffer->size = needed;
    buffer->data[needed] = '\0';
}

void strbuf_add_text(StrBuf *buffer, const char *text) {
    strbuf_add(buffer, text, strlen(text));
}

void strbuf_add_format(StrBuf *buffer, const char *format, ...) {
    va_list args;
    va_start(args, format);
    _cleanup_free_ char *text = str_format_va(format, args);
    va_end(args);
    strbuf_add_text(buffer, text);
}

char *strbuf_steal(StrBuf *buffer) {
    strbuf_add(buffer, "", 0);
    char *text = buffer->data;
    *buffer = (StrBuf){0};
    return text;
}

void strbuf_free(StrBuf *buffer) {
    free(buffer->data);
    *buffer = (StrBuf){0};
}

/* Takes the text. */
static void strlist_add_owned(StrList *list, char *text) {
    list->items = allocate(list->items, (list->count + 2) * sizeof(*list->items));
    list->items[list->count++] = text;
    list->items[list->count] = NULL;
}

void strlist_add(StrList *list, const char *text) {
    strlist_add_owned(list, str_copy(text));
}

void strlist_add_format(StrList *list, const char *format, ...) {
    va_list args;
    va_start(args, format);
    strlist_add_owned(list, str_format_va(format, args));
    va_end(args);
}

void strlist_add_many(StrList *list, const char *first, ...) {
    va_list args;
    va_start(args, first);
    for (const char *text = first; text; text = va_arg(args, const char *))
        strlist_add(list, text);
    va_end(args);
}

void strlist_free(StrList *list) {
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
    *list = (StrList){0};
}

/* Reads the digits at the start of *text and moves it behind them. */
static int scan_u64(const char **text, uint64_t *value) {
    const char *next = *text;
    uint64_t number = 0;
    if (*next < '0' || *next > '9')
        return -EINVAL;
    for (; *next >= '0' && *next <= '9'; next++)
        if (__builtin_mul_overflow(number, (uint64_t)10, &number) ||
            __builtin_add_overflow(number, (uint64_t)(*next - '0'), &number))
            return -ERANGE;
    *text = next;
    *value = number;
    return 0;
}

int parse_u64(const char *text, uint64_t max, uint64_t *value) {
    if (text[strspn(text, "0123456789")] != '\0')
        return -EINVAL;
    uint64_t number;
    int r = scan_u64(&text, &number);
    if (r < 0)
        return r;
    if (number > max)
        return -ERANGE;
    *value = number;
    return 0;
}

/* The power of 1024 that a unit's letter stands for; -1 for another letter. */
static int unit_power(char letter) {
    static const char letters[] = "KMGT";
    const char *found = letter ? strchr(letters, letter & ~0x20) : NULL;
    return found ? (int)(found - letters) + 1 : -1;
}

int parse_size(const char *text, uint64_t *bytes) {
    uint64_t number;
    int r = scan_u64(&text, &number);
    if (r < 0)
        return r;
    int power = 0;
    if (*text != '\0') {
        power = unit_power(*text++);
        if (power < 0 || !(*text == '\0' || str_equal(text, "B") || str_equal(text, "iB")))
            return -EINVAL;
    }
    if (number == 0)
        return -EINVAL;
    if (__builtin_mul_overflow(number, (uint64_t)1 << (10 * power), &number))
        return -ERANGE;
    *bytes = number;
    return 0;
}

/* One decimal below 100, but no ".0". */
static char *format_short(double value, const char *unit) {
    _cleanup_free_ char *text = str_format("%.*f", value < 99.95 ? 1 : 0, value);
    if (str_has_suffix(text, ".0"))
        text[strlen(text) - 2] = '\0';
    return str_format("%s %s", text, unit);
}

char *format_size(uint64_t bytes) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1023.5 && unit + 1 < ARRAY_SIZE(units)) {
        value /= 1024;
        unit++;
    }
    return format_short(value, units[unit]);
}

char *format_duration(uint64_t usec) {
    if (usec < 1000)
        return str_format("%u us", (unsigned)usec);
    if (usec < 9950)
        return format_short((double)usec / 1e3, "ms");
    if (usec < 999500)
        return str_format("%.0f ms", (double)usec / 1e3);
    return str_format("%.*f s", usec < 99995000 ? 2 : 0, (double)usec / 1e6);
}

void hex_encode(const uint8_t *data, size_t size, char *text) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < size; i++) {
        text[2 * i] = digits[data[i] >> 4];
        text[2 * i + 1] = digits[data[i] & 15];
    }
    text[2 * size] = '\0';
}

static int hex_value(char digit) {
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    char lower = (char)(digit | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

int hex_decode(const char *text, uint8_t *data, size_t size) {
    if (strspn(text, "0123456789abcdefABCDEF") != strlen(text) || strlen(text) != 2 * size)
        return -EINVAL;
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)(16 * hex_value(text[2 * i]) + hex_value(text[2 * i + 1]));
    return 0;
}

char *str_sanitize(const char *data, size_t size) {
    char *text = allocate(NULL, size + 1);
    for (size_t i = 0; i < size; i++) {
        char c = data[i];
        text[i] = (char)((c >= ' ' && c <= '~') || c == '\n' || c == '\t' ? c : '?');
    }
    text[size] = '\0';
    return text;
}
