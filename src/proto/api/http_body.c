/* SPDX-License-Identifier: Apache-2.0 */
/* Reading HTTP/1.1 responses (RFC 9112): the head, and the framing of the body. Pure functions over
 * bytes that a server sent; nothing here trusts them.
 *
 * The chunk decoder is a state machine that takes any number of bytes at a time:
 *
 *     SIZE ──';'──▶ EXTENSION ──LF──▶ DATA ──▶ DATA_CR ──▶ DATA_LF ──▶ SIZE
 *       └──CR──▶ SIZE_LF ─────────────▶ │
 *                        size 0 ──▶ TRAILER (lines, until an empty one) ──▶ done
 *
 * A chunk's header line and the trailer are bounded by LINE_MAX_BYTES each. */

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"
#include "proto/api/http_body.h"

#define LINE_MAX_BYTES 4096u
#define CHUNK_DIGITS_MAX 15u /* 60 bits: cannot overflow */

enum { SIZE, EXTENSION, SIZE_LF, DATA, DATA_CR, DATA_LF, TRAILER };

static int corrupt(Error *error, const char *what) {
    return error_set(error, ERROR_CORRUPT, EBADMSG, "broken HTTP answer: %s", what);
}

/* "HTTP/1.1 200 OK" */
static int parse_status_line(const char *line, size_t size, HttpHead *head, Error *error) {
    if (size < 12 || (memcmp(line, "HTTP/1.1 ", 9) != 0 && memcmp(line, "HTTP/1.0 ", 9) != 0))
        return corrupt(error, "no status line");
    if (line[9] < '1' || line[9] > '5' || !isdigit((unsigned char)line[10]) ||
        !isdigit((unsigned char)line[11]) || (size > 12 && line[12] != ' '))
        return corrupt(error, "bad status");
    head->status = (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
    return 0;
}

static int parse_content_length(const char *value, bool seen, HttpHead *head, Error *error) {
    uint64_t length;
    if (parse_u64(value, UINT64_C(1) << 60, &length) < 0)
        return corrupt(error, "bad Content-Length");
    if (seen && length != head->length_bytes)
        return corrupt(error, "two different Content-Lengths");
    head->length_bytes = length;
    return 0;
}

static void parse_content_type(const char *value, HttpHead *head) {
    size_t length = strcspn(value, "; \t");
    if (length >= sizeof(head->content_type))
        return;
    for (size_t i = 0; i < length; i++)
        head->content_type[i] = (char)tolower((unsigned char)value[i]);
    head->content_type[length] = '\0';
}

typedef struct HeadState {
    HttpHead head;
    bool has_length;
    bool has_encoding;
    bool upgrade; /* "Upgrade: ramet-stream" */
} HeadState;

static int parse_field(HeadState *state, const char *name, const char *value, Error *error) {
    int r;
    if (strcasecmp(name, "Content-Length") == 0) {
        r = parse_content_length(value, state->has_length, &state->head, error);
        state->has_length = true;
        return r;
    }
    if (strcasecmp(name, "Transfer-Encoding") == 0) {
        if (strcasecmp(value, "chunked") != 0)
            return corrupt(error, "unknown Transfer-Encoding");
        state->has_encoding = true;
    } else if (strcasecmp(name, "Content-Type") == 0) {
        parse_content_type(value, &state->head);
    } else if (strcasecmp(name, "Ramet-Note") == 0) {
        (void)snprintf(state->head.note, sizeof(state->head.note), "%s", value);
    } else if (strcasecmp(name, "Upgrade") == 0) {
        state->upgrade = strcasecmp(value, "ramet-stream") == 0;
    }
    return 0;
}

/* Splits "Name: value" and takes the white space off the value. */
static int parse_header_line(HeadState *state, const char *line, size_t size, Error *error) {
    char text[1024];
    char *colon, *value;
    size_t end = size;
    if (size >= sizeof(text))
        return 0; /* none that matters here is that long */
    if (memchr(line, '\0', size))
        return corrupt(error, "a NUL in a header");
    while (end > 0 && (line[end - 1] == ' ' || line[end - 1] == '\t'))
        end--;
    memcpy(text, line, end);
    text[end] = '\0';
    colon = strchr(text, ':');
    if (!colon || colon == text || strcspn(text, " \t") < (size_t)(colon - text))
        return corrupt(error, "bad header line");
    *colon = '\0';
    value = colon + 1 + strspn(colon + 1, " \t");
    return parse_field(state, text, value, error);
}

static int decide_body(HeadState *state, Error *error) {
    HttpHead *head = &state->head;
    head->upgraded = head->status == 101 && state->upgrade;
    if (head->status < 200 || head->status == 204 || head->status == 304)
        head->body = HTTP_BODY_NONE;
    else if (state->has_encoding && state->has_length)
        return corrupt(error, "both Content-Length and Transfer-Encoding");
    else if (state->has_encoding)
        head->body = HTTP_BODY_CHUNKED;
    else if (state->has_length)
        head->body = HTTP_BODY_LENGTH;
    else
        head->body = HTTP_BODY_UNTIL_EOF;
    return 0;
}

int http_parse_head(const char *text, size_t size, HttpHead *head, Error *error) {
    HeadState state = {0};
    const char *line = text, *end = text + size;
    bool first = true;
    while (line < end) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        size_t length;
        int r;
        if (!newline || newline == line || newline[-1] != '\r')
            return corrupt(error, "a line without its end");
        length = (size_t)(newline - 1 - line);
        if (length == 0 && !first) {
            r = decide_body(&state, error);
            if (r == 0)
                *head = state.head;
            return r;
        }
        r = first ? parse_status_line(line, length, &state.head, error)
                  : parse_header_line(&state, line, length, error);
        if (r < 0)
            return r;
        first = false;
        line = newline + 1;
    }
    return corrupt(error, "the head ends early");
}

void http_body_start(HttpBody *body, const HttpHead *head) {
    *body = (HttpBody){.head = *head, .left = head->length_bytes, .state = SIZE};
    if (head->body == HTTP_BODY_CHUNKED)
        body->left = 0;
    body->done =
        head->body == HTTP_BODY_NONE || (head->body == HTTP_BODY_LENGTH && head->length_bytes == 0);
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int step_size(HttpBody *body, char c, Error *error) {
    int digit = hex_digit(c);
    if (digit >= 0) {
        if (++body->digits > CHUNK_DIGITS_MAX)
            return corrupt(error, "a chunk's size is too large");
        body->left = body->left * 16 + (unsigned)digit;
        return 0;
    }
    if (body->digits == 0)
        return corrupt(error, "a chunk without a size");
    if (c == '\r')
        body->state = SIZE_LF;
    else if (c == ';' || c == ' ' || c == '\t')
        body->state = EXTENSION;
    else
        return corrupt(error, "bad chunk size");
    return 0;
}

static int step_size_lf(HttpBody *body, char c, Error *error) {
    if (c != '\n')
        return corrupt(error, "a chunk's size line without its end");
    body->line_bytes = 0;
    body->digits = 0;
    body->state = body->left > 0 ? DATA : TRAILER;
    return 0;
}

/* Trailer lines are skipped; digits counts the bytes of the current one. */
static void step_trailer(HttpBody *body, char c) {
    if (c == '\n') {
        body->done = body->digits == 0;
        body->digits = 0;
    } else if (c != '\r') {
        body->digits++;
    }
}

/* One byte of framing. */
static int chunk_step(HttpBody *body, char c, Error *error) {
    if (++body->line_bytes > LINE_MAX_BYTES)
        return corrupt(error, "an endless chunk header or trailer");
    switch (body->state) {
    case SIZE:
        return step_size(body, c, error);
    case EXTENSION:
        if (c == '\n')
            return corrupt(error, "a chunk's size line without its end");
        if (c == '\r')
            body->state = SIZE_LF;
        return 0;
    case SIZE_LF:
        return step_size_lf(body, c, error);
    case DATA_CR:
        body->state = DATA_LF;
        return c == '\r' ? 0 : corrupt(error, "a chunk longer than its size");
    case DATA_LF:
        if (c != '\n')
            return corrupt(error, "a chunk longer than its size");
        body->state = SIZE;
        body->left = 0;
        body->digits = 0;
        body->line_bytes = 0;
        return 0;
    default:
        step_trailer(body, c);
        return 0;
    }
}

/* Payload under a known length: of the body or of a chunk. */
static size_t read_payload(HttpBody *body, const char *data, size_t size, const char **piece,
                           size_t *piece_size) {
    size_t n = body->left < size ? (size_t)body->left : size;
    body->left -= n;
    *piece = data;
    *piece_size = n;
    return n;
}

static ssize_t chunked_next(HttpBody *body, const char *data, size_t size, const char **piece,
                            size_t *piece_size, Error *error) {
    size_t used = 0;
    while (used < size && !body->done && body->state != DATA) {
        int r = chunk_step(body, data[used], error);
        if (r < 0)
            return r;
        used++;
    }
    *piece = data + used;
    *piece_size = 0;
    if (body->state != DATA || used == size)
        return (ssize_t)used;
    used += read_payload(body, data + used, size - used, piece, piece_size);
    if (body->left == 0) {
        body->state = DATA_CR;
        body->line_bytes = 0;
    }
    return (ssize_t)used;
}

ssize_t http_body_next(HttpBody *body, const char *data, size_t size, const char **piece,
                       size_t *piece_size, Error *error) {
    size_t used;
    if (body->done) {
        *piece = data;
        *piece_size = 0;
        return 0;
    }
    switch (body->head.body) {
    case HTTP_BODY_CHUNKED:
        return chunked_next(body, data, size, piece, piece_size, error);
    case HTTP_BODY_LENGTH:
        used = read_payload(body, data, size, piece, piece_size);
        body->done = body->left == 0;
        return (ssize_t)used;
    default:
        *piece = data;
        *piece_size = size;
        return (ssize_t)size;
    }
}

int http_body_finish(HttpBody *body, Error *error) {
    if (body->done || body->head.body == HTTP_BODY_UNTIL_EOF)
        return 0;
    return error_set(error, ERROR_CORRUPT, ECONNRESET,
                     "the daemon ended in the middle of its answer");
}
